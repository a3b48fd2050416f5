import { type Environment, environmentLines } from '../environment.js';
import {
  agentCpuMetric,
  deliveredMetric,
  latencyErrorMetric,
  latencyMetric,
  offeredMetric,
  recordMetric,
} from '../metrics.js';
import { findRow } from '../summary.js';
import type { Summary } from '../types.js';
import { timeBar } from './bars.js';
import type { Figure } from './figure.js';
import { bytes, intervalName, rate, significant } from './format.js';
import { type Bar, barPanel, pairs, sheet } from './panels.js';
import { colourOf } from './theme.js';

const half = 400;
const whole = 860;

/** Rates by size, losses by rate, and latency, on the host and in the guest. */
export function eventsFigure(
  summary: Summary,
  environment: Environment,
  recordBytes: readonly number[],
  pausesNs: readonly number[],
): Figure {
  const bars = (metric: string) => summary.rows.filter((row) => row.metric === metric).map(timeBar);
  return {
    file: 'events',
    title: 'Records of a ring buffer, read on the host and by a C program in the guest',
    origin: 'beyond the thesis',
    status: 'new',
    spec: sheet({
      title: 'Events of the guest: time of a record, losses, latency',
      lines: environmentLines(environment),
      rows: [
        ...pairs(recordBytes).map((sizes) =>
          sizes.map((size) =>
            barPanel({
              title: `A record of ${bytes(size)}, at full speed`,
              subtitle: `from the first to the last, each · median, ${intervalName(summary.rows)}`,
              yTitle: 'µs',
              bars: bars(recordMetric(size)),
              width: half,
              height: 200,
            }),
          ),
        ),
        ...pairs(pausesNs).map((pauses, i) => [
          barPanel({
            title: `Lost, by the rate at which programs emit${i === 0 ? '' : ' (faster)'}`,
            subtitle: 'records of 256 B, a ring of 256 KiB · refused by the full ring',
            yTitle: '%',
            bars: lossBars(summary, pauses),
            width: whole,
            height: 200,
          }),
        ]),
        [
          barPanel({
            title: 'From the program to the consumer, at 200 records a second',
            subtitle: `p50, give or take ${errorOf(summary)} µs between the clocks · /c: a plain C round trip of 64 B, as seldom`,
            yTitle: 'µs',
            bars: bars(latencyMetric),
            width: whole,
            height: 200,
          }),
        ],
        [
          barPanel({
            title: 'CPU time of the agent for a record',
            subtitle: 'all threads of the executor',
            yTitle: 'µs',
            bars: recordBytes.flatMap((size) =>
              bars(agentCpuMetric(size)).map((bar) => ({
                ...bar,
                label: `${bar.label.split('\n')[0]}\n${bytes(size)}`,
              })),
            ),
            width: whole,
            height: 200,
          }),
        ],
      ],
    }),
  };
}

/** The largest of the arms' medians. */
function errorOf(summary: Summary): string {
  const rows = summary.rows.filter(({ metric }) => metric === latencyErrorMetric);
  return significant(Math.max(0, ...rows.map(({ p50 }) => p50)) / 1000);
}

function lossBars(summary: Summary, pausesNs: readonly number[]): Bar[] {
  const arms = [...new Set(summary.rows.map((row) => row.arm))];
  return pausesNs.flatMap((pauseNs) =>
    arms.flatMap((arm): Bar[] => {
      const offered = findRow(summary, arm, offeredMetric(pauseNs));
      const delivered = findRow(summary, arm, deliveredMetric(pauseNs));
      if (offered === undefined || delivered === undefined) return [];
      const value = Math.max(0, 100 * (1 - delivered.p50 / offered.p50));
      return [
        {
          label: `${arm}\n${rate(offered.p50)}`,
          value,
          text: `${significant(value)} %`,
          colour: colourOf(arm),
          style: 'solid',
        },
      ];
    }),
  );
}
