/** A source of numbers in [0, 1). */
export type Random = () => number;

/**
 * Returns a generator whose numbers depend on `seed` alone (mulberry32), so that the same samples
 * always get the same confidence interval.
 */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

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

/** The bounds of a confidence interval. */
export interface Interval {
  low: number;
  high: number;
}

const resamples = 1000;
const seed = 20201;

/**
 * The 95 % bootstrap confidence interval of the median of all samples.
 *
 * Samples of one round resemble each other more than samples of another round do, so whole rounds
 * are drawn, with replacement. Fewer than {@link fewestRounds} rounds say too little about how
 * rounds differ: then single samples are drawn.
 *
 * @param rounds the samples, by round
 */
export function medianInterval(rounds: ReadonlyArray<readonly number[]>): Interval {
  const blocks =
    rounds.length >= fewestRounds ? rounds : rounds.flatMap((round) => round.map((one) => [one]));
  const pooled = blocks.flatMap((block, index) => block.map((value) => ({ value, index })));
  pooled.sort((a, b) => a.value - b.value);
  const values = Float64Array.from(pooled, (sample) => sample.value);
  const blockOf = Uint32Array.from(pooled, (sample) => sample.index);

  const random = seededRandom(seed);
  const weights = new Uint32Array(blocks.length);
  const medians = new Float64Array(resamples);
  for (let resample = 0; resample < resamples; resample++) {
    weights.fill(0);
    let total = 0;
    for (let draw = 0; draw < blocks.length; draw++) {
      const index = Math.floor(random() * blocks.length);
      weights[index] = (weights[index] ?? 0) + 1;
      total += blocks[index]?.length ?? 0;
    }
    medians[resample] = weightedMedian(values, blockOf, weights, total);
  }
  return middle(medians);
}

/** The number of rounds from which on confidence intervals are made of whole rounds. */
export const fewestRounds = 5;

/** The 95 % bootstrap confidence interval of the median of independent values. */
export function bootstrapMedian(values: readonly number[]): Interval {
  return medianInterval(values.map((value) => [value]));
}

/** The median of ascending values that each count as often as their block was drawn. */
function weightedMedian(
  values: Float64Array,
  blockOf: Uint32Array,
  weights: Uint32Array,
  total: number,
): number {
  let seen = 0;
  for (let index = 0; index < values.length; index++) {
    seen += weights[blockOf[index] ?? 0] ?? 0;
    if (seen * 2 >= total) return values[index] ?? Number.NaN;
  }
  return Number.NaN;
}

function middle(estimates: Float64Array): Interval {
  const ascending = estimates.sort();
  return { low: quantile(ascending, 0.025), high: quantile(ascending, 0.975) };
}
