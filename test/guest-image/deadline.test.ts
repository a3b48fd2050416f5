/* The deadline of a guest's boot: it passes for a process that hangs, and not for one that starves. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import t from 'tap';
import { Deadline } from '../../guest/vm/qemu/deadline.js';

const LOOP = ['sh', '-c', 'echo begun; while :; do :; done'];

/** Starts a program that ends with the test, and waits until it has begun. */
async function start(...words: readonly string[]): Promise<ChildProcess & { pid: number }> {
  const [program = '', ...args] = words;
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  return child as typeof child & { pid: number };
}

/** Resolves once the deadline has passed; false where it has not in five times its time. */
async function passes(deadline: Deadline, timeoutMs: number): Promise<boolean> {
  const late = new Promise<false>((resolve) => setTimeout(resolve, 5 * timeoutMs, false));
  return Promise.race([deadline.passed().then(() => true), late]);
}

t.test('a process that sleeps', async (t) => {
  const { pid } = await start('sh', '-c', 'echo begun; exec sleep 60');
  t.ok(await passes(new Deadline(pid, 300), 300), 'is given up');
});

t.test('a process that loops', async (t) => {
  const { pid } = await start(...LOOP);
  // Beside others it has less than all of a processor, and more than a fifth on most machines.
  await new Deadline(pid, 300).passed();
  t.pass('is given up');
});

t.test('a process that this machine does not run', async (t) => {
  // Two on one processor, the second of which gets some hundredth of it.
  await start('taskset', '-c', '0', ...LOOP);
  const starved = await start('taskset', '-c', '0', 'nice', '-n', '19', ...LOOP);
  t.notOk(await passes(new Deadline(starved.pid, 1000), 1000), 'is waited for');
});

t.test('a process that is gone', async (t) => {
  const child = await start('sh', '-c', 'echo begun');
  if (child.exitCode === null) await once(child, 'exit');
  t.ok(await passes(new Deadline(child.pid, 300), 300), 'is given up');
});
