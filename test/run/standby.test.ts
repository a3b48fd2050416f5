import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { bpfObjects, localAgent } from '../agent/local-agent.js';
import { until } from '../until.js';
import { application, cli } from './application.js';
import { start as startProgram } from './outcome.js';

const waep = fileURLToPath(new URL('../../../bin/waep', import.meta.url));
const UNPRIVILEGED = '65534';

const { agent, address, close } = await localAgent();
/** How many sessions there have been. */
let sessions = 0;
agent.on('session', () => {
  sessions++;
});
const program = application();
const cache = mkdtempSync(join(tmpdir(), 'waep-cache-'));
const started: ChildProcess[] = [];
t.teardown(async () => {
  for (const child of started) child.kill('SIGKILL');
  program.dispose();
  rmSync(cache, { recursive: true });
  await close();
});

const env = { WAEP_CACHE_DIR: cache };

async function standBy(
  at = address,
): Promise<{ stop: () => Promise<number | null>; child: ChildProcess }> {
  const child = spawn(process.execPath, [cli, 'standby', '--vm', at], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...env },
  });
  started.push(child);
  const [line] = await once(child.stdout, 'data');
  t.match(String(line), `Ready for: waep run --vm ${at} -- PROGRAM`);
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGINT');
      await once(child, 'exit');
    }
    return child.exitCode;
  };
  return { stop, child };
}

/** A PATH without Node: what runs cannot have been started by it. */
const WITHOUT_NODE = mkdtempSync(join(tmpdir(), 'waep-path-'));
t.teardown(() => rmSync(WITHOUT_NODE, { recursive: true }));

const start = (...command: string[]) =>
  startProgram([waep, 'run', '--vm', address, '--', ...command], { ...env, PATH: WITHOUT_NODE });
const run = (...command: string[]) => start(...command).ended;

/** Waits until nobody but the process that stands by has a session. */
async function oneSession(): Promise<void> {
  await until('the end of all sessions but one', () => agent.executorPids.length === 1);
}

t.test('programs run without Node, in one session after the other', async (t) => {
  const { stop } = await standBy();
  t.teardown(stop);
  const [executor] = agent.executorPids;
  const before = sessions;

  t.equal((await run('/bin/true')).status, 0);
  t.equal((await run('/bin/sh', '-c', 'exit 7')).status, 7);
  // The program is not anybody's child: a signal ends it as it ends any.
  t.equal((await run('/bin/sh', '-c', 'kill -TERM $$')).signal, 'SIGTERM');
  const missing = await run('/no-such-program');
  t.equal(missing.status, 127);
  t.match(missing.errors, /no-such-program: No such file/);
  t.equal((await run('/bin/uname', '-n')).output, `${hostname()}\n`);

  const { output, status } = await run(program.path, 'copies', 'passed', 'legacy', 'self');
  t.equal(status, 0);
  t.same(output.trim().split('\n'), [
    'closed: EBADF',
    'dup: 11',
    'fcntl: 11',
    'dup3: 11',
    'child: 11',
    'passed: 22',
    'legacy: 88',
    'inherited: 66',
  ]);
  await oneSession();
  t.same(agent.executorPids, [executor], 'the session that was ready is left');
  // Who comes before it is clean again has another.
  const others = sessions - before;
  t.ok(others < 5, `${others} of 5 had another session than the one before them`);
});

t.test('what a program leaves behind goes with it', async (t) => {
  const { stop } = await standBy();
  t.teardown(stop);
  const maps = () => {
    const objects = agent.executorPids.flatMap((pid) => bpfObjects(pid));
    return objects.filter((id) => id.startsWith('map')).length;
  };
  const { child, ended } = start(program.path, 'wait');
  await once(child.stdout, 'data');
  t.ok(maps() > 0, 'it has a map');
  const before = sessions;
  child.kill('SIGKILL');
  t.equal((await ended).signal, 'SIGKILL');
  t.equal((await run('/bin/true')).status, 0);
  if (sessions === before) t.equal(maps(), 0, 'who has its session finds nothing in it');
  await oneSession();
  await until('the end of its map', () => maps() === 0);
});

t.test('programs at the same time have a session each', async (t) => {
  const { stop } = await standBy();
  t.teardown(stop);
  await oneSession();
  const first = start(program.path, 'until-interrupted');
  await once(first.child.stdout, 'data');
  const second = start(program.path, 'until-interrupted');
  await once(second.child.stdout, 'data');
  t.equal(agent.executorPids.length, 2);
  t.equal((await run(program.path, 'threads')).output, 'threads: 0 wrong\n');
  for (const { child, ended } of [first, second]) {
    process.kill(-Number(child.pid), 'SIGINT');
    const { status, output } = await ended;
    t.equal(status, 0);
    t.same(output.trim().split('\n'), ['running', 'stopped: 77']);
  }
  await oneSession();
});

t.test('events, shared memory, signals and threads, as without', async (t) => {
  const { stop } = await standBy();
  t.teardown(stop);
  const all = ['ring', 'polled', 'perf', 'mapped', 'interrupted', 'threads', 'urged', 'loaders'];
  const { output, errors } = await run(program.path, ...all);
  t.equal(errors, '');
  t.same(output.trim().split('\n'), [
    ...['ring', 'polled', 'perf'].map((part) => `${part}: 1000 events, 0 wrong`),
    ...['mapped: 70', 'written: 71', 'updated: 72', 'still: 70'],
    ...['beyond: EINVAL', 'constant: EACCES', 'plain: EINVAL'],
    ...['interrupted: 0 failed, alarmed', 'threads: 0 wrong'],
    ...['urged: 0 failed, interrupted', 'loaders: 32 programs'],
  ]);
});

t.test('what is refused is told on the standard error of the program', async (t) => {
  const { stop } = await standBy();
  t.teardown(stop);
  for (let times = 0; times < 2; times++) {
    const { errors } = await run('/bin/sh', '-c', `${program.path} errors; echo after it >&2`);
    t.match(errors, /^waep: bpf command 60000 is not in the command table(.*\n)+after it\n$/);
  }
});

t.test('without anybody who stands by, and for other options, Node does it', async (t) => {
  const none = await run('/bin/true');
  t.equal(none.status, 125);
  t.match(none.errors, /waep: node: No such file/);
  const known = { ...env, PATH: process.env.PATH ?? '' };
  const words = [waep, 'run', '--vm', address, '--vm', address, '--', 'uname', '-n'];
  const { output } = await startProgram(words, known).ended;
  t.same(output.trim().split('\n'), [`${address} | ${hostname()}`, `${address} | ${hostname()}`]);
  t.match((await startProgram([waep, 'run', '--help'], known).ended).output, /--vm <address>/);
  t.match((await startProgram([waep, '--version'], known).ended).output, /^\d+\.\d+\.\d+\n$/);
});

for (const signal of ['SIGINT', 'SIGKILL'] as const) {
  t.test(`a program whose answers end with ${signal} fails, and ends`, async (t) => {
    const { stop, child } = await standBy();
    t.teardown(stop);
    const { child: orphan, ended } = start(program.path, 'until-interrupted');
    await once(orphan.stdout, 'data');
    child.kill(signal);
    // It is told nothing: the kernel answers where nobody listens.
    const { output } = await ended;
    t.match(output, /^running\nstopped: (?!77)[A-Z]+\n$/);
  });
}

t.test('one is enough', async (t) => {
  const { stop } = await standBy();
  t.teardown(stop);
  const second = spawn(process.execPath, [cli, 'standby', '--vm', address], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, ...env, NO_COLOR: '1' },
  });
  started.push(second);
  let errors = '';
  second.stderr.on('data', (text) => {
    errors += text;
  });
  const [status] = await once(second, 'close');
  t.equal(status, 1);
  t.match(errors, 'another process does already. One is enough: use it, or end it.');
  await oneSession();
});

t.test('a guest that is gone is told of by waep run', async (t) => {
  const other = await localAgent();
  const { stop } = await standBy(other.address);
  t.teardown(stop);
  await other.close();
  const words = [waep, 'run', '--vm', other.address, '--', '/bin/true'];
  const { status, errors } = await startProgram(words, env).ended;
  t.equal(status, 125);
  t.match(errors, /waep: .*(ENOENT|ECONNREFUSED)/);
});

t.test(
  'others are turned away, and those who say nothing or nonsense keep nobody waiting',
  async (t) => {
    const { stop } = await standBy();
    t.teardown(stop);
    // socat has a colon of its own.
    const name = `waep/${process.geteuid?.()}/${address}`.replace(':', '\\:');
    const peer = `ABSTRACT-CONNECT:${name},type=5`;
    const silent = spawn('socat', ['-u', peer, 'STDOUT'], { stdio: 'ignore' });
    started.push(silent);
    const nonsense = promisify(execFile)('sh', [
      '-c',
      `echo nonsense | timeout 60 socat - '${peer}'`,
    ]);
    t.same((await nonsense).stdout, '', 'it is hung up on');
    const drop = ['--reuid', UNPRIVILEGED, '--regid', UNPRIVILEGED, '--clear-groups'];
    const foreign = promisify(execFile)('setpriv', [
      ...drop,
      'timeout',
      '60',
      'socat',
      '-u',
      peer,
      '-',
    ]);
    t.same((await foreign).stdout, '', 'it is hung up on, too');
    t.equal((await run('/bin/uname', '-n')).output, `${hostname()}\n`);
  },
);
