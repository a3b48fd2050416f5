import { type Environment, environmentLines } from '../environment.js';
import { commandMetrics, lookupMetric, placedMetric } from '../metrics.js';
import type { Summary } from '../types.js';
import { overheadBars, timeBar } from './bars.js';
import type { Figure } from './figure.js';
import { intervalName, significant } from './format.js';
import { barPanel, sheet } from './panels.js';

/** The cost of forwarding without a virtual machine in between. */
export function softwareOverheadFigure(summary: Summary, environment: Environment): Figure {
  const panel = { yTitle: 'µs', width: 380 };
  const { serverCpu, otherCpu } = environment.parameters;
  return {
    file: 'software-overhead',
    title: 'What forwarding itself costs: client and agent on one kernel, at native speed',
    origin: 'beyond the thesis; comparable with the overheads of Figure 4',
    status: 'new',
    spec: sheet({
      title: 'What forwarding itself costs, at native speed',
      lines: environmentLines(environment),
      rows: [
        (['one core', 'a core each'] as const).map((placement) => {
          const metric = placedMetric(lookupMetric, placement);
          return barPanel({
            ...panel,
            title: `${lookupMetric}, ${placement === 'one core' ? 'both on one core' : placement}`,
            subtitle: [
              `every server on CPU ${serverCpu}, every client on CPU ${placement === 'one core' ? serverCpu : otherCpu}`,
              `/c: plain C exchanging the same bytes · p50, ${intervalName(summary.rows)}`,
              ...distances(summary, metric),
            ].join('\n'),
            bars: summary.rows.filter((row) => row.metric === metric).map(timeBar),
            height: 210,
          });
        }),
        commandMetrics.map((metric) =>
          barPanel({
            ...panel,
            title: `${metric}: added by forwarding`,
            subtitle: `agent on CPU ${serverCpu}, callers on CPU ${otherCpu}\nforwarded − native, median over rounds, ${intervalName(summary.rows)}`,
            bars: overheadBars(summary.comparisons, metric),
            height: 210,
          }),
        ),
      ],
    }),
  };
}

/** An arm's time divided by the plain C limit, median over rounds, if there is a bound for it. */
function distances(summary: Summary, metric: string): string[] {
  const bounded = summary.comparisons.filter(
    (one) => one.metric === metric && one.bound !== undefined,
  );
  const arms = new Set(bounded.map(({ arm, against }) => `${arm} ÷ ${against}`));
  return [...arms].map((pair) => {
    const figures = bounded
      .filter(({ arm, against }) => `${arm} ÷ ${against}` === pair)
      .map(({ quantile, value, bound = 0 }) => {
        return `${quantile} ${value.toFixed(2)} × (at most ${significant(bound)})`;
      });
    return `${pair}: ${figures.join(', ')}`;
  });
}
