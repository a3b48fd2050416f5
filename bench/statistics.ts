/** Sorts a copy, ascending. */
export function sorted(values: readonly number[]): Float64Array {
  return Float64Array.from(values).sort();
}

/**
 * The quantile `q` (0…1) of ascending values, interpolated linearly between the two nearest ranks.
 *
 * @throws RangeError when there are no values
 */
export function quantile(ascending: ArrayLike<number>, q: number): number {
  const rank = (ascending.length - 1) * q;
  const low = ascending[Math.floor(rank)];
  const high = ascending[Math.ceil(rank)];
  if (low === undefined || high === undefined) throw new RangeError('quantile of no values');
  return low + (high - low) * (rank - Math.floor(rank));
}

/** How sure an interval is meant to be. */
const CONFIDENCE = 0.95;

/** The bounds of an interval of a median. */
export interface Interval {
  low: number;
  high: number;
  /**
   * How probable it is that the true median lies between them. Below 0.95 there are too few values:
   * the bounds are then the least and the largest, and of a single value it is 0.
   */
  confidence: number;
}

/** How probable it is that a median lies between the `k`th least and `k`th largest of `n` values. */
function coverage(n: number, k: number): number {
  // Each value is above the median or below it, as a coin falls.
  let ways = 1;
  let below = 0;
  for (let i = 0; i < k; i++) {
    below += ways;
    ways = (ways * (n - i)) / (i + 1);
  }
  return Math.max(0, 1 - 2 * below * 2 ** -n);
}

/**
 * The interval of the median of independent values, by their order alone: the narrowest pair of the
 * `k`th least and the `k`th largest that is sure enough. It supposes nothing about how the values
 * are distributed, and is never surer in words than in fact (the interval of the sign test).
 *
 * @throws RangeError when there are no values
 */
export function medianInterval(values: readonly number[]): Interval {
  const ascending = sorted(values);
  let k = 1;
  while (coverage(values.length, k + 1) >= CONFIDENCE) k++;
  const [low, high] = [ascending[k - 1], ascending[values.length - k]];
  if (low === undefined || high === undefined) throw new RangeError('interval of no values');
  return { low, high, confidence: coverage(values.length, k) };
}

/** Whether an interval is as sure as it is meant to be, and no mere range. */
export function isSure({ confidence }: Pick<Interval, 'confidence'>): boolean {
  return confidence >= CONFIDENCE;
}

/** The number of rounds from which on an interval is as sure as it is meant to be. */
export const fewestRounds = 6;
