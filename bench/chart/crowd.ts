import type { Environment } from '../environment.js';
import { crowdMetrics, levelMetric } from '../metrics.js';
import { findRow } from '../summary.js';
import type { Summary } from '../types.js';
import type { Figure } from './figure.js';
import { labels } from './format.js';
import { linePanel, whole } from './panels.js';
import { answer, medianLines, sheet, vsockOf } from './sheet.js';
import { armName } from './theme.js';

/** What a figure about overlapping calls is called, and over what. */
export interface CrowdWords {
  name: string;
  noun: string;
  /** What a level counts, in words for the reader, such as `look-ups in flight`. */
  counted: string;
  levels: readonly number[];
}

/** The rates of look-ups over how many of them overlap. */
export function crowdFigure(
  summary: Summary,
  environment: Environment,
  { name, noun, counted, levels }: CrowdWords,
): Figure {
  const metric = (level: number) => levelMetric(crowdMetrics.rate, noun, level);
  const lines = medianLines(summary, levels, metric);
  const [most = 1] = levels.slice(-1);
  const vsock = vsockOf(summary);
  const rateOf = (arm: string, level: number) => {
    const row = findRow(summary, arm, metric(level));
    return row && labels[row.unit](row.p50);
  };
  const title = answer(
    environment.title,
  )`${String(most)} ${counted}: ${rateOf(vsock, most)} by ${armName(vsock)}, ${rateOf('tcp', most)} by TCP; one: ${rateOf(vsock, 1)} and ${rateOf('tcp', 1)}`;
  return sheet({
    file: name,
    title,
    environment,
    better: 'higher',
    drawn: summary.rows.filter((row) => levels.some((level) => row.metric === metric(level))),
    rows: [
      [
        linePanel({
          title: 'Look-ups a second, all together',
          lines,
          width: whole,
          height: 320,
          ticks: levels.map((value) => ({ value, text: String(value) })),
          xTitle: `${counted} (log scale)`,
          xLogarithmic: true,
          print: labels['ops/s'],
        }),
      ],
    ],
  });
}
