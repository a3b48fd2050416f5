import t from 'tap';
import { fewestRounds, isSure, medianInterval, quantile, sorted } from '../../bench/statistics.js';

const TRIALS = 2000;

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

t.test('quantiles are interpolated between ranks', async (t) => {
  const values = sorted([40, 10, 30, 20]);
  for (const [q, expected] of [
    [0, 10],
    [0.5, 25],
    [1 / 3, 20],
    [0.9, 37],
    [1, 40],
  ] as const) {
    t.equal(Math.round(quantile(values, q) * 1000) / 1000, expected, `q = ${q}`);
  }
  t.equal(quantile([7], 0.99), 7, 'a single value is every quantile');
  t.throws(() => quantile([], 0.5), RangeError);
});

/** How often of {@link TRIALS} times an interval of `rounds` values has the true median in it. */
function covered(rounds: number, draw: () => number, median: number): number {
  let count = 0;
  for (let trial = 0; trial < TRIALS; trial++) {
    const { low, high } = medianInterval(Array.from({ length: rounds }, draw));
    if (low <= median && median <= high) count++;
  }
  return count / TRIALS;
}

t.test('the interval of a median', async (t) => {
  const random = seededRandom(3);
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  // As latencies are: most near the least, and some far above.
  const skewed = () => Math.exp(2 * normal());

  t.test('covers the true median as often as it says, for any number of rounds', async (t) => {
    for (let rounds = 2; rounds <= 12; rounds++) {
      const { confidence } = medianInterval(Array.from({ length: rounds }, (_, i) => i));
      t.equal(isSure({ confidence }), rounds >= fewestRounds, `${rounds}: ${confidence}`);
      for (const [name, draw, median] of [
        ['normal', normal, 0],
        ['skewed', skewed, 1],
      ] as const) {
        const share = covered(rounds, draw, median);
        // Four standard deviations of such a count.
        const slack = 4 * Math.sqrt((confidence * (1 - confidence)) / TRIALS);
        const text = `${name}, ${rounds} rounds: ${share} of ${confidence}`;
        t.ok(Math.abs(share - confidence) <= slack, text);
      }
    }
  });

  t.test('is narrower with more rounds, and at least as sure as 95 in 100', async (t) => {
    const widths = [6, 20, 60, 200].map((rounds) => {
      const { low, high, confidence } = medianInterval(Array.from({ length: rounds }, normal));
      t.ok(confidence >= 0.95 && confidence < 0.99, `${rounds}: ${confidence}`);
      return high - low;
    });
    t.same(
      widths,
      [...widths].sort((a, b) => b - a),
    );
  });

  t.test('of one value is that value, and says nothing', async (t) => {
    t.same(medianInterval([5]), { low: 5, high: 5, confidence: 0 });
    t.throws(() => medianInterval([]), RangeError);
  });
});
