/* results/fuzz.md: how much was fed to what, and what came of it; all recorded runs together. */
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { packageFolder } from '../../src/paths.js';
import type { Outcome } from './outcome.js';
import { targets } from './targets.js';

/** A run of one target, as it is kept. */
interface Recorded extends Outcome {
  readonly commit: string;
  readonly seed: number;
  /** When the run ended, in UTC. */
  readonly endedAt: string;
}

const folder = join(packageFolder, 'results');
const records = join(folder, 'fuzz.jsonl');

const thousands = (count: number) => count.toLocaleString('en').replaceAll(',', ' ');
const sum = (numbers: readonly number[]) => numbers.reduce((total, one) => total + one, 0);

/** Adds a run to those that are kept, and writes the page anew. Returns its path. */
export async function record(
  outcomes: readonly Outcome[],
  about: { readonly commit: string; readonly seed: number },
): Promise<string> {
  const endedAt = new Date().toISOString();
  const lines = outcomes.map((outcome) => JSON.stringify({ ...outcome, ...about, endedAt }));
  // Where this clone is says nothing to those who read of a find in another.
  const anywhere = lines.join('\n').replaceAll(`${packageFolder}/`, '');
  await appendFile(records, `${anywhere.replaceAll('file://', '')}\n`);
  const kept = (await readFile(records, 'utf8')).trim().split('\n');
  const page = join(folder, 'fuzz.md');
  await writeFile(page, renderFuzzing(kept.map((line) => JSON.parse(line))));
  return page;
}

/** Renders the page. */
function renderFuzzing(runs: readonly Recorded[]): string {
  const byTarget = targets
    .map((target) => ({ target, of: runs.filter((run) => run.target === target.name) }))
    .filter(({ of }) => of.length > 0);
  const inputs = sum(runs.map((run) => run.inputs));
  const table = byTarget.map(({ target, of }) => {
    const last = of.at(-1);
    const finds = of.filter(({ found }) => found !== undefined).length;
    const fed = thousands(sum(of.map((run) => run.inputs)));
    const seconds = thousands(Math.round(sum(of.map((run) => run.seconds))));
    return `| ${target.name} | ${of.length} | ${fed} | ${seconds} | ${finds} | ${last?.commit} | ${last?.coverage} |`;
  });
  const descriptions = byTarget.map(({ target: { name, side, what } }) => {
    const how = side === 'core' ? 'C++, libFuzzer, ASan and UBSan' : 'TypeScript, generated';
    return `- **${name}** (${how}) is fed ${what}.`;
  });
  return `${[
    '# Fuzzing',
    '',
    'Written by `npm run fuzz -- --record`, of all runs in [fuzz.jsonl](fuzz.jsonl); do not edit.',
    'Looked for are crashes, leaks, hangs, out-of-bounds accesses, undefined behaviour, and answers',
    'that contradict a reading of the same bytes by other code.',
    '',
    `**${thousands(inputs)} inputs** in ${runs.length} runs.`,
    '',
    '| target | runs | inputs | seconds | runs that found something | last at commit | reach of the last |',
    '|---|--:|--:|--:|--:|---|---|',
    ...table,
    '',
    ...descriptions,
  ].join('\n')}\n`;
}
