import t from 'tap';
import {
  bootstrapMedian,
  fewestRounds,
  medianInterval,
  quantile,
  seededRandom,
  sorted,
} from '../../bench/statistics.js';

const TRIALS = 2000;

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

t.test('the same seed gives the same numbers, evenly spread', async (t) => {
  const numbers = Array.from({ length: 10_000 }, seededRandom(1));
  t.same(numbers.slice(0, 100), Array.from({ length: 100 }, seededRandom(1)));
  t.notSame(numbers.slice(0, 100), Array.from({ length: 100 }, seededRandom(2)));
  t.ok(numbers.every((number) => number >= 0 && number < 1));
  const tenths = Array.from({ length: 10 }, () => 0);
  for (const number of numbers)
    tenths[Math.floor(number * 10)] = (tenths[Math.floor(number * 10)] ?? 0) + 1;
  t.ok(
    tenths.every((count) => count > 850 && count < 1150),
    `each tenth gets about a tenth: ${tenths}`,
  );
});

t.test('the interval of a median', async (t) => {
  const random = seededRandom(3);
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());

  t.test('covers the true median about 95 times in 100', async (t) => {
    let covered = 0;
    for (let trial = 0; trial < TRIALS; trial++) {
      const { low, high } = bootstrapMedian(Array.from({ length: 60 }, () => 100 + normal()));
      if (low <= 100 && 100 <= high) covered++;
    }
    // Of intervals that cover 95 in 100, these bounds hold in 999 of 1000 such simulations.
    const share = covered / TRIALS;
    t.ok(share > 0.93 && share < 0.97, `covered ${covered} of ${TRIALS}`);
  });

  t.test('is wide when rounds differ, however many samples a round has', async (t) => {
    const shifted = Array.from({ length: 8 }, (_, round) =>
      Array.from({ length: 500 }, () => round * 10 + normal()),
    );
    const { low, high } = medianInterval(shifted);
    t.ok(high - low > 10, `rounds are drawn whole: ${low} … ${high}`);
    const few = medianInterval(shifted.slice(0, fewestRounds - 1));
    t.ok(few.high > few.low, 'too few rounds fall back to single samples');
  });

  t.test('is a point when all samples agree', async (t) => {
    t.same(medianInterval([[5, 5], [5], [5, 5, 5], [5], [5]]), { low: 5, high: 5 });
  });

  t.test('depends on the samples alone', async (t) => {
    const rounds = Array.from({ length: 6 }, () => Array.from({ length: 20 }, normal));
    t.same(medianInterval(rounds), medianInterval(rounds));
  });
});
