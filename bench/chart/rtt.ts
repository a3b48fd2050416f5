import { type Environment, environmentLines } from '../environment.js';
import { echoMetric, lookupMetric } from '../metrics.js';
import { findRow } from '../summary.js';
import type { Row, Summary } from '../types.js';
import { timeBar } from './bars.js';
import type { Figure } from './figure.js';
import { bytes, intervalName } from './format.js';
import { medianUs, tailUs } from './lines.js';
import { barPanel, type LineStyle, linePanel, type Point, sheet } from './panels.js';
import { colourOf } from './theme.js';

/**
 * Round-trip times over the size of the message, per transport, with each transport's limit dashed.
 */
export function rttFigure(
  summary: Summary,
  environment: Environment,
  payloadBytes: readonly number[],
  file: string,
): Figure {
  const arms = [...new Set(summary.rows.map((row) => row.arm))];
  const lines = arms.map(
    (arm): LineStyle => ({
      name: lineName(arm),
      colour: colourOf(arm),
      dashed: arm.endsWith('/c'),
    }),
  );
  const points = (value: (row: Row) => Pick<Point, 'value' | 'low' | 'high'> | undefined) =>
    arms.flatMap((arm) =>
      payloadBytes.flatMap((size): Point[] => {
        const row = findRow(summary, arm, echoMetric(size));
        const figure = row === undefined ? undefined : value(row);
        return figure === undefined ? [] : [{ x: size, line: lineName(arm), ...figure }];
      }),
    );
  const echoes = points(medianUs);
  const tails = points(tailUs);
  const shown = [...echoes, ...tails].flatMap(({ low, high }) => [low, high]);
  const panel = {
    yDomain: [Math.min(...shown) * 0.75, Math.max(...shown) * 1.25] as const,
    xTitle: 'bytes each way',
    yTitle: 'µs',
    lines,
    ticks: payloadBytes.map((size) => ({ value: size, text: bytes(size) })),
    width: 380,
    height: 270,
  };
  return {
    file,
    title: 'Round-trip time over the size of the message, and of a small bpf call',
    origin: 'beyond the thesis',
    status: 'new',
    spec: sheet({
      title: 'Round trips to the guest and back, per transport',
      lines: environmentLines(environment),
      rows: [
        [
          linePanel({
            ...panel,
            title: 'Echo, p50',
            subtitle: `bars: ${intervalName(summary.rows)}`,
            points: echoes,
            legend: true,
          }),
          ...(tails.length === 0
            ? []
            : [
                linePanel({
                  ...panel,
                  title: 'Echo, p99',
                  subtitle: 'same samples',
                  points: tails,
                  legend: false,
                }),
              ]),
        ],
        [
          barPanel({
            title: `${lookupMetric} through a session, p50`,
            subtitle: `/c: plain C exchanging the same bytes · ${intervalName(summary.rows)}`,
            yTitle: 'µs',
            bars: summary.rows.filter((row) => row.metric === lookupMetric).map(timeBar),
            width: 844,
            height: 210,
          }),
        ],
      ],
    }),
  };
}

function lineName(arm: string): string {
  return arm.endsWith('/c') ? `${arm.slice(0, -2)}, plain C (limit)` : `${arm}, waep/transport`;
}
