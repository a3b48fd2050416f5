import type { Environment } from '../environment.js';
import { loadMetric } from '../metrics.js';
import { findCompared, findRow } from '../summary.js';
import type { Summary } from '../types.js';
import type { Figure } from './figure.js';
import { count, duration, ratioText } from './format.js';
import { linePanel, whole } from './panels.js';
import { answer, linesOver, sheet, times, vsockOf } from './sheet.js';
import { armName } from './theme.js';

/** How much longer a forwarded load takes, over the size of the program. */
export function progSizeFigure(
  summary: Summary,
  environment: Environment,
  sizes: readonly number[],
): Figure {
  const ratios = summary.comparisons.filter(({ kind }) => kind === 'ratio');
  const lines = linesOver(
    ratios.map(({ arm }) => arm),
    sizes,
    (arm, size) => {
      const one = findCompared(summary, arm, 'native', loadMetric(size));
      return one && { value: one.value, low: one.ciLow, high: one.ciHigh };
    },
  );
  const native = (size: number) => {
    const row = findRow(summary, 'native', loadMetric(size));
    return row === undefined ? '' : `\n${duration(row.p50)}`;
  };
  const vsock = vsockOf(summary);
  const [least = 0, most = least] = [sizes[0], sizes.at(-1)];
  const factorOf = (size: number) => times(summary, vsock, 'native', loadMetric(size));
  const title = answer(
    environment.title,
  )`By ${armName(vsock)} a load of ${count(least)} instructions takes ${factorOf(least)} native, one of ${count(most)} takes ${factorOf(most)}`;
  return sheet({
    file: 'prog-size',
    title,
    environment,
    better: 'lower',
    drawn: ratios,
    logarithmic: true,
    rows: [
      [
        linePanel({
          title: 'PROG_LOAD: time ÷ the native one',
          lines,
          width: whole,
          height: 360,
          ticks: sizes.map((value) => ({ value, text: `${short(value)}${native(value)}` })),
          xTitle: 'instructions, and the native time (log scale)',
          xLogarithmic: true,
          logarithmic: true,
          print: ratioText,
          mark: { value: 1, text: 'native' },
        }),
      ],
    ],
  });
}

/** `100 k` rather than `100,000`, which would touch its neighbours. */
function short(value: number): string {
  if (value >= 1e6) return `${value / 1e6} M`;
  return value >= 1e3 ? `${value / 1e3} k` : count(value);
}
