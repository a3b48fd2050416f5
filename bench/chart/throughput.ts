import { type Environment, environmentLines } from '../environment.js';
import type { Summary } from '../experiment.js';
import { rateBar } from './bars.js';
import type { Figure } from './figure.js';
import { barPanel, sheet } from './panels.js';

/** How much each road carries, by the size of the messages and by direction. */
export function throughputFigure(summary: Summary, environment: Environment): Figure {
  const metrics = [...new Set(summary.rows.map((row) => row.metric))];
  return {
    file: 'throughput',
    title: 'Throughput per road, size of message and direction',
    origin: 'beyond the thesis',
    status: 'new',
    spec: sheet({
      title: 'Bytes per second to the guest and from it',
      lines: environmentLines(environment),
      rows: metrics.map((metric) => [
        barPanel({
          title: metric,
          subtitle: '/c: plain C · higher is better · 95 % confidence interval',
          yTitle: 'bytes per second',
          yFormat: '~s',
          bars: summary.rows.filter((row) => row.metric === metric).map(rateBar),
          width: 844,
          height: 180,
        }),
      ]),
    }),
  };
}
