import { type Environment, environmentLines } from '../environment.js';
import { loadMetric } from '../metrics.js';
import type { Summary } from '../types.js';
import type { Figure } from './figure.js';
import { count, intervalName } from './format.js';
import { armLines, armPoints, domainOf, medianMs } from './lines.js';
import { linePanel, type Point, sheet } from './panels.js';

/** The time of a load over the size of the program, and how much of it is forwarding. */
export function progSizeFigure(
  summary: Summary,
  environment: Environment,
  sizes: readonly number[],
): Figure {
  const lines = armLines(summary, (arm) => arm === 'native');
  const times = armPoints(summary, lines, sizes, loadMetric, medianMs);
  const ratios = lines.flatMap(({ name }) =>
    sizes.flatMap((x): Point[] => {
      const one = summary.comparisons.find(
        ({ arm, metric, kind }) => arm === name && metric === loadMetric(x) && kind === 'ratio',
      );
      if (one === undefined) return [];
      return [{ x, line: name, value: one.value, low: one.ciLow, high: one.ciHigh }];
    }),
  );
  const panel = {
    xTitle: 'instructions',
    lines,
    ticks: sizes.map((value) => ({ value, text: short(value) })),
    width: 400,
    height: 270,
  };
  return {
    file: 'prog-size',
    title: 'PROG_LOAD over the size of the program, native and forwarded',
    origin: 'beyond the thesis',
    status: 'new',
    spec: sheet({
      title: 'Loading programs of 2 to 1,000,000 instructions',
      lines: environmentLines(environment),
      rows: [
        [
          linePanel({
            ...panel,
            title: 'PROG_LOAD, p50',
            subtitle: `bars: ${intervalName(summary.rows)}`,
            yTitle: 'ms',
            yDomain: domainOf(times),
            points: times,
            legend: true,
          }),
          linePanel({
            ...panel,
            title: 'Times the native load',
            subtitle: 'median over the rounds',
            yTitle: 'ratio',
            yDomain: [Math.min(0.9, ...ratios.map(({ low }) => low)), domainOf(ratios)[1]],
            points: ratios,
            legend: false,
          }),
        ],
      ],
    }),
  };
}

/** `100 k` rather than `100,000`, which would touch its neighbours. */
function short(value: number): string {
  if (value >= 1e6) return `${value / 1e6} M`;
  return value >= 1e3 ? `${value / 1e3} k` : count(value);
}
