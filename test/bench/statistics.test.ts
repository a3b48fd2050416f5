import t from 'tap';
import { distributions, simulateCoverage, trials } from '../../bench/simulation.js';
import { fewestRounds, medianInterval, quantile, sorted } from '../../bench/statistics.js';

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

t.test('the interval of a median', async (t) => {
  t.test('covers the true median as often as it says, for any number of rounds', async (t) => {
    const coverage = simulateCoverage();
    t.same(
      coverage.map(({ rounds }) => rounds),
      [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
    );
    for (const { rounds, claimed, sure, found } of coverage) {
      t.equal(sure, rounds >= fewestRounds, `${rounds}: ${claimed}`);
      t.same([...found.keys()], ['normal', 'skewed']);
      for (const [name, share] of found) {
        // Four standard deviations of such a count.
        const slack = 4 * Math.sqrt((claimed * (1 - claimed)) / trials);
        const text = `${name}, ${rounds} rounds: ${share} of ${claimed}`;
        t.ok(Math.abs(share - claimed) <= slack, text);
      }
    }
  });

  t.test('is narrower with more rounds, and at least as sure as 95 in 100', async (t) => {
    const widths = [6, 20, 60, 200].map((rounds) => {
      const { low, high, confidence } = medianInterval(
        Array.from({ length: rounds }, distributions(rounds).normal.draw),
      );
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
