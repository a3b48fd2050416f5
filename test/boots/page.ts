/* results/boots.md: how often a guest came up, of how many boots, on which machine. */
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageFolder } from '../../src/paths.js';

/** One boot. */
export interface Row {
  readonly qemu: string;
  readonly machine: string;
  readonly cpus: number;
  /** What the script itself had running beside it: nothing, or a busy loop for each processor. */
  readonly beside: 'idle' | 'busy';
  readonly kernel: string;
  /** Of this machine over the last minute, when the boot ended. */
  readonly loadAverage: number;
  /** Until all of the guest answered, or until it was given up. */
  readonly bootMs: number;
  /** Why the guest did not come up; absent when it did. */
  readonly lost?: string;
  readonly commit: string;
  readonly at: string;
}

/** Where the record and the page are. */
export const results = join(packageFolder, 'results');

/** Adds boots to the record in a folder, and writes the page there anew. */
export function record(added: readonly Row[], folder: string): void {
  const rows = join(folder, 'boots.jsonl');
  mkdirSync(folder, { recursive: true });
  appendFileSync(rows, added.map((row) => `${JSON.stringify(row)}\n`).join(''));
  const all = readFileSync(rows, 'utf8').trim().split('\n');
  writeFileSync(join(folder, 'boots.md'), renderBoots(all.map((line) => JSON.parse(line))));
}

const isLost = ({ lost }: Row) => lost !== undefined;

/** Renders the page. */
function renderBoots(all: readonly Row[]): string {
  const groups = groupBy(
    all,
    (row) => `${row.qemu} | ${row.machine} | ${row.cpus} | ${row.kernel} | ${row.beside}`,
  );
  const lost = all.filter(isLost);
  const loads = all.map(({ loadAverage }) => loadAverage);
  return `${[
    '# Boots of a guest',
    '',
    'Written by `npm run boots` from [boots.jsonl](boots.jsonl), which has a line for each boot; do not edit.',
    'A boot is lost when not all of the guest answers within the deadline. From commit b2a0756 on, the time in which QEMU was ready to run and got no processor does not count.',
    '"busy": a loop ran beside the guest on each processor of this machine. "idle": the script ran nothing beside the guest; the load average tells of others.',
    '',
    `${all.length} boots, ${lost.length} lost. At most ${longestRow(all)} in a row came up without a loss. The load average of this machine was ${loads.length === 0 ? 'not seen' : `${Math.min(...loads).toFixed(1)} to ${Math.max(...loads).toFixed(1)}`}.`,
    '',
    '| commit | boots | lost | begun |',
    '|---|---|---|---|',
    ...[...groupBy(all, ({ commit }) => commit)].map(
      ([commit, group]) =>
        `| ${commit} | ${group.length} | ${group.filter(isLost).length} | ${group[0]?.at} |`,
    ),
    '',
    '| QEMU | machine | processors | kernel | beside | boots | lost | seconds, median and longest | load average, median |',
    '|---|---|---|---|---|---|---|---|---|',
    ...[...groups].sort(([a], [b]) => a.localeCompare(b)).map(([name, group]) => line(name, group)),
    ...lost.map(
      ({ at, qemu, machine, cpus, lost: why }) =>
        `\n${at}, QEMU ${qemu}, ${machine}, ${cpus} processors: ${why}`,
    ),
  ].join('\n')}\n`;
}

/** How many boots in a row had no loss, at most. */
function longestRow(all: readonly Row[]): number {
  let longest = 0;
  let row = 0;
  for (const boot of all) {
    row = isLost(boot) ? 0 : row + 1;
    longest = Math.max(longest, row);
  }
  return longest;
}

function groupBy(all: readonly Row[], nameOf: (row: Row) => string): Map<string, Row[]> {
  const groups = new Map<string, Row[]>();
  for (const row of all) groups.set(nameOf(row), [...(groups.get(nameOf(row)) ?? []), row]);
  return groups;
}

function line(name: string, group: readonly Row[]): string {
  const seconds = group.map(({ bootMs }) => bootMs / 1000).sort((a, b) => a - b);
  const loads = group.map(({ loadAverage }) => loadAverage).sort((a, b) => a - b);
  const lost = group.filter(isLost).length;
  const times = `${median(seconds).toFixed(1)}, ${(seconds.at(-1) ?? 0).toFixed(1)}`;
  return `| ${name} | ${group.length} | ${lost} | ${times} | ${median(loads).toFixed(1)} |`;
}

function median(sorted: readonly number[]): number {
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}
