import t from 'tap';
import { compilePrograms } from '../../bench/compile.js';
import type { Experiment } from '../../bench/experiment.js';
import { pipelining, sessions } from '../../bench/experiments/crowds.js';
import { events } from '../../bench/experiments/events.js';
import { kernels } from '../../bench/experiments/kernels.js';
import { mapOps } from '../../bench/experiments/map-ops.js';
import { progSize } from '../../bench/experiments/prog-size.js';
import { rtt, rttOneCore } from '../../bench/experiments/rtt.js';
import { thesis } from '../../bench/experiments/thesis.js';
import { throughput } from '../../bench/experiments/throughput.js';
import { tools } from '../../bench/experiments/tools.js';
import { openGuestLab, prepareGuest } from '../../bench/guest-lab.js';
import { prepareKernels } from '../../bench/kernel-guests.js';
import { type Lab, openHostLab } from '../../bench/lab.js';
import {
  crowdMetrics,
  levelMetric,
  openMetric,
  recordMetric,
  toolMetrics,
} from '../../bench/metrics.js';
import { unmodifiedFiles } from '../../bench/unmodified.js';
import { locate } from '../../guest/tool-table.mjs';
import { tinyRun } from '../bench/tiny-run.js';

t.setTimeout(1_800_000);

const choice = { accel: 'auto', notice: () => {} } as const;
const image = await prepareGuest(choice, (step) => t.comment(step));

const lab = await openGuestLab(choice, image);
t.teardown(() => lab[Symbol.asyncDispose]());

const amount = { boots: 1, rounds: 1, samples: 3, warmup: 1 };
/** The one guest of all tests: it is the experiments that are tested, not fresh boots. */
const openShared = async (): Promise<Lab> => ({ ...lab, [Symbol.asyncDispose]: async () => {} });
const run = (experiment: Experiment, openLab = openShared) => tinyRun(experiment, amount, openLab);

const isVsock = (arm: string) => arm.startsWith('vsock-') && !arm.endsWith('/c');

t.test('the thesis experiment, in a guest', async (t) => {
  const { environment, records, summary } = await run(thesis);
  const arms = new Set(summary.rows.map(({ arm }) => arm));
  t.ok(arms.has('native') && arms.has('tcp') && [...arms].some(isVsock), [...arms].join(', '));
  t.equal(summary.rows.length, arms.size * 2, 'both commands in every arm');
  t.equal(summary.comparisons.length, (arms.size - 1) * 2);
  t.match(environment, { guest: { cpus: 1, memoryMib: 1536, kernel: /^\d+\.\d+/ } });
  const absent = new Map(environment.absent.map(({ arm, why }) => [arm, why]));
  for (const arm of ['vsock-mux', 'vsock-kernel', 'vsock-device']) {
    t.not(arms.has(arm), absent.has(arm), `${arm}: measured, or named: ${absent.get(arm)}`);
  }
  for (const one of (records.proof as [{ proof: object[] }])[0].proof) {
    t.match(one, {
      executions: 20,
      linesWhileAttached: 20,
      linesAfterDetach: 0,
      example: /bpf_trace_printk: Hello World!$/,
    });
  }
});

for (const experiment of [rtt, rttOneCore]) {
  t.test(`the ${experiment.name} experiment, in a guest`, async (t) => {
    const { summary } = await run(experiment);
    const arms = [...new Set(summary.rows.map(({ arm }) => arm))];
    t.ok(arms.some(isVsock), arms.join(', '));
    for (const arm of arms.filter((name) => !name.endsWith('/c'))) {
      t.ok(arms.includes(`${arm}/c`), `${arm} has its limit beside it`);
    }
    const beside = summary.comparisons.filter(({ arm, against }) => against === `${arm}/c`);
    const shares = summary.rows.filter(({ metric }) => metric.startsWith('CPU of '));
    t.equal(shares.length, (arms.length / 2) * 4, 'two sizes of plain C, two parts of each');
    t.ok(shares.every(({ arm, p50 }) => arm.endsWith('/c') && p50 >= 0));
    t.equal(beside.length, (summary.rows.length - shares.length) / 2);
    t.equal(summary.comparisons.length - beside.length, 10, 'the device beside TCP and the daemon');
  });
}

t.test('the experiments of maps, programs and overlapping calls, in a guest', async (t) => {
  for (const experiment of [mapOps, progSize, pipelining]) {
    const { environment, summary } = await run(experiment);
    const arms = [...new Set(summary.rows.map(({ arm }) => arm))];
    t.ok(arms.some(isVsock), `${experiment.name}: ${arms.join(', ')}`);
    t.equal(summary.rows.length % arms.length, 0, 'every arm has every metric');
    const transports = arms.length - 1;
    t.equal(summary.comparisons.length, (experiment.comparisons.length / 4) * transports);
    t.equal(experiment.figures(summary, environment).length, 1);
  }
});

t.test('the throughput experiment, in a guest', async (t) => {
  const { environment, summary } = await run(throughput);
  const arms = [...new Set(summary.rows.map(({ arm }) => arm))];
  const rates = summary.rows.filter(({ unit }) => unit === 'B/s');
  t.equal(rates.length, arms.length * 4, 'two sizes, two directions');
  t.ok(rates.every(({ p50 }) => p50 > 1e6));
  const cpu = summary.rows.filter(({ unit }) => unit === 'ns');
  const clients = arms.filter((arm) => !arm.endsWith('/c'));
  t.equal(cpu.length, clients.length * 8, 'and what each of the two sides used for them');
  t.ok(cpu.every(({ p50 }) => p50 > 0));
  t.equal(rates.length + cpu.length, summary.rows.length);
  t.equal(throughput.figures(summary, environment).length, 1);
});

t.test('the sessions experiment, in a guest', async (t) => {
  const { environment, summary } = await run(sessions);
  const arms = [...new Set(summary.rows.map(({ arm }) => arm))];
  t.ok(arms.some(isVsock), arms.join(', '));
  for (const arm of arms) {
    const metrics = summary.rows.filter((row) => row.arm === arm).map(({ metric }) => metric);
    for (const count of [1, 64]) {
      const metric = levelMetric(crowdMetrics.rate, 'sessions', count);
      t.ok(metrics.includes(metric), `${arm}: ${metric}`);
    }
    t.ok(metrics.includes(openMetric), `${arm}: ${openMetric}`);
  }
  t.equal(sessions.figures(summary, environment).length, 1);
});

t.test('the events experiment, in a guest', async (t) => {
  const { environment, summary } = await run(events);
  const arms = [...new Set(summary.rows.map(({ arm }) => arm))].filter(
    (arm) => !arm.endsWith('/c'),
  );
  t.ok(arms.includes('native') && arms.some(isVsock), arms.join(', '));
  for (const arm of arms) {
    const compared = summary.comparisons.filter((one) => one.arm === arm);
    const expected = events.comparisons.filter((one) => one.arm === arm);
    t.equal(compared.length, expected.length, `${arm} has all that it is compared by`);
    const rates = summary.rows.filter((row) => row.arm === arm && row.metric === recordMetric(256));
    t.ok(rates.length === 1 && rates.every(({ p50 }) => p50 > 0), `${arm}: time of a record`);
  }
  t.equal(events.figures(summary, environment).length, 1);
});

t.test('the kernels experiment, with a guest of its own', async (t) => {
  const experiment = kernels(['bookworm']);
  await prepareKernels(['bookworm']);
  const openHost = async () => openHostLab(await compilePrograms());
  const { environment, summary } = await run(experiment, openHost);
  t.equal(summary.comparisons.length, experiment.comparisons.length);
  t.equal(summary.rows.length, 2 * experiment.comparisons.length, 'two arms have each metric');
  t.match(environment, { guest: { kernel: /^6\.1/ } });
  t.equal(experiment.figures(summary, environment).length, 1);
});

const missing = ['clang', 'bpftrace'].filter((tool) => locate({ tool }) === undefined);
const skip = missing.length > 0 && `no ${missing.join(' and ')} (try: npm run prebench)`;

t.test('the tools experiment, in a guest with the tools', { skip }, async (t) => {
  const { profile } = tools;
  const openLab = async () =>
    openGuestLab(choice, image, { files: await unmodifiedFiles(), profile });
  const { environment, summary } = await run(tools, openLab);
  t.same(
    environment.absent.filter(({ arm }) => arm.includes(': ')),
    [],
    'each tool works',
  );
  const arms = [...new Set(summary.rows.map(({ arm }) => arm))];
  t.equal(arms.length, 3, arms.join(', '));
  for (const arm of arms) {
    const metrics = summary.rows.filter((row) => row.arm === arm).map(({ metric }) => metric);
    for (const metric of Object.values(toolMetrics)) t.ok(metrics.includes(metric), metric);
  }
  t.equal(tools.figures(summary, environment).length, 1);
});
