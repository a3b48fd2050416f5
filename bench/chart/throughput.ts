import type { Environment } from '../environment.js';
import { bulkCpuMetric, bulkMetric } from '../metrics.js';
import { findRow } from '../summary.js';
import type { Summary } from '../types.js';
import type { Figure } from './figure.js';
import { bytes, duration, labels } from './format.js';
import { half, rowPanel, textTable, whole } from './panels.js';
import { answer, bar, plainTimes, rowsOf, sheet, vsockOf } from './sheet.js';
import { armName, inOrder } from './theme.js';

const directions = ['to the guest', 'from the guest'] as const;

/** How much each transport carries, by direction and the size of the messages. */
export function throughputFigure(
  summary: Summary,
  environment: Environment,
  payloadBytes: readonly number[],
): Figure {
  const rates = summary.rows.filter((row) => row.unit === 'B/s');
  const transfers = directions.flatMap((direction) =>
    payloadBytes.map((size) => ({ size, direction, metric: bulkMetric(size, direction) })),
  );
  const arms = inOrder([...new Set(rates.map(({ arm }) => arm))].map((arm) => ({ arm })));
  const cpu = arms.flatMap(({ arm }) => {
    const cells = transfers.map(({ metric }) => {
      const sides = (['host', 'guest'] as const).map((side) =>
        findRow(summary, arm, bulkCpuMetric(side, metric)),
      );
      return sides.map((row) => (row === undefined ? '–' : duration(row.p50))).join(' + ');
    });
    return cells.every((cell) => cell.startsWith('–')) ? [] : [[armName(arm), ...cells]];
  });
  const vsock = vsockOf(summary);
  const [size = 0] = payloadBytes;
  const [there, back] = directions.map((direction) => {
    const metric = bulkMetric(size, direction);
    return ['tcp', 'vsock-mux'].map((arm) => plainTimes(summary, vsock, arm, metric));
  });
  const title = answer(
    environment.title,
  )`In messages of ${bytes(size)} ${armName(vsock)} carries ${there?.[0]} the bytes of TCP and ${there?.[1]} those of vhost-device-vsock to the guest; from the guest ${back?.[0]} and ${back?.[1]}`;
  return sheet({
    file: 'throughput',
    title,
    environment,
    better: 'higher',
    drawn: rates,
    rows: [
      directions.map((direction) =>
        rowPanel({
          title: `Bytes a second ${direction}`,
          groups: payloadBytes.map((size) => ({
            name: `messages of ${bytes(size)}`,
            rows: rowsOf(summary, bulkMetric(size, direction)).map(bar),
          })),
          width: half,
          print: labels['B/s'],
          domain: [0, Math.max(...rates.map(({ ciHigh }) => ciHigh))],
        }),
      ),
      [
        textTable({
          title: 'Processor time of a MiB, host + guest: lower is better',
          rows: [
            ['', ...transfers.map(({ size, direction }) => `${bytes(size)} ${direction}`)],
            ...cpu,
          ],
          width: whole,
        }),
      ],
    ],
    notes: ['Pale: plain C at both ends. Otherwise the host’s end is TypeScript.'],
  });
}
