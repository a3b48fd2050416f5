import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { DEFAULT_LEASE_MS } from '../../cli/connection.js';
import { instructions, tracepoint } from '../../cli/hello-program.js';
import { sharedLibraries } from '../../guest/image/libraries.js';
import {
  boot,
  type ExecDaemon,
  type Guest,
  type GuestFile,
  type VsockChoice,
} from '../../guest/index.js';
import { exec } from '../../guest/vm/exec.js';
import { Session } from '../../src/index.js';
import { application, cli } from '../run/application.js';
import { type Outcome, start as startProgram } from '../run/outcome.js';
import { patient, until } from '../until.js';

t.setTimeout(3_600_000);

const BPFTOOL = '/usr/sbin/bpftool';
/** Long enough for clients that a busy machine keeps from running. */
const SILENCE_MS = 10_000;
const LEASE_MS = 6000;
/** Longer than anything is waited for. */
const LONG_LEASE_MS = 600_000;
/** How late an emulated guest under load may be, and its bpftool with it. */
const TOLERANCE_MS = 60_000;

const library = new URL('../../src/index.js', import.meta.url).href;
const hello = new URL('../../cli/hello-program.js', import.meta.url).href;

/** A process that makes a map, a program and a link in the guest, all called mortal, and stays. */
async function mortal(address: string, leaseMs = 0): Promise<ChildProcess> {
  const script = `
    import { Session } from ${JSON.stringify(library)};
    import { instructions } from ${JSON.stringify(hello)};
    const session = await Session.connect(${JSON.stringify(address)}, { leaseMs: ${leaseMs}, ...${JSON.stringify(patient)} });
    await session.createMap({ type: 2, keySize: 4, valueSize: 8, maxEntries: 1, name: 'mortal' });
    const program = await session.loadProgram({ type: 17, instructions, license: 'GPL', name: 'mortal' });
    await program.attachRawTracepoint(${JSON.stringify(tracepoint)});
    console.log('attached');
    setInterval(() => {}, 1000);`;
  const client = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(createInterface(client.stdout), 'line');
  return client;
}

/** What {@link mortal} holds: a map, a program, a link. */
const MORTAL_OBJECTS = 3;

const program = application();
t.teardown(program.dispose);

/** What {@link tool} holds: a map of events and one of globals, both mapped, a program, a link. */
const TOOL_OBJECTS = 4;

/** An unmodified program under `waep run`, and its objects in the guest, all called mortal. */
async function tool(address: string): Promise<ChildProcess> {
  const words = [cli, 'run', '--vm', address, '--', program.path, 'hold'];
  const waep = spawn(process.execPath, words, {
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  });
  await once(createInterface(waep.stdout), 'line');
  return waep;
}

/** The process that `waep run` has started. */
function started({ pid }: ChildProcess): number {
  return Number(execFileSync('pgrep', ['-P', String(pid)], { encoding: 'utf8' }));
}

function killAll({ pid }: ChildProcess): void {
  try {
    process.kill(-Number(pid), 'SIGKILL');
  } catch {
    // All have ended.
  }
}

/** Programs that wait for ever, one for each list of addresses, and what comes of their guest's end. */
async function bereaved(
  lists: readonly (readonly string[])[],
  end: () => unknown,
): Promise<readonly Outcome[]> {
  const waiting = lists.map((addresses) => {
    const guests = addresses.flatMap((address) => ['--vm', address]);
    const command = ['sh', '-c', 'echo begun; exec sleep 1000'];
    return startProgram([process.execPath, cli, 'run', ...guests, '--', ...command], {});
  });
  try {
    for (const [index, { printed }] of waiting.entries()) {
      const count = lists[index]?.length;
      await until('the programs', () => printed().match(/begun/g)?.length === count);
    }
    await end();
    return await Promise.all(waiting.map(({ ended }) => ended));
  } finally {
    for (const { child } of waiting) killAll(child);
  }
}

/** Whether each program was told once, and by its address, that its guest had gone. */
function told(t: Test, outcomes: readonly Outcome[], lists: readonly (readonly string[])[]): void {
  for (const [index, { status, errors }] of outcomes.entries()) {
    const addresses = lists[index] ?? [];
    t.equal(status, 124, addresses.join(' and '));
    for (const address of addresses) {
      t.equal(errors.split(`The session with ${address} is closed`).length, 2, errors);
      if (addresses.length > 1) t.match(errors, `waep: ${address}: the guest went away`);
    }
  }
}

async function bootGuest(vsock: VsockChoice = 'auto'): Promise<Guest> {
  const programs = [BPFTOOL, ...(await sharedLibraries([BPFTOOL]))];
  const files: Record<string, GuestFile> = Object.fromEntries(
    programs.map((source) => [source, { source, mode: 0o755 }]),
  );
  const args = ['--silence-ms', `${SILENCE_MS}`, '--max-lease-ms', `${LONG_LEASE_MS}`];
  const agent = { tcp: 'anybody' as const, args };
  return boot({ exec: true, network: 'user', vsock, notice: () => {}, agent, files });
}

/** What bpftool in the guest finds of the clients above, such as `prog 7`; asked over a transport. */
async function survivors(daemon: ExecDaemon): Promise<string[]> {
  // An empty list may be printed as nothing at all.
  const script = `set -e; for kind in prog map link; do list=$(${BPFTOOL} -j $kind list); echo "=$list"; done`;
  const { status, stdout, stderr } = await exec(daemon, ['/bin/sh', '-c', script]);
  if (status !== 0) throw new Error(`bpftool ended with ${status}: ${stderr}`);
  type Listed = { id: number; name?: string; prog_id?: number };
  const lists = stdout.trim().split('\n');
  const [progs = [], maps = [], links = []] = lists.map((line): Listed[] =>
    JSON.parse(line.slice(1) || '[]'),
  );
  const named = progs.filter(({ name }) => name === 'mortal');
  const ids = new Set(named.map(({ id }) => id));
  return [
    ...named.map(({ id }) => `prog ${id}`),
    ...maps.filter(({ name }) => name === 'mortal').map(({ id }) => `map ${id}`),
    ...links.filter(({ prog_id }) => ids.has(prog_id ?? 0)).map(({ id }) => `link ${id}`),
  ];
}
/** Waits until nothing is left, and returns how long that took, or fails. */
async function extinction(withinMs: number, daemon: ExecDaemon): Promise<number> {
  const startMs = performance.now();
  let left: string[] = [];
  const gone = async () => {
    left = await survivors(daemon);
    return left.length === 0;
  };
  await until(() => `the end of ${left}`, gone, { withinMs, everyMs: 200 });
  return performance.now() - startMs;
}

t.test('nothing survives its session, and everything its lease', async (t) => {
  await using guest = await bootGuest();
  const transports = { vsock: guest.vsock(), tcp: guest.tcp() };
  const daemon = guest.execDaemon();
  t.same(await survivors(daemon), []);

  for (const [transport, address] of Object.entries(transports)) {
    await t.test(`a client that is killed, over ${transport}`, async (t) => {
      const client = await mortal(address);
      t.equal((await survivors(daemon)).length, MORTAL_OBJECTS);
      client.kill('SIGKILL');
      t.pass(`gone after ${await extinction(TOLERANCE_MS, daemon)} ms`);
    });
  }

  // A session of `waep run` that nobody closes is kept as long as its lease.
  const killings: Readonly<Record<string, [kill: (waep: ChildProcess) => void, leaseMs: number]>> =
    {
      'a program under waep run that is killed': [
        (waep) => process.kill(started(waep), 'SIGKILL'),
        0,
      ],
      'waep run, killed before its program': [(waep) => waep.kill('SIGKILL'), DEFAULT_LEASE_MS],
      'waep run, killed with its program': [killAll, DEFAULT_LEASE_MS],
    };
  for (const [what, [kill, leaseMs]] of Object.entries(killings)) {
    await t.test(what, async (t) => {
      const waep = await tool(transports.vsock);
      try {
        t.equal((await survivors(daemon)).length, TOOL_OBJECTS);
        kill(waep);
        t.pass(`gone after ${await extinction(leaseMs + TOLERANCE_MS, daemon)} ms`);
      } finally {
        killAll(waep);
      }
    });
  }

  await t.test('an executor that is killed', async (t) => {
    const client = await mortal(transports.vsock);
    t.equal((await survivors(daemon)).length, MORTAL_OBJECTS);
    await guest.sh('kill -9 $(pidof waep-executor)');
    t.pass(`gone after ${await extinction(TOLERANCE_MS, daemon)} ms`);
    client.kill('SIGKILL');
  });

  await t.test('a link that is cut', async (t) => {
    const client = await mortal(transports.tcp);
    const waep = await tool(transports.tcp);
    const all = MORTAL_OBJECTS + TOOL_OBJECTS;
    t.equal((await survivors(daemon)).length, all);
    const cutMs = performance.now();
    await guest.setLink(false);
    try {
      const left = (await survivors(daemon)).length;
      // What was asked too late says nothing.
      if (performance.now() < cutMs + SILENCE_MS / 2) {
        t.equal(left, all, 'at first there is no sign of it');
      }
      const tookMs = await extinction(SILENCE_MS + DEFAULT_LEASE_MS + TOLERANCE_MS, daemon);
      t.pass(`gone after ${tookMs} ms`);
    } finally {
      await guest.setLink(true);
      client.kill('SIGKILL');
      killAll(waep);
    }
  });

  for (const [transport, address] of Object.entries(transports)) {
    await t.test(`a client that is killed within its lease, over ${transport}`, async (t) => {
      const client = await mortal(address, LEASE_MS);
      const before = await survivors(daemon);
      t.equal(before.length, MORTAL_OBJECTS);
      // The lease begins later than this.
      const startMs = performance.now();
      client.kill('SIGKILL');
      await once(client, 'exit');
      while (performance.now() < startMs + LEASE_MS - 1500) {
        const now = await survivors(daemon);
        // What was asked too late says nothing.
        if (performance.now() < startMs + LEASE_MS) t.same(now, before, 'everything is there');
        await sleep(500);
      }
      await extinction(TOLERANCE_MS, daemon);
      const tookMs = performance.now() - startMs;
      t.ok(tookMs > LEASE_MS - 500, `gone after ${tookMs} ms`);
    });
  }

  await t.test('a session that is resumed', async (t) => {
    const session = await Session.connect(transports.vsock, { leaseMs: LONG_LEASE_MS, ...patient });
    const name = 'mortal';
    const map = await session.createMap({ type: 2, keySize: 4, valueSize: 8, maxEntries: 1, name });
    const key = Buffer.alloc(4);
    const value = Buffer.alloc(8, 7);
    await map.update(key, value);
    const program = await session.loadProgram({ type: 17, instructions, license: 'GPL', name });
    const link = await program.attachRawTracepoint(tracepoint);
    const before = await survivors(daemon);
    t.equal(before.length, MORTAL_OBJECTS);
    await session.resume();
    t.same(await map.lookup(key), Uint8Array.from(value));
    t.same(await survivors(daemon), before);
    await link.close();
    t.equal((await survivors(daemon)).length, 2, 'its handles are what they were');
    session.close();
    const tookMs = await extinction(TOLERANCE_MS, daemon);
    t.pass(`gone after ${tookMs} ms, without waiting for its lease`);
  });

  const { vsock, tcp } = transports;
  const lists = [[vsock], [tcp], [tcp, vsock]];
  await t.test('programs whose sessions end', async (t) => {
    const kill = () => guest.sh('kill -9 $(pidof waep-executor)');
    told(t, await bereaved(lists, kill), lists);
  });

  await t.test('programs whose guest is killed', async (t) => {
    const kill = () => process.kill(guest.processes.qemu, 'SIGKILL');
    told(t, await bereaved(lists, kill), lists);
  });
});

t.test('nothing survives a multiplexer that is killed', async (t) => {
  await using guest = await bootGuest('mux');
  // The transport that is left.
  const daemon = guest.execDaemon('network');
  const client = await mortal(guest.vsock());
  t.equal((await survivors(daemon)).length, MORTAL_OBJECTS);
  const lists = [[guest.vsock()]];
  const kill = () => process.kill(Number(guest.processes.vsock), 'SIGKILL');
  told(t, await bereaved(lists, kill), lists);
  t.pass(`gone after ${await extinction(SILENCE_MS + TOLERANCE_MS, daemon)} ms`);
  client.kill('SIGKILL');
});
