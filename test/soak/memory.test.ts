/*
 * What the host, the agent and the process that stands by need after very many sessions, connections
 * and programs, compared with what they needed after a tenth of them.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { agentPath, packageFolder } from '../../src/paths.js';
import { Session } from '../../src/session.js';
import { connect } from '../../src/transport/index.js';
import { bundleForGuest } from '../guest-bundle.js';
import { alive } from '../lifetimes/alive.js';
import { application, cli } from '../run/application.js';
import { startFakeMux } from '../transport/fake-mux.js';
import { GIVES_BACK, neededBytes, type Reading, readHere, readProcess } from './readings.js';

t.setTimeout(3_600_000);

const MAX_GROWTH = 0.05;
const SESSIONS = 10_000;
const CONNECTIONS = 100_000;
const PROGRAMS = 10_000;

const folder = mkdtempSync(join(tmpdir(), 'waep-memory-'));
const program = application();
t.teardown(() => {
  program.dispose();
  rmSync(folder, { recursive: true, force: true });
});
const collector = await bundleForGuest(
  new URL('./collector.js', import.meta.url),
  folder,
  'collector.cjs',
);

/** A process that tells what it holds. */
interface Telling {
  readonly child: ChildProcess;
  read(): Promise<Reading>;
}

async function start(t: Test, name: string, words: readonly string[]): Promise<Telling> {
  const file = join(folder, `${name}.json`);
  const child = spawn(process.execPath, ['--require', collector, ...words], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      ...process.env,
      GLIBC_TUNABLES: GIVES_BACK,
      WAEP_MEMORY_FILE: file,
      WAEP_CACHE_DIR: join(folder, 'cache'),
    },
  });
  t.teardown(() => child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  child.stdout.resume();
  return { child, read: () => readProcess(child.pid as number, file) };
}

const socket = join(folder, 'agent.sock');
const address = `unix:${socket}`;
const startAgent = (t: Test) =>
  start(t, 'agent', [agentPath, '--listen', address, '--profile', 'full']);

/** Checks that nobody needs more after `times` than after a tenth of them. */
async function holdsStill(
  t: Test,
  times: number,
  who: Readonly<Record<string, () => Promise<Reading>>>,
  use: (i: number) => Promise<void>,
): Promise<void> {
  const read = async () => {
    const readings: Record<string, Reading> = {};
    for (const [name, one] of Object.entries(who)) readings[name] = await one();
    return readings;
  };
  for (let i = 0; i < times / 10; i++) await use(i);
  const before = await read();
  for (let i = times / 10; i < times; i++) await use(i);
  const after = await read();
  for (const name of Object.keys(who)) {
    const [from, to] = [before, after].map((all) => all[name] as Reading) as [Reading, Reading];
    const mib = (reading: Reading) => (neededBytes(reading) / 2 ** 20).toFixed(2);
    const share = neededBytes(to) / neededBytes(from) - 1;
    const figures = `${mib(from)} MiB after ${times / 10}, ${mib(to)} MiB after ${times}`;
    t.comment(`${name}: ${figures}; ${JSON.stringify({ from, to })}`);
    t.ok(share <= MAX_GROWTH, `${name}: ${figures}`);
    t.ok(to.descriptors <= from.descriptors, `${name}: ${to.descriptors} descriptors`);
  }
}

t.test(`${SESSIONS} sessions`, async (t) => {
  const agent = await startAgent(t);
  await holdsStill(t, SESSIONS, { host: readHere, agent: agent.read }, async () => {
    const session = await Session.connect(address);
    await session.readClock(1);
    session.close();
  });
  t.equal(alive(Session), 0, 'no session is alive');
});

t.test(`${CONNECTIONS} connections`, async (t) => {
  const agent = await startAgent(t);
  await using mux = await startFakeMux((host) => {
    const guest = net.connect(socket);
    host.write('OK 1\n');
    host.pipe(guest).pipe(host);
    guest.on('error', () => host.destroy());
    host.on('close', () => guest.destroy());
  });
  const read = async () => {
    // Whatever is said to the multiplexer is kept by it.
    mux.requests.length = 0;
    return readHere();
  };
  await holdsStill(t, CONNECTIONS, { host: read, agent: agent.read }, async (i) => {
    const stream = await connect(`vsock-mux:${mux.path}:1024`);
    // Some say something that is no greeting, and are told so.
    if (i % 10 === 0) stream.write('GET / HTTP/1.0\r\n\r\n');
    if (i % 10 === 0) await once(stream.resume(), 'end');
    stream.destroy();
    await once(stream, 'close');
  });
});

t.test(`${PROGRAMS} programs of a process that stands by`, async (t) => {
  const agent = await startAgent(t);
  const standby = await start(t, 'standby', [cli, 'standby', '--vm', address]);
  const waep = join(packageFolder, 'bin/waep');
  const commands = [['/bin/true'], [program.path, 'ring', 'perf', 'mapped', 'copies']];
  await holdsStill(t, PROGRAMS, { standby: standby.read, agent: agent.read }, async (i) => {
    // Most are short: those that map buffers take a session each, with an executor of its own.
    const command = commands[i % 20 === 0 ? 1 : 0] as readonly string[];
    const child = spawn(waep, ['run', '--vm', address, '--', ...command], { stdio: 'ignore' });
    const [status] = await once(child, 'close');
    if (status !== 0) throw new Error(`${command} ended with ${status}`);
  });
});
