import t from 'tap';
import { decodeSamples, encodeSamples } from '../../bench/samples.js';
import { findRow, summarise } from '../../bench/summary.js';
import type { Compared, Comparison } from '../../bench/types.js';
import { verdict } from '../../bench/verdict.js';
import { syntheticBatches } from './synthetic.js';

const labels = { experiment: 'thesis', accel: 'tcg', run: 'r' };
const batches = [
  ...syntheticBatches('native', 'PROG_LOAD', 500_000),
  ...syntheticBatches('tcp', 'PROG_LOAD', 900_000),
];

t.test('samples survive being stored', async (t) => {
  t.same(decodeSamples(encodeSamples(batches)), batches);
  t.same(decodeSamples(encodeSamples([])), []);
});

t.test('a row has every field of the published format', async (t) => {
  const { rows } = summarise(batches, [], labels);
  t.equal(rows.length, 2);
  t.same(Object.keys(rows[0] ?? {}), [
    ...['experiment', 'arm', 'metric', 'unit', 'n', 'p50', 'p90', 'min'],
    ...['ciLow', 'ciHigh', 'confidence', 'accel', 'run'],
  ]);
  const native = findRow({ rows, comparisons: [] }, 'native', 'PROG_LOAD');
  t.match(native, { ...labels, unit: 'ns', n: 200 });
  const { min = 0, ciLow = 0, p50 = 0, ciHigh = 0, p90 = 0 } = native ?? {};
  t.ok(min < ciLow && ciLow <= p50 && p50 <= ciHigh && ciHigh < p90);
  const values = Array.from({ length: 1000 }, (_, i) => i);
  const many = [{ ...batches[0], values } as (typeof batches)[number]];
  t.equal(summarise(many, [], labels).rows[0]?.p99, 989, 'of 1 000 samples there is a p99');
  t.ok(Math.abs(p50 - 500_000) < 2000, `p50 ${p50}`);
});

t.test('a boot that lies apart from the others is shown', async (t) => {
  const slow = batches.map((batch) =>
    batch.boot === 2 ? { ...batch, values: batch.values.map((ns) => 2 * ns) } : batch,
  );
  const [together, apart] = [batches, slow].map((all) => summarise(all, [], labels).rows[0]?.boots);
  t.equal(together, undefined);
  t.same(apart, [500_500, 1_001_000]);
  const few = slow.filter(({ round }) => round < 4);
  t.equal(summarise(few, [], labels).rows[0]?.boots, undefined, 'three rounds may do so by chance');
});

t.test('comparisons are made within rounds', async (t) => {
  const comparison: Comparison = {
    kind: 'difference',
    arm: 'tcp',
    against: 'native',
    metric: 'PROG_LOAD',
    quantile: 'p50',
    thesis: 396_000,
  };
  // A machine that slows down from round to round slows both arms down.
  const drifting = batches.map((batch) => ({
    ...batch,
    values: batch.values.map((value) => value + batch.round * 1_000_000),
  }));
  const [difference] = summarise(drifting, [comparison], labels).comparisons;
  t.match(difference, { ...comparison, rounds: 8 });
  t.ok(Math.abs((difference?.value ?? 0) - 400_000) < 3000, `${difference?.value}`);
  t.ok((difference?.ciHigh ?? 0) - (difference?.ciLow ?? 0) < 10_000, 'drift is no uncertainty');

  const ratio: Comparison = { ...comparison, kind: 'ratio', bound: 1.5 };
  const [quotient] = summarise(batches, [ratio], labels).comparisons;
  t.ok(Math.abs((quotient?.value ?? 0) - 1.8) < 0.01);
  t.match(quotient === undefined ? {} : verdict(quotient), {
    what: 'PROG_LOAD, p50: tcp ÷ native',
    value: '1.80 ×',
    expectation: '≤ 1.50 ×: MISSED; thesis (KVM): 396 µs, here less',
  });

  t.same(
    summarise(batches, [{ ...comparison, arm: 'vsock-mux' }], labels).comparisons,
    [],
    'an arm that was not measured is not compared',
  );
});

t.test('a bound is kept, missed or undecided', async (t) => {
  const compared = (ciLow: number, ciHigh: number, confidence = 0.97): Compared => ({
    ...{ kind: 'ratio', arm: 'a', against: 'b', metric: 'm', quantile: 'p50', bound: 1.5 },
    ...{ value: (ciLow + ciHigh) / 2, ciLow, ciHigh, confidence, rounds: 8 },
  });
  t.match(verdict(compared(1.1, 1.5)), { outcome: 'kept', interval: '1.10 … 1.50' });
  t.match(verdict(compared(1.4, 1.6)), {
    outcome: 'undecided',
    expectation: '≤ 1.50 ×: undecided',
  });
  t.match(verdict(compared(1.51, 1.6)), { outcome: 'MISSED' });
  t.match(verdict(compared(1.1, 1.2, 0.75)), { interval: '1.10 … 1.20 (range: 75 %)' });
  t.match(verdict(compared(1.1, 1.1, 0)), { outcome: 'undecided', interval: '–' }, 'one round');
});
