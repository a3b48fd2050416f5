import { type Environment, environmentLines } from '../environment.js';
import type { Summary } from '../types.js';
import { rateBar } from './bars.js';
import type { Figure } from './figure.js';
import { barPanel, sheet } from './panels.js';

/** The speed of the fixed-shape codec beside cbor-x, for the same bytes. */
export function codecFigure(summary: Summary, environment: Environment): Figure {
  const metrics = [...new Set(summary.rows.map((row) => row.metric))];
  return {
    file: 'codec',
    title: 'Encoding and decoding per second: the fixed-shape codec and cbor-x',
    origin: 'beyond the thesis',
    status: 'new',
    spec: sheet({
      title: 'The codec alone: the fixed shape and cbor-x, for the same bytes',
      lines: environmentLines(environment),
      rows: [
        metrics.map((metric) =>
          barPanel({
            title: metric,
            subtitle: 'higher is better',
            yTitle: 'operations per second',
            yFormat: '~s',
            bars: summary.rows.filter((row) => row.metric === metric).map(rateBar),
            width: 220,
            height: 220,
          }),
        ),
      ],
    }),
  };
}
