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

/** The confidence that an interval should have. */
const CONFIDENCE = 0.95;

/** The bounds of an interval of a median. */
export interface Interval {
  low: number;
  high: number;
  /**
   * The probability that the true median lies between the bounds. It is below 0.95 if there are too
   * few values. The bounds are then the smallest and the largest value; with a single value it is
   * 0.
   */
  confidence: number;
}

/**
 * Returns the probability that a median lies between the `k`th smallest and largest of `n` values.
 */
function coverage(n: number, k: number): number {
  // Each value is above or below the median with probability ½.
  let ways = 1;
  let below = 0;
  for (let i = 0; i < k; i++) {
    below += ways;
    ways = (ways * (n - i)) / (i + 1);
  }
  return Math.max(0, 1 - 2 * below * 2 ** -n);
}

/**
 * Returns the interval of the median of independent values, from their order alone (the interval of
 * the sign test). Its bounds are the `k`th smallest and the `k`th largest value, with the largest
 * `k` that gives enough confidence. It assumes nothing about the distribution of the values.
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

/** Returns whether an interval has the intended confidence. Otherwise it is called a range. */
export function isSure({ confidence }: Pick<Interval, 'confidence'>): boolean {
  return confidence >= CONFIDENCE;
}

/** The fewest rounds whose interval has the intended confidence. */
export const fewestRounds = 6;
