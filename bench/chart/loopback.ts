import type { Environment } from '../environment.js';
import { echoMetric, streamMetric } from '../metrics.js';
import { findCompared } from '../summary.js';
import type { Summary } from '../types.js';
import type { Figure } from './figure.js';
import { bytes, labels, ratioText } from './format.js';
import { half, rowPanel, whole } from './panels.js';
import { answer, bar, rowsOf, sheet, times } from './sheet.js';

/** Round trips and streams between two sockets of one guest. */
export function loopbackFigure(
  summary: Summary,
  environment: Environment,
  echoBytes: readonly number[],
  streamBytes: number,
): Figure {
  const [size = 0] = echoBytes;
  const stream = streamMetric(streamBytes);
  const [c, typescript] = ['/c', ''].map((end) =>
    times(summary, `vsock-kernel${end}`, `tcp${end}`, echoMetric(size)),
  );
  const slower = findCompared(summary, 'tcp/c', 'vsock-kernel/c', stream);
  const carried = slower && `${ratioText(1 / slower.value)} ×`;
  const title = answer(
    environment.title,
  )`Within one kernel vsock takes ${c} TCP’s round trip of ${bytes(size)} in plain C and ${typescript} in TypeScript; it carries ${carried} TCP’s bytes`;
  return sheet({
    file: 'loopback',
    title,
    environment,
    better: 'lower',
    drawn: echoBytes.flatMap((each) => rowsOf(summary, echoMetric(each))),
    rows: [
      echoBytes.map((each) =>
        rowPanel({
          title: `${bytes(each)} there and back within the guest`,
          groups: [{ rows: rowsOf(summary, echoMetric(each)).map(bar) }],
          width: half,
        }),
      ),
      [
        rowPanel({
          title: 'Bytes a second in messages of 1 MiB: higher is better',
          groups: [{ rows: rowsOf(summary, stream).map(bar) }],
          width: whole,
          print: labels['B/s'],
        }),
      ],
    ],
    notes: ['Pale: plain C at both ends. Otherwise the client is TypeScript.'],
  });
}
