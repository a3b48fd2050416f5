import { join } from 'node:path';
import colours from 'picocolors';
import { count, labels } from './chart/format.js';
import { conclude } from './conclusion.js';
import { environmentLines } from './environment.js';
import type { DerivedRun, Experiment } from './experiment.js';
import { columns } from './table.js';
import type { Amount } from './types.js';
import { intervalText, verdict } from './verdict.js';

/** A run's medians and expectations, for a terminal of 80 columns; the page has the rest. */
export function runTables({ experiment, environment, summary }: DerivedRun): string {
  const [caution = ''] = environmentLines(environment);
  const parts = [colours.bold(experiment.title), colours.dim(caution)];
  for (const metric of new Set(summary.rows.map((row) => row.metric))) {
    const rows = summary.rows.filter((row) => row.metric === metric);
    const cells = rows.map((row) => {
      const print = labels[row.unit];
      return [`  ${row.arm}`, colours.bold(print(row.p50)), intervalText(row, print), count(row.n)];
    });
    parts.push(colours.cyan(metric), columns(cells));
  }
  for (const one of summary.comparisons) {
    const { what, value, interval, expectation, outcome } = verdict(one);
    if (expectation === '') continue;
    const told = outcome === 'MISSED' ? colours.red(expectation) : expectation;
    parts.push(what, `  ${colours.bold(value)}  ${interval}  ${told}`);
  }
  for (const { arm, why } of environment.absent) {
    parts.push(colours.yellow(`Not measured: ${arm}`), `  ${why}`);
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

/** What `--list` prints. */
export function listTable(experiments: readonly Experiment[]): string {
  const text = ({ boots, rounds, samples }: Amount) => `${boots} × ${rounds} rounds × ${samples}`;
  return experiments
    .map(({ name, title, full, quick }) =>
      [colours.bold(name), title, `full run ${text(full)}, --quick ${text(quick)}`].join('\n  '),
    )
    .join('\n');
}
