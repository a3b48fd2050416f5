import { readdir, readFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import t from 'tap';
import { compilePrograms } from '../../bench/compile.js';
import { softwareOverhead } from '../../bench/experiments/software-overhead.js';
import { openHostLab } from '../../bench/lab.js';
import { tinyRun } from './tiny-run.js';

function hindrance(): string | false {
  if (process.getuid?.() !== 0) return 'bpf(2) needs root (try: sudo npm test)';
  return cpus().length < 2 ? 'it pins processes to two CPUs; this machine has one' : false;
}

t.test(
  'the software-overhead experiment yields all that it compares',
  { skip: hindrance() },
  async (t) => {
    const programs = await compilePrograms();
    const amount = { boots: 1, rounds: 2, samples: 20, warmup: 5, commands: 2 };
    const openLab = async () => openHostLab(programs);
    const { summary } = await tinyRun(softwareOverhead, amount, openLab);
    t.equal(summary.comparisons.length, softwareOverhead.comparisons.length);
    t.same(
      summary.rows.map(({ arm, metric, n }) => `${arm}: ${metric}: ${n}`).sort(),
      [
        ...['native', 'tcp', 'tcp/c', 'unix', 'unix/c'].flatMap((arm) => [
          `${arm}: PROG_LOAD: 4`,
          `${arm}: RAW_TRACEPOINT_OPEN: 4`,
        ]),
        ...['tcp', 'tcp/c', 'unix', 'unix/c'].flatMap((arm) => [
          `${arm}: MAP_LOOKUP_ELEM, a core each: 40`,
          `${arm}: MAP_LOOKUP_ELEM, one core: 40`,
        ]),
      ].sort(),
    );

    t.same(await childPrograms(), [], 'no process is left behind');
  },
);

/** The programs of this process' children. */
async function childPrograms(): Promise<string[]> {
  const tasks = await readdir('/proc/self/task');
  const lists = await Promise.all(
    tasks.map((task) => readFile(`/proc/self/task/${task}/children`, 'utf8')),
  );
  const pids = lists.flatMap((list) => list.split(' ').filter((pid) => pid !== ''));
  return Promise.all(pids.map((pid) => readFile(`/proc/${pid}/comm`, 'utf8')));
}
