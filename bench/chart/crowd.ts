import { type Environment, environmentLines } from '../environment.js';
import { crowdMetrics, levelMetric, openMetric } from '../metrics.js';
import type { Summary } from '../types.js';
import { timeBar } from './bars.js';
import type { Figure } from './figure.js';
import { intervalName } from './format.js';
import { armLines, armPoints, domainOf, medianThousands, medianUs, tailUs } from './lines.js';
import { barPanel, linePanel, type Panel, type Point, sheet } from './panels.js';

/** What a figure about overlapping calls is called, and over what. */
export interface CrowdWords {
  name: string;
  title: string;
  noun: string;
  levels: readonly number[];
}

/** Rates and times of look-ups over how many of them overlap. */
export function crowdFigure(
  summary: Summary,
  environment: Environment,
  { name, title, noun, levels }: CrowdWords,
): Figure {
  const lines = armLines(summary, () => false);
  const metric = (what: string) => (level: number) => levelMetric(what, noun, level);
  const rates = armPoints(summary, lines, levels, metric(crowdMetrics.rate), medianThousands);
  const calls = armPoints(summary, lines, levels, metric(crowdMetrics.call), medianUs);
  const tails = armPoints(summary, lines, levels, metric(crowdMetrics.call), tailUs);
  const opens = summary.rows.filter((row) => row.metric === openMetric).map(timeBar);
  const panel = (
    what: string,
    subtitle: string,
    yTitle: string,
    points: readonly Point[],
    legend: boolean,
    yDomain = domainOf(points),
  ): Panel =>
    linePanel({
      title: what,
      subtitle,
      xTitle: noun,
      yTitle,
      yDomain,
      points,
      lines,
      ticks: levels.map((value) => ({ value, text: String(value) })),
      width: 300,
      height: 240,
      legend,
    });
  const times = domainOf([...calls, ...tails]);
  return {
    file: name,
    title,
    origin: 'beyond the thesis',
    status: 'new',
    spec: sheet({
      title,
      lines: environmentLines(environment),
      rows: [
        [
          panel(
            'Look-ups per second',
            `all together; ${intervalName(summary.rows)}`,
            'thousands / s',
            rates,
            true,
          ),
          panel('One look-up, p50', `${intervalName(summary.rows)}`, 'µs', calls, false, times),
          ...(tails.length === 0
            ? []
            : [panel('One look-up, p99', 'same samples', 'µs', tails, false, times)]),
        ],
        ...(opens.length === 0
          ? []
          : [
              [
                barPanel({
                  title: `Opening one more beside ${levels.at(-1)}, p50`,
                  subtitle: 'from connecting to the welcome',
                  yTitle: 'µs',
                  bars: opens,
                  width: 300,
                  height: 180,
                }),
              ],
            ]),
      ],
    }),
  };
}
