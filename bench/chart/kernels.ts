import { type Environment, environmentLines } from '../environment.js';
import type { Summary } from '../types.js';
import { rateBar, timeBar } from './bars.js';
import type { Figure } from './figure.js';
import { intervalName } from './format.js';
import { barPanel, pairs, sheet } from './panels.js';

/** What the device and TCP carry, and how long a round trip takes, by the guest's kernel. */
export function kernelsFigure(summary: Summary, environment: Environment): Figure {
  const metrics = [...new Set(summary.rows.map((row) => row.metric))];
  return {
    file: 'kernels',
    title: 'Round trips and throughput of the device and of TCP, by the guest’s kernel',
    origin: 'beyond the thesis',
    status: 'new',
    spec: sheet({
      title: 'The in-process device and TCP, by the guest’s kernel',
      lines: environmentLines(environment),
      rows: pairs(metrics).map((pair) =>
        pair.map((metric) => {
          const rows = summary.rows.filter((row) => row.metric === metric);
          const rate = rows.some((row) => row.unit === 'B/s');
          return barPanel({
            title: metric,
            subtitle: `${rate ? 'higher' : 'lower'} is better · ${intervalName(rows)}`,
            yTitle: rate ? 'bytes per second' : 'µs',
            ...(rate ? { yFormat: '~s' } : {}),
            bars: rows.map(rate ? rateBar : timeBar),
            width: 400,
            height: 130,
          });
        }),
      ),
    }),
  };
}
