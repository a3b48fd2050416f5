import type { Environment } from '../environment.js';
import { commandMetrics, lookupMetric, placedMetric, thesisOverheadNs } from '../metrics.js';
import type { Summary } from '../types.js';
import type { Figure } from './figure.js';
import { duration } from './format.js';
import { half, rowPanel } from './panels.js';
import { answer, bar, plainTimes, point, rowsOf, sheet } from './sheet.js';
import { inOrder } from './theme.js';

/** The cost of forwarding without a virtual machine in between. */
export function softwareOverheadFigure(summary: Summary, environment: Environment): Figure {
  const { serverCpu, otherCpu } = environment.parameters;
  const placements = ['one core', 'a core each'] as const;
  const metricOf = (placement: (typeof placements)[number]) =>
    placedMetric(lookupMetric, placement);
  const added = (metric: string) =>
    inOrder(
      summary.comparisons.filter(
        (one) => one.kind === 'difference' && one.thesis !== undefined && one.metric === metric,
      ),
    );
  const [one, each] = placements.map((placement) =>
    ['unix/c', 'tcp/c'].map((limit) => plainTimes(summary, 'unix', limit, metricOf(placement))),
  );
  const title = answer(
    environment.title,
  )`Over a Unix socket a small call takes ${one?.[0]} plain C’s time on one core and ${each?.[0]} with a core each; ${one?.[1]} and ${each?.[1]} that of plain C over TCP`;
  return sheet({
    file: 'software-overhead',
    title,
    origin: 'beyond the thesis; comparable with the overheads of Figure 4',
    environment,
    better: 'lower',
    drawn: [...placements.map(metricOf), ...commandMetrics].flatMap((metric) =>
      rowsOf(summary, metric),
    ),
    rows: [
      placements.map((placement) =>
        rowPanel({
          title: `${lookupMetric}, ${placement === 'one core' ? 'both on one core' : placement}`,
          subtitle: `servers on CPU ${serverCpu}, clients on CPU ${placement === 'one core' ? serverCpu : otherCpu}; plain C (pale) exchanges the same bytes`,
          groups: [{ rows: rowsOf(summary, metricOf(placement)).map(bar) }],
          width: half,
        }),
      ),
      commandMetrics.map((metric) =>
        rowPanel({
          title: `${metric}: time of one call`,
          subtitle: 'plain C (pale) makes the call for another plain C process',
          groups: [{ rows: rowsOf(summary, metric).map(bar) }],
          width: half,
        }),
      ),
      commandMetrics.map((metric) =>
        rowPanel({
          title: `${metric}: added by forwarding`,
          subtitle: `agent on CPU ${serverCpu}, callers on CPU ${otherCpu}`,
          groups: [{ rows: added(metric).map((one) => point(one)) }],
          width: half,
          mark: {
            value: thesisOverheadNs[metric],
            text: `thesis ${duration(thesisOverheadNs[metric])}`,
          },
        }),
      ),
    ],
    notes: [
      'Alike in the thesis and here: a client, a proxy, one kernel that executes the call. Not alike: the thesis crosses the border of a KVM guest and a network card, on a Core i7-9700.',
    ],
  });
}
