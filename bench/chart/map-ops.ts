import { type Environment, environmentLines } from '../environment.js';
import { elementMetrics, entriesMetric } from '../metrics.js';
import type { Summary } from '../types.js';
import { timeBar } from './bars.js';
import type { Figure } from './figure.js';
import { count, intervalName, significant } from './format.js';
import { type Bar, barPanel, type Panel, sheet } from './panels.js';
import { colourOf } from './theme.js';

/**
 * Reading a whole map by size of the batch, batches against single calls, and single operations.
 */
export function mapOpsFigure(
  summary: Summary,
  environment: Environment,
  large: number,
  small: number,
  batches: readonly number[],
): Figure {
  const bars = (metric: string): Bar[] =>
    summary.rows.filter((row) => row.metric === metric).map(timeBar);
  const panel = (title: string, metric: string, subtitle: string): Panel =>
    barPanel({
      title,
      subtitle,
      yTitle: 'ms',
      bars: bars(metric).map(inMs),
      width: 240,
      height: 200,
    });
  return {
    file: 'map-ops',
    title: 'A hash map read and changed from the host, and by a C program in the guest',
    origin: 'beyond the thesis',
    status: 'new',
    spec: sheet({
      title: 'A hash map in the guest, used from the host and by C in the guest',
      lines: environmentLines(environment),
      rows: [
        batches.map((batch) =>
          panel(
            `${count(large)} entries, ${batch === large ? 'all at once' : `${count(batch)} at a time`}`,
            entriesMetric(large, batch),
            `reading all of it · median, ${intervalName(summary.rows)}`,
          ),
        ),
        [
          panel(`${count(small)} entries, all at once`, entriesMetric(small, small), 'batch'),
          panel(`${count(small)} entries, one by one`, entriesMetric(small, 1), 'single calls'),
          ratioPanel(summary, large, batches),
        ],
        elementMetrics.map((metric) =>
          barPanel({
            title: metric,
            subtitle: 'one operation',
            yTitle: 'µs',
            bars: bars(metric).map(unlabelled),
            width: 160,
            height: 170,
          }),
        ),
      ],
    }),
  };
}

function inMs(bar: Bar): Bar {
  const { low = bar.value, high = bar.value } = bar;
  const value = bar.value / 1000;
  return { ...bar, value, low: low / 1000, high: high / 1000, text: significant(value) };
}

function unlabelled(bar: Bar): Bar {
  return { ...bar, label: bar.label.split('\n')[0] ?? '' };
}

function ratioPanel(summary: Summary, large: number, batches: readonly number[]): Panel {
  const bars = batches.flatMap((batch) =>
    summary.comparisons
      .filter(({ metric, kind }) => kind === 'ratio' && metric === entriesMetric(large, batch))
      .map(
        (one): Bar => ({
          label: `${one.arm}\n${count(batch)}`,
          value: one.value,
          low: one.ciLow,
          high: one.ciHigh,
          text: one.value.toFixed(2),
          colour: colourOf(one.arm),
          style: 'solid',
        }),
      ),
  );
  return barPanel({
    title: `${count(large)} entries: times the C program’s`,
    subtitle: 'by transport and entries at a time',
    yTitle: 'ratio',
    bars,
    width: 340,
    height: 200,
    marks: [{ value: 2, text: 'promised: at most 2' }],
  });
}
