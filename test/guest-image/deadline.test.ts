/* The deadline of a guest's boot: it passes for a process that hangs, and not for one that starves. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
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

t.test('a process that sleeps', async (t) => {
  const { pid } = await start('sh', '-c', 'echo begun; exec sleep 1000');
  await new Deadline(pid, 300).passed();
  t.pass('is given up');
});

t.test('a process that loops', async (t) => {
  const { pid } = await start(...LOOP);
  // Beside others it has less than all of a processor, and more than a fifth on most machines.
  await new Deadline(pid, 300).passed();
  t.pass('is given up');
});

t.test('a process that this machine does not run', async (t) => {
  // Two on one processor, the second of which gets some hundredth of it.
  const [, cpu = '0'] =
    /^Cpus_allowed_list:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
  await start('taskset', '-c', cpu, ...LOOP);
  const starved = await start('taskset', '-c', cpu, 'nice', '-n', '19', ...LOOP);
  // A kernel counts a wait once it is over, and each may take more than a second beside others.
  const passed = new Deadline(starved.pid, 4000).passed().then(() => 'passed');
  t.equal(await Promise.race([passed, sleep(7000, 'waits')]), 'waits');
});

t.test('a process that is gone', async (t) => {
  const child = await start('sh', '-c', 'echo begun');
  if (child.exitCode === null) await once(child, 'exit');
  await new Deadline(child.pid, 300).passed();
  t.pass('is given up');
});
