import { InvalidArgumentError } from 'commander';
import { MAX_TIMER_MS } from './timer.js';

/** How many milliseconds each unit of a duration has. */
const units: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  min: 60_000,
  h: 3_600_000,
};

/**
 * Returns what reads an option's value as a duration with its unit, such as `500ms`, `10s`, `5min` or
 * `1h`, and gives it in milliseconds. `0` needs no unit.
 */
export function duration(leastMs: number, mostMs = MAX_TIMER_MS): (value: string) => number {
  return (value) => {
    const [, digits = '', unit = ''] = /^(\d+)(ms|s|min|h)$/.exec(value) ?? [];
    const milliseconds = value === '0' ? 0 : Number(digits || Number.NaN) * (units[unit] ?? 0);
    if (milliseconds >= leastMs && milliseconds <= mostMs) return milliseconds;
    throw new InvalidArgumentError(
      `Expected a duration from ${shown(leastMs)} to ${shown(mostMs)}, with its unit: ms, s, min or h.`,
    );
  };
}

function shown(milliseconds: number): string {
  if (milliseconds === 0) return '0';
  const [unit, length] = Object.entries(units)
    .reverse()
    .find(([, one]) => milliseconds >= one) ?? ['ms', 1];
  return `${Math.floor(milliseconds / length)}${unit}`;
}
