import type { Environment } from '../environment.js';
import { entriesMetric, lookupMetric } from '../metrics.js';
import { findRow } from '../summary.js';
import type { Summary } from '../types.js';
import type { Figure } from './figure.js';
import { count, duration } from './format.js';
import { type Group, rowPanel, whole } from './panels.js';
import { answer, point, sheet, times, vsockOf } from './sheet.js';
import { armName, inOrder } from './theme.js';

/** Reading whole maps by size of the batch, and a single operation, as multiples of native. */
export function mapOpsFigure(
  summary: Summary,
  environment: Environment,
  large: number,
  small: number,
  batches: readonly number[],
): Figure {
  const readings = [
    ...batches.map((batch) => [large, batch] as const),
    [small, small] as const,
    [small, 1] as const,
  ];
  const metrics = [
    ...readings.map(([entries, batch]) => entriesMetric(entries, batch)),
    lookupMetric,
  ];
  const ofMetric = (metric: string) =>
    inOrder(summary.comparisons.filter((one) => one.metric === metric && one.kind === 'ratio'));
  const groups = metrics.flatMap((metric): Group[] => {
    const native = findRow(summary, 'native', metric);
    if (native === undefined) return [];
    return [
      {
        name: `${metric} (native ${duration(native.p50)})`,
        rows: ofMetric(metric).map((one) => {
          const row = findRow(summary, one.arm, metric);
          return point(one, ...(row === undefined ? [] : [duration(row.p50)]));
        }),
      },
    ];
  });
  const vsock = vsockOf(summary);
  const middle = batches[Math.floor(batches.length / 2)] ?? large;
  const title = answer(
    environment.title,
  )`By ${armName(vsock)} ${count(large)} entries, ${count(middle)} at a time, take ${times(summary, vsock, 'native', entriesMetric(large, middle))} native; a single look-up takes ${times(summary, vsock, 'native', lookupMetric)}`;
  return sheet({
    file: 'map-ops',
    title,
    environment,
    better: 'lower',
    drawn: metrics.flatMap(ofMetric),
    logarithmic: true,
    rows: [
      [
        rowPanel({
          title: 'A hash map in the guest: time ÷ that of a C program in the guest',
          groups,
          width: whole,
          logarithmic: true,
          print: String,
          mark: { value: 1, text: 'native' },
        }),
      ],
    ],
    notes: ['Red strokes: the bound of the hypothesis.'],
  });
}
