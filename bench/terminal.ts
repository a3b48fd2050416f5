import { join } from 'node:path';
import colours from 'picocolors';
import { printers } from './chart/format.js';
import { conclude } from './conclusion.js';
import { environmentLines } from './environment.js';
import type { DerivedRun, Experiment } from './experiment.js';
import { table } from './table.js';
import { intervalText, verdict } from './verdict.js';

/** The tables of a run, for the terminal. */
export function runTables({ experiment, environment, summary }: DerivedRun): string {
  const rows = table(['metric', 'arm', 'n', 'min', 'p50', '95 % interval', 'p90', 'p99', '']);
  for (const row of summary.rows) {
    const print = printers[row.unit];
    rows.push([
      row.metric,
      row.arm,
      row.n,
      print(row.min),
      colours.bold(print(row.p50)),
      intervalText(row, print),
      print(row.p90),
      row.p99 === undefined ? '–' : print(row.p99),
      row.unit === 'ns' ? 'µs' : '',
    ]);
  }
  const parts = [
    colours.bold(experiment.title),
    ...environmentLines(environment).map((line) => colours.dim(line)),
    rows.toString(),
  ];
  if (summary.comparisons.length > 0) {
    const comparisons = table(['comparison', 'value', '95 % interval', 'expected']);
    for (const one of summary.comparisons) {
      const { what, value, interval, expectation, outcome } = verdict(one);
      comparisons.push([
        what,
        colours.bold(value),
        interval,
        outcome === 'MISSED' ? colours.red(expectation) : expectation,
      ]);
    }
    parts.push(comparisons.toString());
  }
  for (const { arm, why } of environment.absent) {
    parts.push(colours.yellow(`Not measured: ${arm}: ${why}`));
  }
  return parts.join('\n');
}

/**
 * The last lines of a bench: how many bounds were kept, what was not measured, and what to open.
 *
 * @param folder where the results are
 */
export function lastLines(runs: readonly DerivedRun[], folder: string): string {
  const { counts, missed, absent } = conclude(runs);
  const names = missed.map(({ experiment, what, value }) => `${experiment}: ${what}: ${value}`);
  const lines: [string, string][] = [
    ['kept', String(counts.kept)],
    ['missed', [String(counts.MISSED), ...names].join('\n              ')],
    ['undecided', `${counts.undecided} (the interval contains the bound: measure for longer)`],
    [
      'not measured',
      absent.length === 0 ? 'nothing was left out' : absent.join('\n              '),
    ],
    ['open', join(folder, 'index.html')],
  ];
  return lines
    .map(([what, text]) => {
      const colour = what === 'missed' && missed.length > 0 ? colours.red : String;
      return `${colours.bold(what.padEnd(13))} ${colour(text)}`;
    })
    .join('\n');
}

/** The table of `--list`. */
export function listTable(experiments: readonly Experiment[]): string {
  const list = table(['name', 'what it shows', 'full run', '--quick']);
  for (const { name, title, full, quick } of experiments) {
    list.push([
      colours.bold(name),
      title,
      ...[full, quick].map(
        (amount) => `${amount.boots} × ${amount.rounds} rounds × ${amount.samples}`,
      ),
    ]);
  }
  return list.toString();
}
