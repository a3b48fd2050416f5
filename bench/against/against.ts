/* `npm run bench -- --against REVISION`: finds out whether anything is slower than it was. */

import { existsSync } from 'node:fs';
import { appendFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { packageFolder } from '../../src/paths.js';
import { amountOf, type BenchOptions, guestChoice, interruption, sparingly } from '../bench.js';
import { compilePrograms } from '../compile.js';
import type { Experiment } from '../experiment.js';
import { runExperiment } from '../harness.js';
import { openHostLab } from '../lab.js';
import { fewestRounds } from '../statistics.js';
import { runName } from '../store.js';
import { summarise } from '../summary.js';
import { comparisonText, pageHead, verdictText } from './report.js';
import { fetchFor } from './side.js';
import { buildTree, type Tree } from './tree.js';
import { judgeAll, type Verdict } from './verdict.js';
import { versus } from './versus.js';

/** The experiments that are compared by default. */
export const comparable: readonly string[] = [
  'rtt',
  'software-overhead',
  'tools',
  'map-ops',
  'events',
];

const page = join(packageFolder, 'results/against.md');

/**
 * Builds another revision. The two trees take turns in each experiment. Prints the times of this
 * tree divided by those of the other. A full run adds its table to results/against.md.
 *
 * @returns whether nothing is slower
 * @throws ERR_OPTION_INVALID when there is no such revision
 */
export async function against(
  chosen: readonly Experiment[],
  revision: string,
  options: BenchOptions,
): Promise<boolean> {
  const signal = interruption();
  const progress = (step: string) => console.error(`· ${step}`);
  await using tree = await buildTree(revision, progress);
  if (!tree.sameBench)
    progress(`${revision} is measured by its own bench; this one is for newer sources`);
  const verdicts: Verdict[] = [];
  for (const experiment of chosen) {
    verdicts.push(...(await compare(experiment, tree, revision, { options, progress, signal })));
  }
  console.log(`\n${verdictText(verdicts, revision)}`);
  return verdicts.length > 0 && verdicts.every(({ outcome }) => outcome === 'not slower');
}

interface Surroundings {
  options: BenchOptions;
  progress: (step: string) => void;
  signal: AbortSignal;
}

async function compare(
  experiment: Experiment,
  tree: Tree,
  revision: string,
  { options, progress, signal }: Surroundings,
): Promise<Verdict[]> {
  const { notice: _, ...choice } = guestChoice(options, experiment.guest, progress);
  for (const folder of [packageFolder, tree.folder]) {
    await fetchFor(folder, { experiment: experiment.name, choice });
  }
  const both = versus(experiment, { folder: tree.folder, revision, choice });
  const amount = amountOf(experiment, options);
  const programs = await compilePrograms();
  const run = runName(new Date());
  const record = await runExperiment(both, {
    run,
    quick: options.quick === true,
    amount: { ...amount, rounds: options.rounds ?? Math.max(amount.rounds, fewestRounds) },
    // A comparison that is cut short says nothing.
    budgetSeconds: options.budget ?? Number.POSITIVE_INFINITY,
    command: commandOf(experiment, revision, options),
    openLab: async () => openHostLab(programs),
    onProgress: sparingly((line) => progress(`${experiment.name}: ${line}`)),
    signal,
  });
  const { accel } = record.environment;
  const labels = { experiment: experiment.name, accel, run };
  const verdicts = judgeAll(summarise(record.batches, both.comparisons, labels));
  const text = comparisonText(record.environment, verdicts, { ...tree, revision });
  console.log(`\n${text}`);
  if (options.quick !== true) {
    if (!existsSync(page)) await writeFile(page, pageHead);
    await appendFile(page, `\n${text}\n`);
  }
  return verdicts;
}

function commandOf({ name }: Experiment, revision: string, options: BenchOptions): string {
  return [
    `npm run bench -- --against ${revision} --only ${name}`,
    ...(options.quick === true ? ['--quick'] : []),
    ...(options.rounds === undefined ? [] : [`--rounds ${options.rounds}`]),
    ...(options.budget === undefined ? [] : [`--budget ${options.budget}`]),
  ].join(' ');
}
