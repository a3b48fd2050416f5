import type { Environment } from '../environment.js';
import { commandMetrics, thesisOverheadNs } from '../metrics.js';
import type { Summary } from '../types.js';
import type { Figure } from './figure.js';
import { duration } from './format.js';
import { half, rowPanel } from './panels.js';
import { answer, bar, point, rowsOf, sheet, vsockOf } from './sheet.js';
import { armName, inOrder } from './theme.js';

/** The thesis' Figure 4 with our transports, and what forwarding adds. */
export function thesisFigure(summary: Summary, environment: Environment, file = 'thesis'): Figure {
  const added = (metric: string) =>
    inOrder(
      summary.comparisons.filter((one) => one.kind === 'difference' && one.metric === metric),
    );
  const addedBy = (arm: string, metric: string) => {
    const one = added(metric).find((candidate) => candidate.arm === arm);
    return one && duration(one.value);
  };
  const vsock = vsockOf(summary);
  const [load, open] = commandMetrics;
  const title = answer(
    environment.title,
  )`Forwarding adds ${addedBy(vsock, load)} to ${load} by ${armName(vsock)} and ${addedBy('tcp', load)} by TCP; to ${open} ${addedBy(vsock, open)} and ${addedBy('tcp', open)}`;
  const quoted = commandMetrics
    .map((metric) => `${duration(thesisOverheadNs[metric])} to ${metric}`)
    .join(' and ');
  return sheet({
    file,
    title,
    origin: 'Figure 4',
    status: statusOf(summary, environment),
    environment,
    better: 'lower',
    drawn: commandMetrics.flatMap((metric) => rowsOf(summary, metric)),
    rows: [
      commandMetrics.map((metric) =>
        rowPanel({
          title: `${metric}: time of one call`,
          groups: [{ rows: rowsOf(summary, metric).map(bar) }],
          width: half,
        }),
      ),
      commandMetrics.map((metric) =>
        rowPanel({
          title: `${metric}: added by forwarding`,
          subtitle: 'forwarded − native, median over the rounds',
          groups: [{ rows: added(metric).map((one) => point(one)) }],
          width: half,
        }),
      ),
    ],
    notes: [
      `The thesis reports that TCP adds ${quoted}, in a KVM guest on a Core i7-9700. The chart of software-overhead is the one to compare with that.`,
    ],
  });
}

/** The thesis' overhead of a load, divided by its overhead of an attachment. */
const THESIS_RATIO = thesisOverheadNs.PROG_LOAD / thesisOverheadNs.RAW_TRACEPOINT_OPEN;

/** Our overheads beside those of the thesis, without a verdict. */
function statusOf({ comparisons }: Summary, { accel, guest }: Environment): string {
  const [loads, attachments] = commandMetrics.map((metric) =>
    comparisons.filter((one) => one.kind === 'difference' && one.metric === metric),
  );
  const ratios = (loads ?? []).flatMap((load) => {
    const other = attachments?.find((one) => one.arm === load.arm);
    return other === undefined ? [] : [load.value / other.value];
  });
  if (ratios.length === 0) return 'measured';
  const [least, most] = [Math.min(...ratios), Math.max(...ratios)];
  const emulated = guest?.outer === undefined ? 'in an emulated guest' : 'in a guest of a guest';
  const where = accel === 'kvm' ? 'under KVM' : emulated;
  return `measured ${where}: a load adds ${least.toFixed(2)} to ${most.toFixed(2)} times what an attachment adds; in the thesis ${THESIS_RATIO.toFixed(2)} times`;
}
