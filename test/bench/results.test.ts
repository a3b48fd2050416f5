import { cpSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { allExperiments as experiments } from '../../bench/experiments/index.js';
import { Store } from '../../bench/store.js';
import { packageFolder } from '../../src/paths.js';

const results = join(packageFolder, 'results');

t.test('every summary, chart and page follows from the committed samples', async (t) => {
  const store = new Store(t.testdir());
  const same = (path: string) =>
    t.ok(
      readFileSync(join(store.folder, path), 'utf8') === readFileSync(join(results, path), 'utf8'),
      `results/${path} is current (if not: npm run bench -- --render)`,
    );
  for (const experiment of experiments) {
    cpSync(join(results, experiment.name), join(store.folder, experiment.name), {
      recursive: true,
    });
    const runs = await store.runs(experiment);
    for (const run of runs) {
      const { summary, environment } = await store.render(experiment, run);
      same(`${experiment.name}/${run}/summary.json`);
      for (const { file } of experiment.figures(summary, environment)) {
        const path = `${experiment.name}/${run}/${file}.svg`;
        if (run === runs.at(-1)) same(path);
        else t.notOk(existsSync(join(results, path)), `no page shows results/${path}`);
      }
    }
    t.ok(runs.length > 0, `${experiment.name} has ${runs.length} runs`);
  }
  await store.publish(experiments);
  same('README.md');
  same('machines.md');
});
