import type { Compared, Row } from '../types.js';
import { count, micros, printers } from './format.js';
import type { Bar } from './panels.js';
import { colourOf, inks } from './theme.js';

/** The median time of a row, in microseconds. */
export function timeBar(row: Row): Bar {
  return {
    label: `${row.arm}\nn = ${count(row.n)}`,
    value: row.p50 / 1000,
    low: row.ciLow / 1000,
    high: row.ciHigh / 1000,
    text: micros(row.p50),
    colour: colourOf(row.arm),
    style: row.arm.endsWith('/c') ? 'limit' : 'solid',
  };
}

/** The median rate of a row, in its own unit. */
export function rateBar(row: Row): Bar {
  return {
    label: row.arm,
    value: row.p50,
    low: row.ciLow,
    high: row.ciHigh,
    text: printers[row.unit](row.p50),
    colour: colourOf(row.arm),
    style: 'solid',
  };
}

/** What forwarding a command adds, per arm, with the thesis' own figure last. */
export function overheadBars(comparisons: readonly Compared[], metric: string): Bar[] {
  const ours = comparisons.filter((one) => one.metric === metric && one.kind === 'difference');
  const bars = ours.map(
    (one): Bar => ({
      label: one.arm,
      value: one.value / 1000,
      low: one.ciLow / 1000,
      high: one.ciHigh / 1000,
      text: micros(one.value),
      colour: colourOf(one.arm),
      style: 'solid',
    }),
  );
  const quoted = ours.find((one) => one.thesis !== undefined)?.thesis;
  if (quoted !== undefined) {
    bars.push({
      label: 'thesis, 2020\nTCP, KVM, i7-9700',
      value: quoted / 1000,
      text: micros(quoted),
      colour: inks.reference,
      style: 'quoted',
    });
  }
  return bars;
}
