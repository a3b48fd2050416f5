import type { Environment } from '../environment.js';
import { interceptionMetrics, toolMetrics } from '../metrics.js';
import { findCompared, findRow } from '../summary.js';
import type { Compared, Summary } from '../types.js';
import type { Figure } from './figure.js';
import { duration } from './format.js';
import { type Group, rowPanel, whole } from './panels.js';
import { answer, plainTimes, point, sheet, vsockOf } from './sheet.js';

/** Whole runs of unmodified programs, and what a call of theirs costs, as multiples of native. */
export function toolsFigure(summary: Summary, environment: Environment): Figure {
  const vsock = vsockOf(summary);
  const arms = [`${vsock}/standby`, vsock];
  const metrics = [...Object.values(toolMetrics), ...interceptionMetrics];
  const compared = metrics.flatMap((metric) => {
    const found = arms.map((arm) => findCompared(summary, arm, 'guest', metric));
    return found.filter((one): one is Compared => one !== undefined);
  });
  const groups = metrics.flatMap((metric): Group[] => {
    const native = findRow(summary, 'guest', metric);
    if (native === undefined) return [];
    return [
      {
        name: `${metric} (native ${duration(native.p50)})`,
        rows: compared
          .filter((one) => one.metric === metric)
          .map((one) => {
            const row = findRow(summary, one.arm, metric);
            const attended = one.arm.endsWith('/standby');
            return {
              ...point(one, ...(row === undefined ? [] : [duration(row.p50)])),
              label: attended ? 'with a standby' : 'without one',
              pale: !attended,
            };
          }),
      },
    ];
  });
  const [attended = '', alone = ''] = arms;
  const { show, bpftrace } = toolMetrics;
  const factorOf = (arm: string, metric: string) => plainTimes(summary, arm, 'guest', metric);
  const title = answer(
    environment.title,
  )`${show} takes ${factorOf(attended, show)} native under waep run with a standby, ${factorOf(alone, show)} without; ${bpftrace} ${factorOf(attended, bpftrace)} and ${factorOf(alone, bpftrace)}`;
  return sheet({
    file: 'tools',
    title,
    origin: 'beyond the thesis: its open problem, existing applications',
    environment,
    better: 'lower',
    drawn: compared,
    logarithmic: true,
    rows: [
      [
        rowPanel({
          title: 'From the host under waep run: time ÷ that of the same program in the guest',
          groups,
          width: whole,
          logarithmic: true,
          print: String,
          mark: { value: 1, text: 'native' },
        }),
      ],
    ],
    notes: [
      'Red strokes: the bounds of the hypothesis. uname is one call, answered on the host; MAP_LOOKUP_ELEM is one call, made in the guest. The others are whole runs.',
    ],
  });
}
