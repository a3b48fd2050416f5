import { type Environment, environmentLines } from '../environment.js';
import { interceptionMetrics, toolMetrics } from '../metrics.js';
import type { Row, Summary } from '../types.js';
import { timeBar } from './bars.js';
import type { Figure } from './figure.js';
import { type Bar, barPanel, sheet } from './panels.js';

function bar(row: Row): Bar {
  const [transport = '', standby] = row.arm.split('/');
  return {
    ...timeBar(row),
    label: standby === undefined ? transport : `${transport},\n${standby}`,
  };
}

/** Whole runs of unmodified programs, and what a call of theirs costs. */
export function toolsFigure(summary: Summary, environment: Environment): Figure {
  const panel = (metric: string, subtitle: string) =>
    barPanel({
      title: metric,
      subtitle,
      yTitle: 'µs',
      bars: summary.rows.filter((row) => row.metric === metric).map(bar),
      width: 260,
      height: 190,
    });
  const metrics = Object.values(toolMetrics);
  return {
    file: 'tools',
    title: 'Unmodified programs on the host under `waep run`, and the same inside the guest',
    origin: 'beyond the thesis: its open problem, existing applications',
    status: 'new',
    spec: sheet({
      title: 'Unmodified programs: from the host, and in the guest',
      lines: environmentLines(environment),
      rows: [
        metrics.slice(0, 3).map((metric) => panel(metric, 'wall time, p50')),
        metrics.slice(3).map((metric) => panel(metric, 'wall time, p50')),
        interceptionMetrics.map((metric) =>
          panel(
            metric,
            metric === 'uname' ? 'one call; answered on the host' : 'one call; made in the guest',
          ),
        ),
      ],
    }),
  };
}
