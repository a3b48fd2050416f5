/* results/device.md: what the tests of `npm run test:device` saw, the latest of each. */
import { execFileSync } from 'node:child_process';
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageFolder } from '../../src/paths.js';

/** One thing that was seen. */
interface Row {
  readonly test: string;
  readonly what: string;
  readonly seen: string;
  readonly commit: string;
  readonly day: string;
}

const folder = join(packageFolder, 'results');
const rows = join(folder, 'device.jsonl');

/** Adds to what was seen, and writes the page anew. Does nothing unless WAEP_RECORD is 1. */
export function record(test: string, what: string, seen: string): void {
  if (process.env.WAEP_RECORD !== '1') return;
  const commit = execFileSync('git', ['-C', packageFolder, 'rev-parse', '--short', 'HEAD'], {
    encoding: 'utf8',
  }).trim();
  const row: Row = { test, what, seen, commit, day: new Date().toISOString().slice(0, 10) };
  appendFileSync(rows, `${JSON.stringify(row)}\n`);
  const all = readFileSync(rows, 'utf8').trim().split('\n');
  writeFileSync(join(folder, 'device.md'), renderDevice(all.map((line) => JSON.parse(line))));
}

/** Renders the page. */
function renderDevice(all: readonly Row[]): string {
  const latest = new Map(all.map((row) => [`${row.test}\n${row.what}`, row]));
  const table = [...latest.values()].map(
    ({ test, what, seen, commit, day }) => `| ${test} | ${what} | ${seen} | ${commit} | ${day} |`,
  );
  return `${[
    '# The vsock device in the process',
    '',
    'Written by `WAEP_RECORD=1 npm run test:device`, of the latest lines in [device.jsonl](device.jsonl); do not edit.',
    'The guests are emulated, so that rates are those of an emulator.',
    '',
    '| test | of | seen | at commit | on |',
    '|---|---|---|---|---|',
    ...table.sort(),
  ].join('\n')}\n`;
}
