import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { thesisFigure } from '../../bench/chart/thesis.js';
import type { Experiment } from '../../bench/experiment.js';
import { runName, Store } from '../../bench/store.js';
import { syntheticBatches, syntheticEnvironment } from './synthetic.js';

const experiment: Experiment = {
  name: 'thesis',
  title: 'The title',
  hypothesis: 'A hypothesis.',
  parameters: {},
  placement: '',
  remarks: ['A remark.'],
  guest: true,
  full: syntheticEnvironment.amount,
  quick: syntheticEnvironment.amount,
  comparisons: [
    {
      kind: 'difference',
      arm: 'tcp',
      against: 'native',
      metric: 'PROG_LOAD',
      quantile: 'p50',
      thesis: 396_000,
    },
  ],
  prepare: () => Promise.reject(new Error('not needed here')),
  figures: (summary, environment) => [thesisFigure(summary, environment)],
};

const other: Experiment = { ...experiment, name: 'other', title: 'Another' };

function record(run: string) {
  return {
    environment: { ...syntheticEnvironment, run },
    batches: [
      ...syntheticBatches('native', 'PROG_LOAD', 500_000),
      ...syntheticBatches('tcp', 'PROG_LOAD', 900_000),
    ],
    records: { proof: { good: true } },
  };
}

t.test('a run is stored, derived from, and made anew from its samples', async (t) => {
  const store = new Store(t.testdir());
  await store.write(experiment, record('2020-01-01T000000'));
  const folder = join(store.folder, 'thesis/2020-01-01T000000');
  t.same((await readdir(folder)).sort(), [
    ...['environment.json', 'proof.json', 'samples.jsonl.gz', 'summary.json', 'thesis.svg'],
  ]);

  const summary = await readFile(join(folder, 'summary.json'), 'utf8');
  const chart = await readFile(join(folder, 'thesis.svg'), 'utf8');
  await writeFile(join(folder, 'summary.json'), 'spoilt');
  await writeFile(join(folder, 'thesis.svg'), 'spoilt');
  await store.render(experiment, '2020-01-01T000000');
  t.equal(await readFile(join(folder, 'summary.json'), 'utf8'), summary);
  t.equal(await readFile(join(folder, 'thesis.svg'), 'utf8'), chart);
});

t.test('the newest run of each experiment is published', async (t) => {
  const store = new Store(t.testdir());
  await store.write(experiment, record('2020-01-02T000000'));
  await store.write(experiment, record('2020-01-01T000000'));
  const published = await store.publish([experiment, other]);
  t.equal(published.length, 1);

  t.same(
    published.flatMap(({ summary }) => summary.rows.map(({ arm, run, n }) => ({ arm, run, n }))),
    [
      { arm: 'native', run: '2020-01-02T000000', n: 200 },
      { arm: 'tcp', run: '2020-01-02T000000', n: 200 },
    ],
  );

  const page = await readFile(join(store.folder, 'README.md'), 'utf8');
  for (const line of [
    /Figure 4 \|.*`npm run bench -- --only thesis` \| \[thesis\.svg\]\(thesis\/2020-01-02T000000/,
    /Another \|.*not run yet/,
    /Emulated guest \(TCG\)/,
    /Not measured: vsock-kernel: no \/dev\/vhost-vsock/,
    /PROG_LOAD, p50: tcp − native \| 400 µs .*thesis \(KVM\): 396 µs/,
  ]) {
    t.match(page, line);
  }
});

t.test('the newest run on each machine is on a page of its own', async (t) => {
  const store = new Store(t.testdir());
  const { host } = syntheticEnvironment;
  for (const [run, cpuModel, median] of [
    ['2020-01-01T000000', 'One', 700_000],
    ['2020-01-02T000000', 'One', 900_000],
    ['2020-01-03T000000', 'Two', 600_000],
  ] as const) {
    const { environment, records } = record(run);
    await store.write(experiment, {
      environment: { ...environment, host: { ...host, cpuModel } },
      batches: [
        ...syntheticBatches('native', 'PROG_LOAD', 500_000),
        ...syntheticBatches('tcp', 'PROG_LOAD', median),
      ],
      records,
    });
  }
  await store.publish([experiment, other]);
  const page = await readFile(join(store.folder, 'machines.md'), 'utf8');
  const [one, two] = ['One', 'Two'].map((model) => `${host.cpus} × ${model}`);
  t.match(page, `| comparison | ${one} | ${two} |`);
  t.match(
    page,
    /^\| PROG_LOAD, p50: tcp − native \| 400 µs [^|]*here .* \| 100 µs .*, here less \|$/m,
  );
  t.notMatch(page, '2020-01-01T000000');
  t.notMatch(page, 'Another');
});

t.test('runs are named by when they began', async (t) => {
  t.equal(runName(new Date(Date.UTC(2025, 0, 2, 3, 4, 5, 678))), '2025-01-02T030405');
});

t.test('runs that begin together have names of their own', async (t) => {
  const store = new Store(join(t.testdir(), 'results'));
  const now = new Date(Date.UTC(2025, 0, 2, 3, 4, 5));
  const one = await store.begin(now);
  const other = await new Store(store.folder).begin(now);
  t.same([one.run, other.run], ['2025-01-02T030405', '2025-01-02T030406']);
  one.end();
  other.end();
  await store.write(experiment, record(one.run));
  const third = await store.begin(now);
  t.equal(third.run, other.run, 'a run that is there has its name for itself');
  third.end();
  t.same(readdirSync(store.folder), ['thesis'], 'nothing is left');
});

t.test('what a run has left that was killed is removed', async (t) => {
  const store = new Store(t.testdir());
  const module = new URL('../../bench/store.js', import.meta.url).href;
  const script = `
    import { mkdirSync } from 'node:fs';
    import { Store } from ${JSON.stringify(module)};
    const { run } = await new Store(${JSON.stringify(store.folder)}).begin(new Date(0));
    mkdirSync(${JSON.stringify(join(store.folder, 'thesis'))} + '/' + run + '.part', { recursive: true });
    console.log(run);
    setInterval(() => {}, 1000);`;
  const words = ['--input-type=module', '-e', script];
  const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  const drafts = () => readdirSync(join(store.folder, 'thesis'));
  const before = await store.begin(new Date(0));
  before.end();
  t.same(drafts(), ['1970-01-01T000000.part'], 'that of a run that goes on stays');
  child.kill('SIGKILL');
  await once(child, 'exit');
  const after = await store.begin(new Date(0));
  after.end();
  t.same(drafts(), []);
});

t.test('a folder that cannot be written to is found at the beginning', async (t) => {
  const folder = t.testdir({ results: 'a file' });
  const store = new Store(join(folder, 'results'));
  await t.rejects(store.begin(new Date()), {
    code: 'ERR_FOLDER_UNUSABLE',
    message: /results cannot be made: it is no folder/,
  });
});
