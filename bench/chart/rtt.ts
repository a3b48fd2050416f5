import type { Environment } from '../environment.js';
import { echoMetric, lookupMetric } from '../metrics.js';
import type { Summary } from '../types.js';
import type { Figure } from './figure.js';
import { bytes } from './format.js';
import { linePanel, rowPanel, whole } from './panels.js';
import { answer, bar, medianLines, rowsOf, sheet, times, vsockOf } from './sheet.js';
import { armName } from './theme.js';

/**
 * Round-trip times over the size of the message, per transport, each with plain C dashed.
 *
 * @param where begins the title, such as `On one core: `
 */
export function rttFigure(
  summary: Summary,
  environment: Environment,
  { payloadBytes, file, where }: { payloadBytes: readonly number[]; file: string; where: string },
): Figure {
  const lines = medianLines(summary, payloadBytes, echoMetric);
  const vsock = vsockOf(summary);
  const ratioOf = (size: number) => times(summary, vsock, 'tcp', echoMetric(size));
  const title = answer(
    environment.title,
  )`${where}${armName(vsock)} takes ${ratioOf(64)} TCP’s round trip of 64 B, ${ratioOf(4096)} that of 4 KiB`;
  return sheet({
    file,
    title,
    environment,
    better: 'lower',
    drawn: [...payloadBytes.map(echoMetric), lookupMetric].flatMap((metric) =>
      rowsOf(summary, metric),
    ),
    rows: [
      [
        linePanel({
          title: 'A message there and back (log scale)',
          subtitle: 'dashed: plain C; otherwise TypeScript',
          lines,
          width: whole,
          height: 330,
          ticks: payloadBytes.map((value) => ({ value, text: bytes(value) })),
          xTitle: 'bytes each way',
          xLogarithmic: true,
          logarithmic: true,
        }),
      ],
      [
        rowPanel({
          title: `${lookupMetric} through a session`,
          subtitle: 'plain C (pale) exchanges the same bytes and executes nothing',
          groups: [{ rows: rowsOf(summary, lookupMetric).map(bar) }],
          width: whole,
        }),
      ],
    ],
  });
}
