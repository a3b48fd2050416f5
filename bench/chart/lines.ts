import { findRow } from '../summary.js';
import type { Row, Summary } from '../types.js';
import type { LineStyle, Point } from './panels.js';
import { colourOf } from './theme.js';

/** The arms of a summary in the order of their rows, each as a line of its own. */
export function armLines(summary: Summary, dashed: (arm: string) => boolean): LineStyle[] {
  const arms = [...new Set(summary.rows.map((row) => row.arm))];
  return arms.map((arm) => ({ name: arm, colour: colourOf(arm), dashed: dashed(arm) }));
}

/** The points of the arms' lines over `xs`, one row each. */
export function armPoints(
  summary: Summary,
  lines: readonly LineStyle[],
  xs: readonly number[],
  metric: (x: number) => string,
  value: (row: Row) => Pick<Point, 'value' | 'low' | 'high'> | undefined,
): Point[] {
  return lines.flatMap(({ name }) =>
    xs.flatMap((x): Point[] => {
      const row = findRow(summary, name, metric(x));
      const figure = row === undefined ? undefined : value(row);
      return figure === undefined ? [] : [{ x, line: name, ...figure }];
    }),
  );
}

/** The median of a row in microseconds, with its interval. */
export const medianUs = (row: Row) => ({
  value: row.p50 / 1000,
  low: row.ciLow / 1000,
  high: row.ciHigh / 1000,
});

/** The median of a row in milliseconds, with its interval. */
export const medianMs = (row: Row) => ({
  value: row.p50 / 1e6,
  low: row.ciLow / 1e6,
  high: row.ciHigh / 1e6,
});

/** The 99th percentile of a row in microseconds, where it has one. */
export const tailUs = ({ p99 }: Row) => {
  if (p99 === undefined) return undefined;
  const value = p99 / 1000;
  return { value, low: value, high: value };
};

/** The median of a row in thousands per second, with its interval. */
export const medianThousands = (row: Row) => ({
  value: row.p50 / 1000,
  low: row.ciLow / 1000,
  high: row.ciHigh / 1000,
});

/** A logarithmic axis with some room around the points. */
export function domainOf(points: readonly Point[]): readonly [low: number, high: number] {
  const shown = points.flatMap(({ low, high }) => [low, high]);
  return [Math.min(...shown) * 0.75, Math.max(...shown) * 1.25];
}
