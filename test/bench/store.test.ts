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

t.test('runs are named by when they began', async (t) => {
  t.equal(runName(new Date(Date.UTC(2025, 0, 2, 3, 4, 5, 678))), '2025-01-02T030405');
});
