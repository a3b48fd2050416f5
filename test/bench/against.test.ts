import t from 'tap';
import { comparisonText, verdictText } from '../../bench/against/report.js';
import { judgeAll } from '../../bench/against/verdict.js';
import { ratio } from '../../bench/comparisons.js';
import { hostEnvironment } from '../../bench/environment.js';
import { summarise } from '../../bench/summary.js';
import type { Batch, Unit } from '../../bench/types.js';

const labels = { experiment: 'x', accel: 'none', run: 'r' };

/** What comes of two arms whose rounds have these medians. */
function verdictOf(now: readonly number[], before: readonly number[], unit: Unit = 'ns') {
  const batches = (arm: string, medians: readonly number[]): Batch[] =>
    medians.map((value, index) => {
      return { boot: 1, round: index + 1, arm, metric: 'm', unit, values: [value] };
    });
  const all = [...batches('a', now), ...batches('a at v1', before)];
  const [verdict] = judgeAll(summarise(all, [ratio('a', 'a at v1', 'm')], labels));
  if (verdict === undefined) throw new Error('nothing was compared');
  return verdict;
}

const hundred = [100, 100, 100, 100, 100, 100];

t.test('slower is what is so by five percent and the interval', async (t) => {
  const slower = verdictOf([108, 109, 110, 111, 112, 109], hundred);
  t.equal(slower.outcome, 'slower');
  t.ok(slower.ratio > 1.08 && slower.low > 1.05 && slower.high < 1.13, JSON.stringify(slower));
  t.equal(verdictOf([103, 104, 103, 104, 103, 104], hundred).outcome, 'not slower', 'within 5 %');
  t.equal(verdictOf([80, 120, 95, 130, 90, 125], hundred).outcome, 'not slower', 'within noise');
  t.equal(verdictOf([102, 108, 109, 103, 110, 108], hundred).outcome, 'not slower', 'in doubt');
  t.equal(verdictOf([50, 51, 50, 52, 50, 51], hundred).outcome, 'not slower', 'faster');
});

t.test('of a rate, less is slower', async (t) => {
  const slower = verdictOf([50, 51, 50, 51, 50, 51], hundred, 'ops/s');
  t.equal(slower.outcome, 'slower');
  t.ok(slower.ratio > 1.9 && slower.low <= slower.ratio && slower.ratio <= slower.high);
  t.equal(verdictOf([200, 201, 200, 201, 200, 199], hundred, 'B/s').outcome, 'not slower');
});

t.test('a few rounds decide nothing', async (t) => {
  const undecided = verdictOf([200, 200], [100, 100]);
  t.equal(undecided.outcome, 'undecided');
  t.equal(verdictText([undecided], 'v1'), 'undecided: m, a: 2 rounds are too few');
});

t.test('the last line says whether anything is slower', async (t) => {
  const fine = verdictOf(hundred, hundred);
  const slower = verdictOf([200, 200, 200, 200, 200, 200], hundred);
  t.equal(verdictText([fine], 'v1'), 'nothing slower than v1');
  t.equal(verdictText([fine, slower], 'v1'), 'slower than v1: m, a: 2.00 times');
  t.equal(verdictText([], 'v1'), 'nothing could be compared with v1');
});

t.test('a comparison has its command, its commits and a line for each ratio', async (t) => {
  const environment = {
    experiment: 'x',
    run: 'r',
    quick: false,
    accel: 'none' as const,
    startedAt: '2026-11-29T10:00:00.000Z',
    finishedAt: '2026-11-29T10:01:00.000Z',
    command: 'npm run bench -- --against v1 --only x',
    title: 'X',
    hypothesis: '',
    parameters: {},
    placement: 'anywhere',
    amount: { boots: 1, rounds: 6, samples: 1, warmup: 0 },
    absent: [{ arm: 'b', why: 'not here' }],
    source: { commit: 'abc', dirty: true },
    host: hostEnvironment(),
  };
  const tree = { revision: 'v1', commit: 'def', sameBench: false };
  const text = comparisonText(environment, [verdictOf(hundred, hundred)], tree);
  t.match(text, /^## x, 2026-11-29: abc with changes and def\n/);
  t.match(text, 'Each was measured by its own bench');
  t.match(text, '- Not measured: b: not here');
  t.match(text, '| a | m | 0.10 µs | 0.10 µs | 1.00 | 1.00 … 1.00 | 6 | not slower |');
});
