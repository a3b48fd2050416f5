import { type Environment, environmentLines } from '../environment.js';
import { commandMetrics } from '../metrics.js';
import type { Summary } from '../types.js';
import { overheadBars, timeBar } from './bars.js';
import type { Figure } from './figure.js';
import { barPanel, sheet } from './panels.js';

/** The thesis' Figure 4 with our transports, and the overheads beside the thesis' own. */
export function thesisFigure(summary: Summary, environment: Environment): Figure {
  return {
    file: 'thesis',
    title: 'PROG_LOAD and RAW_TRACEPOINT_OPEN, native and forwarded over each transport',
    origin: 'Figure 4',
    status:
      environment.accel === 'kvm'
        ? 'reproduced'
        : 'reproduced in shape: the guest is emulated, so absolute figures differ from the thesis’ KVM',
    spec: sheet({
      title: 'The thesis’ two bpf commands: native in the guest, and forwarded to it',
      lines: environmentLines(environment),
      rows: [
        commandMetrics.map((metric) =>
          barPanel({
            title: metric,
            subtitle: 'time of one call · median, 95 % confidence interval',
            yTitle: 'µs',
            bars: summary.rows.filter((row) => row.metric === metric).map(timeBar),
            width: 380,
            height: 230,
          }),
        ),
        commandMetrics.map((metric) =>
          barPanel({
            title: `${metric}: added by forwarding`,
            subtitle: 'forwarded − native, median over rounds, 95 % confidence interval',
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
