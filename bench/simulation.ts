/* How often an interval of few rounds has the true median in it. */
import { isSure, medianInterval } from './statistics.js';

/** How often each interval is made. */
export const trials = 2000;

/** Numbers in [0, 1) that are the same in every run (mulberry32). */
function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A distribution of rounds' medians whose true median is known. */
export interface Distribution {
  name: string;
  median: number;
  draw: () => number;
}

/** A symmetric distribution, and a skewed one: most values near the least, and some far above. */
export function distributions(seed: number): { normal: Distribution; skewed: Distribution } {
  const random = seededRandom(seed);
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return {
    normal: { name: 'normal', median: 0, draw: normal },
    skewed: { name: 'skewed', median: 1, draw: () => Math.exp(2 * normal()) },
  };
}

/** How an interval of a number of rounds turned out in {@link trials} trials. */
export interface Coverage {
  rounds: number;
  /** How sure the interval claims to be. */
  claimed: number;
  /** Whether that is enough to be called an interval. Otherwise it is a range. */
  sure: boolean;
  /** The share of the trials in which the true median was in the interval, by distribution. */
  found: ReadonlyMap<string, number>;
}

/** Makes intervals of 2 to 12 rounds. The result is always the same. */
export function simulateCoverage(): Coverage[] {
  const { normal, skewed } = distributions(3);
  return Array.from({ length: 11 }, (_, index) => {
    const rounds = index + 2;
    const { confidence } = medianInterval(Array.from({ length: rounds }, (_, i) => i));
    return {
      rounds,
      claimed: confidence,
      sure: isSure({ confidence }),
      found: new Map([normal, skewed].map((one) => [one.name, covered(rounds, one)])),
    };
  });
}

function covered(rounds: number, { draw, median }: Distribution): number {
  let count = 0;
  for (let trial = 0; trial < trials; trial++) {
    const { low, high } = medianInterval(Array.from({ length: rounds }, draw));
    if (low <= median && median <= high) count++;
  }
  return count / trials;
}
