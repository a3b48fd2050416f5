import { type Environment, environmentLines } from '../environment.js';
import type { Summary } from '../experiment.js';
import { commandMetrics, lookupMetric, placedMetric } from '../metrics.js';
import { overheadBars, timeBar } from './bars.js';
import type { Figure } from './figure.js';
import { barPanel, sheet } from './panels.js';

/** What forwarding costs when there is no virtual machine in between. */
export function softwareOverheadFigure(summary: Summary, environment: Environment): Figure {
  const panel = { yTitle: 'µs', width: 380 };
  return {
    file: 'software-overhead',
    title: 'What forwarding itself costs: client and agent on one kernel, at native speed',
    origin: 'beyond the thesis; comparable with the overheads of Figure 4',
    status: 'new',
    spec: sheet({
      title: 'What forwarding itself costs, at native speed',
      lines: environmentLines(environment),
      rows: [
        (['one core', 'a core each'] as const).map((placement) =>
          barPanel({
            ...panel,
            title: `${lookupMetric}, ${placement === 'one core' ? 'both on one core' : placement}`,
            subtitle: '/c: plain C exchanging the same bytes · p50, 95 % confidence interval',
            bars: summary.rows
              .filter((row) => row.metric === placedMetric(lookupMetric, placement))
              .map(timeBar),
            height: 210,
          }),
        ),
        commandMetrics.map((metric) =>
          barPanel({
            ...panel,
            title: `${metric}: added by forwarding`,
            subtitle: 'forwarded − native, median over rounds, 95 % confidence interval',
            bars: overheadBars(summary.comparisons, metric),
            height: 210,
          }),
        ),
      ],
    }),
  };
}
