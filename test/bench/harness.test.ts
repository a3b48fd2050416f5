import t from 'tap';
import { type Budget, budgets, nestedBudgets } from '../../bench/budget.js';
import type { Experiment } from '../../bench/experiment.js';
import { allExperiments, experiments } from '../../bench/experiments/index.js';
import { runExperiment, takingTurns } from '../../bench/harness.js';
import type { Lab } from '../../bench/lab.js';
import { settle } from '../../bench/settling.js';
import type { Amount, Arm } from '../../bench/types.js';

const amount: Amount = { boots: 2, rounds: 3, samples: 4, warmup: 1 };

function counting(name: string, log: string[], lengths: () => number): Arm {
  return {
    name,
    measure: async () => {
      log.push(name);
      return [{ metric: 'm', unit: 'ns', values: Array.from({ length: lengths() }, () => 1) }];
    },
  };
}

/** An experiment of two arms whose doings are logged. */
function experiment(log: string[], lengths: (amount: Amount) => number): Experiment {
  return {
    name: 'x',
    title: 'X',
    hypothesis: '',
    parameters: { size: 1 },
    placement: '',
    remarks: [],
    guest: false,
    full: amount,
    quick: amount,
    comparisons: [],
    figures: () => [],
    prepare: async () => ({
      arms: [counting('a', log, () => lengths(amount)), counting('b', log, () => amount.samples)],
      absent: [{ arm: 'c', why: 'absent here' }],
      records: { proof: { good: true } },
      [Symbol.asyncDispose]: async () => {
        log.push('disposed');
      },
    }),
  };
}

function options(log: string[], signal = new AbortController().signal) {
  return {
    run: 'r',
    quick: true,
    amount,
    budgetSeconds: 3600,
    command: 'npm run bench',
    openLab: async (): Promise<Lab> => {
      log.push('open');
      return {
        folder: '',
        programs: { pingpong: '', native: '', maps: '', events: '', stopwatch: '', uname: '' },
        [Symbol.asyncDispose]: async () => {
          log.push('closed');
        },
      };
    },
    onProgress: () => {},
    signal,
  };
}

t.test('arms take turns in every round of every boot', async (t) => {
  const log: string[] = [];
  const record = await runExperiment(
    experiment(log, (a) => a.samples),
    options(log),
  );
  const order = (boot: number) =>
    [1, 2, 3].flatMap((round) => takingTurns(['a', 'b'], round, `r ${boot}`));
  const boot = (number: number) => ['open', ...order(number), 'disposed', 'closed'];
  t.same(log, [...boot(1), ...boot(2)]);
  t.equal(record.batches.length, 2 * 3 * 2);
  t.match(record.environment, {
    run: 'r',
    quick: true,
    accel: 'none',
    amount,
    rounds: [3, 3],
    parameters: { size: 1 },
    absent: [{ arm: 'c', why: 'absent here' }],
    host: { node: process.versions.node },
  });
  t.same(record.records, {
    proof: [
      { boot: 1, proof: { good: true } },
      { boot: 2, proof: { good: true } },
    ],
  });
});

t.test('a guest is measured once its speed lasts', async (t) => {
  const speeds = [400, 300, 240, 205, 200, 210, 200, 999];
  const { mediansNs, settled } = await settle('tcp', async () => speeds.shift() ?? 0);
  t.same([mediansNs, settled], [[400, 300, 240, 205, 200, 210, 200], true]);
  let growing = 1;
  const never = await settle('tcp', async () => {
    growing *= 2;
    return growing;
  });
  t.match(never, { settled: false, mediansNs: { length: 60 } });
});

t.test('the order of arms is shuffled, and each of two comes first equally often', async (t) => {
  const arms = ['a', 'b', 'c', 'd'];
  const before = new Set<string>();
  for (let round = 1; round < 40; round += 2) {
    const order = takingTurns(arms, round, 'seed');
    t.same([...order].sort(), arms);
    t.same(takingTurns(arms, round, 'seed'), order, 'the seed determines it');
    t.same(takingTurns(arms, round + 1, 'seed'), [...order].reverse());
    before.add(order[order.indexOf('c') - 1] ?? 'nothing');
  }
  t.same([...before].sort(), ['a', 'b', 'd', 'nothing']);
});

t.test('without time there is one round in each boot', async (t) => {
  const log: string[] = [];
  const record = await runExperiment(
    experiment(log, (a) => a.samples),
    { ...options(log), budgetSeconds: 0 },
  );
  t.equal(log.filter((one) => one === 'a').length, 2);
  t.same(record.environment.rounds, [1, 1]);
});

t.test('the experiments fit into the time of a run', async (t) => {
  const minutes = (kind: keyof Budget) =>
    Object.values(budgets).reduce((sum, budget) => sum + budget[kind], 0) / 60;
  // Of twenty minutes and of six, what is needed to get ready and for the last round of each.
  t.ok(minutes('full') <= 18, `${minutes('full')} minutes`);
  t.ok(minutes('quick') <= 5.5, `${minutes('quick')} minutes`);
  for (const { name } of experiments) t.ok(name in budgets, `${name} has a budget`);
  const all = { ...budgets, ...nestedBudgets };
  for (const { name } of allExperiments) t.ok(name in all, `${name} has a budget`);
});

t.test('a run whose rounds differ in their number of samples is not kept', async (t) => {
  const log: string[] = [];
  let calls = 0;
  const lengths = (a: Amount) => (++calls === 4 ? a.samples - 1 : a.samples);
  await t.rejects(runExperiment(experiment(log, lengths), options(log)), {
    code: 'ERR_BENCH_INCOMPLETE',
    detail: { what: 'a m', received: 23, expected: 24 },
  });
  t.equal(log.at(-1), 'closed');
});

t.test('an interrupted run closes what it opened', async (t) => {
  const log: string[] = [];
  const controller = new AbortController();
  const lengths = (a: Amount) => {
    controller.abort();
    return a.samples;
  };
  await t.rejects(runExperiment(experiment(log, lengths), options(log, controller.signal)), {
    name: 'AbortError',
  });
  t.same(log, ['open', 'a', 'disposed', 'closed']);
});
