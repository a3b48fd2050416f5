import { isSure } from '../statistics.js';
import type { Compared, Unit } from '../types.js';

/** Prints nanoseconds as microseconds with three significant digits or more: `8.31`, `396`. */
export function micros(ns: number): string {
  return significant(ns / 1000);
}

/** Prints a number with three significant digits, or all of its digits before the point. */
export function significant(value: number): string {
  const size = Math.abs(value);
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : 2;
  const [whole = '', fraction] = Math.abs(value).toFixed(digits).split('.');
  return `${value < 0 ? '−' : ''}${count(whole)}${fraction === undefined ? '' : `.${fraction}`}`;
}

/** Prints a whole number with its thousands set apart. */
export function count(whole: number | string): string {
  return String(whole).replace(/\B(?=(\d{3})+$)/g, ',');
}

/** Prints a number of bytes: `64 B`, `4 KiB`. */
export function bytes(count: number): string {
  return count < 1024 ? `${count} B` : `${significantKib(count / 1024)} KiB`;
}

function significantKib(value: number): string {
  return Number.isInteger(value) ? String(value) : value.toFixed(1);
}

/** Prints a rate: `812 k/s`, `11.6 M/s`. */
export function rate(perSecond: number): string {
  if (perSecond >= 1e6) return `${significant(perSecond / 1e6)} M/s`;
  if (perSecond >= 1e3) return `${significant(perSecond / 1e3)} k/s`;
  return `${significant(perSecond)} /s`;
}

/** Prints a rate of bytes: `94.2 MB/s`. */
function byteRate(perSecond: number): string {
  return `${significant(perSecond / 1e6)} MB/s`;
}

/** How the values of a unit are printed in tables: times in microseconds. */
export const printers: Readonly<Record<Unit, (value: number) => string>> = {
  ns: micros,
  'ops/s': rate,
  'B/s': byteRate,
  count: (value) => count(Math.round(value)),
};

/** Prints nanoseconds with the unit that suits them: `8.31 µs`, `2.04 s`. */
export function duration(ns: number): string {
  const size = Math.abs(ns);
  if (size >= 1e9) return `${significant(ns / 1e9)} s`;
  if (size >= 1e6) return `${significant(ns / 1e6)} ms`;
  return `${significant(ns / 1e3)} µs`;
}

/** How the values of a unit are printed on charts. */
export const labels: typeof printers = { ...printers, ns: duration };

/** Prints a value of an axis: `2 ms` rather than `2.00 ms`. */
export function tick(print: (value: number) => string): (value: number) => string {
  return (value) =>
    value === 0
      ? '0'
      : print(value)
          .replace(/(\.\d*?)0+(?!\d)/, '$1')
          .replace(/\.(?!\d)/, '');
}

/** Prints a ratio with two digits or more: `0.72`, `63`. */
export function ratioText(value: number): string {
  return value.toFixed(value >= 10 ? 0 : 2);
}

/** Prints a ratio with its interval, if it has one: `0.72 × (0.66–0.94)`. */
export function factor(one: Pick<Compared, 'value' | 'ciLow' | 'ciHigh' | 'confidence'>): string {
  const [value, low, high] = [one.value, one.ciLow, one.ciHigh].map(ratioText);
  return one.confidence === 0 ? `${value} ×` : `${value} × (${low}–${high})`;
}

/** Explains whiskers: intervals, or with fewer than 6 rounds ranges, which are less certain. */
export function whiskers(rows: readonly { readonly confidence: number }[]): string {
  if (rows.every(isSure)) return 'whiskers: 95 % interval';
  const sure = rows.map(({ confidence }) => Math.round(100 * confidence));
  const [least, most] = [Math.min(...sure), Math.max(...sure)];
  if (most === 0) return 'one round, so no whiskers';
  return `whiskers: range, ${least === most ? '' : `${least} to `}${most} % sure`;
}
