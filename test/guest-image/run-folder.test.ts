import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { makeRunFolder } from '../../guest/rundir.js';

const rundir = new URL('../../guest/rundir.js', import.meta.url).href;

/** Runs a program that makes a run folder with a sleeping child and then does as told. */
async function owner(then: string) {
  const script = `
    import { spawn } from 'node:child_process';
    import { makeRunFolder } from ${JSON.stringify(rundir)};
    const run = makeRunFolder();
    const child = spawn('sleep', ['60'], { stdio: 'ignore' });
    run.kill(child.pid);
    run.keep(run.path + '/owner', run.path + '-kept');
    console.log(JSON.stringify({ path: run.path, child: child.pid }));
    ${then}`;
  const program = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [line] = await once(program.stdout, 'data');
  const facts: { path: string; child: number } = JSON.parse(String(line));
  t.teardown(() => {
    rmSync(facts.path, { recursive: true, force: true });
    rmSync(`${facts.path}-kept`, { force: true });
    program.kill('SIGKILL');
  });
  return { program, ...facts };
}

/** Whether a process runs; one that has ended and waits to be reaped does not. */
function runs(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(join('/proc', `${pid}`, 'status'), 'utf8'));
  } catch {
    return false;
  }
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  t.test(`${signal} removes the folder, ends its processes and then the program`, async (t) => {
    const { program, path, child } = await owner('setInterval(() => {}, 1000);');
    program.kill(signal);
    const [, how] = await once(program, 'exit');
    t.equal(how, signal);
    t.notOk(existsSync(path));
    t.notOk(runs(child));
    t.equal(readFileSync(`${path}-kept`, 'utf8'), `${program.pid}\n`, 'files to keep are kept');
  });
}

t.test('so does an exception that nobody catches', async (t) => {
  const { program, path, child } = await owner(
    "setTimeout(() => { throw new Error('oops'); }, 50);",
  );
  await once(program, 'exit');
  t.notOk(existsSync(path));
  t.notOk(runs(child));
});

t.test('what SIGKILL leaves is swept when the next folder is made', async (t) => {
  const { program, path, child } = await owner('setInterval(() => {}, 1000);');
  t.teardown(() => process.kill(child, 'SIGKILL'));
  program.kill('SIGKILL');
  await once(program, 'exit');
  t.ok(existsSync(path));
  const next = makeRunFolder();
  t.notOk(existsSync(path));
  t.ok(existsSync(next.path), 'its own is left alone');
  next.remove();
  t.notOk(existsSync(next.path));
});
