import { isSure } from '../statistics.js';
import type { Unit } from '../types.js';

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

/** How the values of a unit are printed for people: times in microseconds. */
export const printers: Readonly<Record<Unit, (value: number) => string>> = {
  ns: micros,
  'ops/s': rate,
  'B/s': byteRate,
};

/** Explains the bars: intervals, or with fewer than 6 rounds ranges, which are less certain. */
export function intervalName(rows: readonly { readonly confidence: number }[]): string {
  return rows.every(isSure) ? '95 % interval' : 'interval of 95 %, of few rounds their range';
}
