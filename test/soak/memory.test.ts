/*
 * What the host, the agent with its keeper and executors, and the process that stands by need after
 * very many sessions, calls, connections and programs, compared with what they needed after a tenth
 * of them.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { bundleForGuest } from '../../bench/guest-bundle.js';
import { enums, u32, u64 } from '../../src/index.js';
import { agentPath, packageFolder } from '../../src/paths.js';
import { Session } from '../../src/session.js';
import { connect } from '../../src/transport/index.js';
import { alive } from '../lifetimes/alive.js';
import { application, cli } from '../run/application.js';
import { startFakeMux } from '../transport/fake-mux.js';
import {
  childrenOf,
  GIVES_BACK,
  neededBytes,
  type Reading,
  readHere,
  readNative,
  readProcess,
} from './readings.js';

t.setTimeout(3_600_000);

const MAX_GROWTH = 0.05;
/** A few pages: processes that are not Node are small, and nothing in them waits for a collection. */
const MAX_NATIVE_GROWTH_BYTES = 32 * 1024;
const SESSIONS = 10_000;
const CALLS = 200_000;
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
interface Reporting {
  readonly child: ChildProcess;
  read(): Promise<Reading>;
}

async function start(t: Test, name: string, words: readonly string[]): Promise<Reporting> {
  const file = join(folder, `${name}.json`);
  // What the test runner loads into processes of Node is no part of them.
  const plain = ['-u', 'NODE_OPTIONS', process.execPath];
  const child = spawn('env', [...plain, '--require', collector, ...words], {
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
/** Starts an agent as the guest's init does. */
const startAgent = (t: Test) =>
  start(t, 'agent', [
    '--max-semi-space-size=2',
    ...[agentPath, '--listen', address, '--profile', 'full'],
  ]);

/** The keeper of an agent. */
function keeperOf({ child }: Reporting): number {
  const [keeper] = childrenOf(child.pid as number, 'waep-keeper');
  if (keeper === undefined) throw new Error(`agent ${child.pid} has no keeper`);
  return keeper;
}

/** Whose memory is looked at: processes of Node by their readings, others by their ids. */
interface Who {
  readonly node: Readonly<Record<string, () => Promise<Reading>>>;
  readonly others?: Readonly<Record<string, number>>;
}

/** Checks that nobody needs more after `times` than after a tenth of them. */
async function holdsStill(
  t: Test,
  times: number,
  { node: who, others = {} }: Who,
  use: (i: number) => Promise<void>,
): Promise<void> {
  const read = async () => {
    const readings: Record<string, Reading> = {};
    for (const [name, one] of Object.entries(who)) readings[name] = await one();
    return readings;
  };
  const readOthers = () =>
    Object.entries(others).map(([name, pid]) => [name, readNative(pid)] as const);
  for (let i = 0; i < times / 10; i++) await use(i);
  const before = await read();
  const othersBefore = new Map(readOthers());
  for (let i = times / 10; i < times; i++) await use(i);
  const after = await read();
  for (const [name, to] of readOthers()) {
    const from = othersBefore.get(name) ?? to;
    const kib = (bytes: number) => `${bytes / 1024} KiB`;
    const figures = `${kib(from.privateBytes)} after ${times / 10}, ${kib(to.privateBytes)} after ${times}`;
    t.ok(to.privateBytes - from.privateBytes <= MAX_NATIVE_GROWTH_BYTES, `${name}: ${figures}`);
    t.ok(to.descriptors <= from.descriptors, `${name}: ${to.descriptors} descriptors`);
  }
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
  const who = {
    node: { host: readHere, agent: agent.read },
    others: { keeper: keeperOf(agent) },
  };
  await holdsStill(t, SESSIONS, who, async () => {
    const session = await Session.connect(address);
    await session.readClock(1);
    session.close();
  });
  t.equal(alive(Session), 0, 'no session is alive');
});

t.test(`${CALLS} calls of a session`, async (t) => {
  const agent = await startAgent(t);
  const { BPF_MAP_TYPE_HASH: type } = enums.MapType;
  await using session = await Session.connect(address);
  const kept = await session.createMap({ type, key: u32, value: u64, maxEntries: 100 });
  const [executor = 0] = childrenOf(keeperOf(agent), 'waep-executor');
  const who = { node: { host: readHere, agent: agent.read }, others: { executor } };
  await holdsStill(t, CALLS / 10, who, async (i) => {
    // Ten calls; those that make an object, refuse or fail leave nothing either.
    for (let j = 0; j < 5; j++) await kept.update((i + j) % 100, BigInt(j));
    await session.readClock(1);
    if ((await kept.lookup(1000)) !== undefined) throw new Error('key 1000 was never set');
    await using map = await session.createMap({ type, key: u32, value: u64, maxEntries: 1 });
    await map.update(1, 1n);
    await map.update(2, 2n).catch(() => {});
  });
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
  await holdsStill(t, CONNECTIONS, { node: { host: read, agent: agent.read } }, async (i) => {
    const stream = await connect(`vsock-mux:${mux.path}:1024`);
    const closed = once(stream, 'close');
    if (i % 10 === 0) {
      // Some say something that is no handshake, are told so, and closed.
      stream.write('GET / HTTP/1.0\r\n\r\n');
      stream.resume();
    } else {
      stream.destroy();
    }
    await closed;
  });
});

t.test(`${PROGRAMS} programs of a process that stands by`, async (t) => {
  const agent = await startAgent(t);
  const standby = await start(t, 'standby', [cli, 'standby', '--vm', address]);
  const waep = join(packageFolder, 'bin/waep');
  const commands = [['/bin/true'], [program.path, 'ring', 'perf', 'mapped', 'copies']];
  const who = {
    node: { standby: standby.read, agent: agent.read },
    others: { keeper: keeperOf(agent) },
  };
  await holdsStill(t, PROGRAMS, who, async (i) => {
    // Most are short: those that map buffers take a session each, with an executor of its own.
    const command = commands[i % 20 === 0 ? 1 : 0] as readonly string[];
    const child = spawn(waep, ['run', '--vm', address, '--', ...command], { stdio: 'ignore' });
    const [status] = await once(child, 'close');
    if (status !== 0) throw new Error(`${command} ended with ${status}`);
  });
});
