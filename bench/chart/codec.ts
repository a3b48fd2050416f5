import type { Environment } from '../environment.js';
import type { Summary } from '../types.js';
import type { Figure } from './figure.js';
import { labels } from './format.js';
import { rowPanel, whole } from './panels.js';
import { answer, bar, rowsOf, sheet, times } from './sheet.js';

/** The speed of the fixed-shape codec beside cbor-x, for the same bytes. */
export function codecFigure(summary: Summary, environment: Environment): Figure {
  const metrics = [...new Set(summary.rows.map((row) => row.metric))];
  const factors = metrics.map((metric) => times(summary, 'fixed-shape', 'cbor-x', metric));
  const list = metrics.map((metric, i) => `${metric} ${factors[i]}`).join(', ');
  const title = answer(environment.title)`The fixed shape's rate ÷ cbor-x's: ${
    factors.includes(undefined) ? undefined : list
  }`;
  return sheet({
    file: 'codec',
    title,
    environment,
    better: 'higher',
    drawn: summary.rows,
    rows: [
      [
        rowPanel({
          title: 'Operations a second, for the same bytes',
          groups: metrics.map((name) => ({ name, rows: rowsOf(summary, name).map(bar) })),
          width: whole,
          print: labels['ops/s'],
        }),
      ],
    ],
    notes: ['A sample is the rate of a cycle of benchmark.js, which is many operations.'],
  });
}
