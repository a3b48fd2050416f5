import { type Environment, environmentLines } from '../environment.js';
import type { Summary, Unit } from '../types.js';
import { rateBar, timeBar } from './bars.js';
import type { Figure } from './figure.js';
import { intervalName } from './format.js';
import { barPanel, pairs, sheet } from './panels.js';

/** How much each transport carries, by the size of the messages and by direction. */
export function throughputFigure(summary: Summary, environment: Environment): Figure {
  const metricsIn = (unit: Unit) => [
    ...new Set(summary.rows.filter((row) => row.unit === unit).map((row) => row.metric)),
  ];
  return {
    file: 'throughput',
    title: 'Throughput per transport, size of message and direction',
    origin: 'beyond the thesis',
    status: 'new',
    spec: sheet({
      title: 'Bytes per second to the guest and from it',
      lines: environmentLines(environment),
      rows: [
        ...metricsIn('B/s').map((metric) => [
          barPanel({
            title: metric,
            subtitle: `/c: plain C · higher is better · ${intervalName(summary.rows)}`,
            yTitle: 'bytes per second',
            yFormat: '~s',
            bars: summary.rows.filter((row) => row.metric === metric).map(rateBar),
            width: 844,
            height: 180,
          }),
        ]),
        ...pairs(metricsIn('ns')).map((metrics) =>
          metrics.map((metric) =>
            barPanel({
              title: metric,
              subtitle: 'TypeScript, with the daemon where there is one',
              yTitle: 'µs',
              bars: summary.rows.filter((row) => row.metric === metric).map(timeBar),
              width: 400,
              height: 150,
            }),
          ),
        ),
      ],
    }),
  };
}
