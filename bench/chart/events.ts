import type { Environment } from '../environment.js';
import {
  deliveredMetric,
  latencyErrorMetric,
  latencyMetric,
  offeredMetric,
  raisedRecordMetric,
  recordMetric,
} from '../metrics.js';
import { findRow } from '../summary.js';
import type { Summary } from '../types.js';
import type { Figure } from './figure.js';
import { bytes, duration, rate, ratioText, tick } from './format.js';
import { linePanel, rowPanel, whole } from './panels.js';
import { answer, bar, linesOver, plainTimes, rowsOf, sheet, vsockOf } from './sheet.js';
import { armName } from './theme.js';
import { logarithmicTicks } from './ticks.js';

/** Times of records by size, the share that arrives by rate, and latency. */
export function eventsFigure(
  summary: Summary,
  environment: Environment,
  recordBytes: readonly number[],
  pausesNs: readonly number[],
): Figure {
  const vsock = vsockOf(summary);
  const [most = 0] = recordBytes.slice(-1);
  const factorOf = (arm: string, size: number) =>
    plainTimes(summary, arm, 'native', recordMetric(size));
  const [small = 0] = recordBytes;
  const title = answer(
    environment.title,
  )`By ${armName(vsock)} a record of ${bytes(small)} takes ${factorOf(vsock, small)} native, one of ${bytes(most)} ${factorOf(vsock, most)}; by TCP ${factorOf('tcp', small)} and ${factorOf('tcp', most)}`;
  const shares = summary.comparisons.filter((one) => one.againstMetric !== undefined);
  const lines = linesOver(
    shares.map(({ arm }) => arm),
    pausesNs,
    (arm, pauseNs) => {
      const row = findRow(summary, arm, offeredMetric(pauseNs));
      const one = shares.find(
        (share) => share.arm === arm && share.metric === deliveredMetric(pauseNs),
      );
      if (one === undefined || row === undefined) return undefined;
      return { x: row.p50, value: 100 * one.value, low: 100 * one.ciLow, high: 100 * one.ciHigh };
    },
  );
  const offered = lines.flatMap(({ points }) => points.map(({ x }) => x));
  const error = Math.max(0, ...rowsOf(summary, latencyErrorMetric).map(({ p50 }) => p50));
  const latencies = rowsOf(summary, latencyMetric);
  const timesOfRecords = (title: string, subtitle: string, metric: (size: number) => string) =>
    rowPanel({
      title,
      subtitle,
      groups: recordBytes.map((size) => ({
        name: `records of ${bytes(size)}`,
        rows: rowsOf(summary, metric(size)).map(bar),
      })),
      width: whole,
    });
  return sheet({
    file: 'events',
    title,
    environment,
    better: 'lower',
    drawn: [...recordBytes.map(recordMetric), latencyMetric].flatMap((metric) =>
      rowsOf(summary, metric),
    ),
    rows: [
      [
        timesOfRecords(
          'Time of a record at full speed',
          'from the first record to the last, divided by their number; all at nice 0 in the guest',
          recordMetric,
        ),
      ],
      ...(rowsOf(summary, raisedRecordMetric(small)).length === 0
        ? []
        : [
            [
              timesOfRecords(
                'The same, with a priority for who reads the records in the guest',
                'the C program, and the agent’s thread that sends, at nice −4 (the agent’s default)',
                raisedRecordMetric,
              ),
            ],
          ]),
      ...(lines.length === 0
        ? []
        : [
            [
              linePanel({
                title: 'Share of the records that arrives (higher is better)',
                subtitle: 'the full ring refuses the others; records of 256 B, a ring of 256 KiB',
                lines,
                width: whole,
                height: 250,
                ticks: logarithmicTicks(Math.min(...offered), Math.max(...offered)).map(
                  (value) => ({ value, text: tick(rate)(value) }),
                ),
                xTitle: 'records that programs try to emit (log scale)',
                xLogarithmic: true,
                print: (share) => `${ratioText(share)} %`,
              }),
            ],
          ]),
      [
        rowPanel({
          title: 'From the program to its reader, at 200 records a second',
          subtitle: `give or take ${duration(error)} between two clocks; pale: a plain C round trip of 64 B, as seldom`,
          groups: [{ rows: latencies.map(bar) }],
          width: whole,
        }),
      ],
    ],
  });
}
