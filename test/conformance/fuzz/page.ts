/* results/fuzz.md: how much was fed to each target, and the findings, over all recorded runs. */
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { packageFolder } from '../../../src/paths.js';
import type { Outcome } from './outcome.js';
import { targets } from './targets.js';

/** A recorded run of one target. */
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

/** Adds a run to the recorded ones, and writes the page anew. Returns the page's path. */
export async function record(
  outcomes: readonly Outcome[],
  about: { readonly commit: string; readonly seed: number },
): Promise<string> {
  const endedAt = new Date().toISOString();
  const lines = outcomes.map((outcome) =>
    JSON.stringify({ ...outcome, ...foundIn(outcome), ...about, endedAt }),
  );
  await appendFile(records, `${lines.join('\n')}\n`);
  const kept = (await readFile(records, 'utf8')).trim().split('\n');
  const page = join(folder, 'fuzz.md');
  await writeFile(page, renderFuzzing(kept.map((line) => JSON.parse(line))));
  return page;
}

/**
 * The first line of a finding. The seed finds the rest again: stacks and files, which have the paths
 * of one machine.
 */
function foundIn({ found }: Outcome): Pick<Outcome, 'found'> {
  return found === undefined ? {} : { found: found.split('\n', 1)[0] ?? '' };
}

/** Returns a table with the newest run without each guard. */
function mutantsTable(runs: readonly Recorded[]): string[] {
  const newest = new Map(runs.map((run) => [`${run.target} ${run.without}`, run]));
  if (newest.size === 0) return [];
  const row = ({ target, without, found, inputs, seconds, commit }: Recorded) => {
    const what = /^wrong: (.*)$/m.exec(found ?? '')?.[1] ?? 'nothing';
    return `| ${target} | ${without} | ${what} | ${thousands(inputs)} | ${seconds.toFixed(0)} | ${commit} |`;
  };
  return [
    '',
    '## Guards taken out',
    '',
    'What a target is for it has to find once the guard against it is gone: `npm run fuzz -- --mutants`',
    'takes out one after the other, and begins with valid inputs alone.',
    '',
    '| target | without a guard against | found | after inputs | seconds | at commit |',
    '|---|---|---|--:|--:|---|',
    ...[...newest.values()].map(row),
  ];
}

const sides = {
  core: 'C++, libFuzzer, ASan and UBSan',
  host: 'TypeScript, generated',
  guest: 'a real kernel',
} as const;

/** Renders the page. */
function renderFuzzing(all: readonly Recorded[]): string {
  const runs = all.filter(({ without }) => without === undefined);
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
    return `- **${name}** (${sides[side]}) is fed ${what}.`;
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
    ...mutantsTable(all.filter(({ without }) => without !== undefined)),
  ].join('\n')}\n`;
}
