import { type Environment, environmentLines } from '../environment.js';
import { commandMetrics, thesisOverheadNs } from '../metrics.js';
import type { Summary } from '../types.js';
import { overheadBars, timeBar } from './bars.js';
import type { Figure } from './figure.js';
import { intervalName } from './format.js';
import { barPanel, sheet } from './panels.js';

/** The thesis' Figure 4 with our transports, and the overheads beside the thesis' own. */
export function thesisFigure(summary: Summary, environment: Environment): Figure {
  return {
    file: 'thesis',
    title: 'PROG_LOAD and RAW_TRACEPOINT_OPEN, native and forwarded over each transport',
    origin: 'Figure 4',
    status: statusOf(summary, environment),
    spec: sheet({
      title: 'The thesis’ two bpf commands: native in the guest, and forwarded to it',
      lines: environmentLines(environment),
      rows: [
        commandMetrics.map((metric) =>
          barPanel({
            title: metric,
            subtitle: `time of one call · median, ${intervalName(summary.rows)}`,
            yTitle: 'µs',
            bars: summary.rows.filter((row) => row.metric === metric).map(timeBar),
            width: 380,
            height: 230,
          }),
        ),
        commandMetrics.map((metric) =>
          barPanel({
            title: `${metric}: added by forwarding`,
            subtitle: `forwarded − native, median over rounds, ${intervalName(summary.rows)}`,
            yTitle: 'µs',
            bars: overheadBars(summary.comparisons, metric),
            width: 380,
            height: 200,
          }),
        ),
      ],
    }),
  };
}

/** The thesis' overhead of a load, divided by its overhead of an attachment. */
const THESIS_RATIO = thesisOverheadNs.PROG_LOAD / thesisOverheadNs.RAW_TRACEPOINT_OPEN;

/** Our overheads beside those of the thesis, without a verdict. */
function statusOf({ comparisons }: Summary, { accel }: Environment): string {
  const [loads, attachments] = commandMetrics.map((metric) =>
    comparisons.filter((one) => one.kind === 'difference' && one.metric === metric),
  );
  const ratios = (loads ?? []).flatMap((load) => {
    const other = attachments?.find((one) => one.arm === load.arm);
    return other === undefined ? [] : [load.value / other.value];
  });
  if (ratios.length === 0) return 'measured';
  const [least, most] = [Math.min(...ratios), Math.max(...ratios)];
  const where = accel === 'kvm' ? 'under KVM' : 'in an emulated guest';
  return `measured ${where}: a load adds ${least.toFixed(2)} to ${most.toFixed(2)} times what an attachment adds; in the thesis ${THESIS_RATIO.toFixed(2)} times`;
}
