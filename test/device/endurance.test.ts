/* `npm run test:device`: what takes minutes with a device in the process and a guest. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { boot, type Guest } from '../../guest/index.js';
import { vhostUserVsock } from '../../guest/vm/qemu/devices.js';
import { connect, createServer, type Socket, VsockDevice } from '../../src/transport/index.js';
import { openDescriptors } from '../descriptors.js';
import { held } from '../soak/collector.js';
import { neededBytes } from '../soak/readings.js';
import { until } from '../until.js';
import { echoFiles, startEcho, startPouring } from './echo.js';
import { record } from './page.js';

const PORT = 7100;
const HOST_PORT = 7200;
const CYCLES = Number(process.env.WAEP_DEVICE_CYCLES ?? 100_000);
const REBOOTS = 20;
const REBINDS = 10;
const TALKERS = 8;
const STALLED = 50;
const POOL = 5000;
/** How often the pool is opened and closed, and after how many times the process has settled. */
const ROUNDS = 6;
const SETTLED_ROUNDS = 2;
/** What a socket may take while it is open, and may leave behind. */
const MAX_OPEN_BYTES = 16 * 1024;
const MAX_CLOSED_BYTES = 256;
const CREDIT_BYTES = 256 * 1024;
const MIB = 1024 * 1024;
/** Before round trips are measured, after much has changed. */
const SETTLING_MS = 3000;

t.setTimeout(3_600_000);

const files = await echoFiles();

async function bootWithEcho(t: Test): Promise<Guest> {
  const guest = await boot({ agent: false, exec: true, vsock: 'device', network: 'user', files });
  t.teardown(() => guest.stop());
  await startEcho(guest, PORT);
  return guest;
}

/** Reads as many bytes as the text has, whatever they are split into. */
async function echoes(socket: Socket, text: string): Promise<boolean> {
  socket.write(text);
  let got = '';
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    got += chunk;
    if (got.length >= text.length) break;
  }
  return got === text;
}

const heldBytes = async (): Promise<number> => neededBytes(await held());

const mib = (bytes: number) => `${(bytes / MIB).toFixed(1)} MiB`;
const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;

t.test('1 000 connections at a time', async (t) => {
  const guest = await bootWithEcho(t);
  const started = performance.now();
  const sockets = await Promise.all(
    Array.from({ length: 1000 }, () => connect(guest.vsock(PORT), { timeoutMs: 120_000 })),
  );
  const connected = performance.now();
  const answers = await Promise.all(sockets.map((socket, i) => echoes(socket, `number ${i}`)));
  const answered = performance.now();
  t.equal(answers.filter(Boolean).length, 1000);
  for (const socket of sockets) socket.destroy();
  record(
    '1 000 connections at a time',
    'each echoes',
    `made in ${seconds(connected - started)}, answered in ${seconds(answered - connected)}`,
  );
});

t.test(`${POOL} sockets at a time`, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'waep-sock-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const socket = join(folder, 'vhost.sock');
  await using device = await VsockDevice.open({ socket, maxConnections: 2 * POOL });
  const guest = await boot({
    agent: false,
    exec: true,
    vsock: 'none',
    network: 'user',
    files,
    devices: (machine) => [vhostUserVsock(machine, socket)],
  });
  t.teardown(() => guest.stop());
  await startEcho(guest, PORT);
  const open = async (count: number): Promise<Socket[]> => {
    const sockets: Socket[] = [];
    let left = count;
    const worker = async () => {
      while (left-- > 0) {
        const one = await connect(device.address(PORT), { timeoutMs: 120_000 });
        sockets.push(one);
        if (!(await echoes(one, 'x'))) throw new Error('the echo was another');
      }
    };
    await Promise.all(Array.from({ length: 16 }, worker));
    return sockets;
  };
  const close = async (sockets: readonly Socket[]) => {
    await Promise.all(
      sockets.map((one) => {
        one.destroy();
        return once(one, 'close');
      }),
    );
    // The guest's answers to the ends of the last ones are under way.
    await sleep(1000);
  };
  const beforeBytes = await heldBytes();
  const sockets = await open(POOL);
  const openBytes = ((await heldBytes()) - beforeBytes) / POOL;
  await close(sockets.splice(0));
  // What sockets leave behind comes again with each round. Room that the C library keeps between
  // what is in use does so in the first ones only.
  const closed: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    await close(await open(POOL));
    closed.push(await heldBytes());
  }
  t.comment(`held once they are closed: ${closed.map(mib).join(', ')}`);
  const [first = Number.NaN] = closed.slice(SETTLED_ROUNDS);
  const rounds = ROUNDS - SETTLED_ROUNDS - 1;
  const closedBytes = ((closed.at(-1) ?? Number.NaN) - first) / rounds / POOL;
  const figures = `${openBytes.toFixed(0)} bytes a socket while they are open, ${closedBytes.toFixed(0)} more for each that was opened and closed`;
  t.ok(openBytes < MAX_OPEN_BYTES && closedBytes < MAX_CLOSED_BYTES, figures);
  record(`${POOL} sockets at a time`, 'memory of the process, each having echoed', figures);
});

t.test(`${CYCLES} connections, one after another`, async (t) => {
  const guest = await bootWithEcho(t);
  const cycle = async () => {
    const socket = await connect(guest.vsock(PORT), { timeoutMs: 60_000 });
    const right = await echoes(socket, 'x');
    socket.destroy();
    await once(socket, 'close');
    if (!right) throw new Error('the echo was another');
  };
  const cycles = async (count: number) => {
    let left = count;
    const worker = async () => {
      while (left-- > 0) await cycle();
    };
    await Promise.all(Array.from({ length: 16 }, worker));
  };
  // A heap finds its size first.
  await cycles(CYCLES / 5);
  const descriptors = openDescriptors();
  const heldBeforeBytes = await heldBytes();
  const started = performance.now();
  await cycles(CYCLES - CYCLES / 5);
  const took = performance.now() - started;
  const more = () => `${descriptors} descriptors again, and not ${openDescriptors()}`;
  await until(more, () => openDescriptors() <= descriptors);
  const grown = (await heldBytes()) - heldBeforeBytes;
  t.ok(grown < 32 * MIB, `grew by ${grown} bytes`);
  record(
    `${CYCLES} connections made and closed`,
    '16 at a time',
    `${((CYCLES * 800) / took).toFixed(0)} a second; the process ${grown > 0 ? `grew by ${mib(grown)}` : 'did not grow'}, and has the same descriptors`,
  );
});

/** Round trips of 64 bytes for a time, in milliseconds, sorted. */
async function roundTripsMs(socket: Socket): Promise<number[]> {
  const samples: number[] = [];
  const end = performance.now() + 3000;
  for (let now = performance.now(); now < end; ) {
    await echoes(socket, 'x'.repeat(64));
    const then = now;
    now = performance.now();
    samples.push(now - then);
  }
  return samples.sort((a, b) => a - b);
}

const at = (sorted: readonly number[], share: number) =>
  sorted[Math.floor((sorted.length - 1) * share)] ?? Number.NaN;

/** Writes until the peer has taken nothing more for a second. Returns how much it has taken. */
async function fill(socket: Socket): Promise<number> {
  const gone = new AbortController();
  socket.on('error', () => gone.abort());
  for (;;) {
    if (socket.write(Buffer.alloc(65_536))) continue;
    const drained = once(socket, 'drain', { signal: gone.signal }).then(() => true);
    if (!(await Promise.race([drained, sleep(1000, false)]))) {
      drained.catch(() => {});
      return socket.bytesWritten - socket.writableLength;
    }
  }
}

t.test('stalled readers do not slow the others, and hold no more than their credit', async (t) => {
  const guest = await bootWithEcho(t);
  const one = await connect(guest.vsock(PORT));
  await roundTripsMs(one);
  const before = await roundTripsMs(one);
  const heldBeforeBytes = await heldBytes();
  // In the guest: its echo, whose answers nobody reads, takes no more.
  const stalled: Socket[] = [];
  for (let i = 0; i < STALLED; i++) {
    const socket = await connect(guest.vsock(PORT));
    socket.pause();
    stalled.push(socket);
  }
  const taken = await Promise.all(stalled.map(fill));
  const least = Math.min(...taken);
  t.ok(least >= CREDIT_BYTES, `each has taken its credit, the least one ${least} bytes`);
  // Here: what the guest pours stays in the device.
  const server = createServer({ pauseOnConnect: true }, (socket) => {
    stalled.push(socket.on('error', () => {}));
  }).listen(guest.vsock(HOST_PORT));
  await once(server, 'listening');
  await startPouring(guest, HOST_PORT, STALLED);
  await until('all that pour', () => stalled.length === 2 * STALLED);
  await sleep(SETTLING_MS);
  const beside = await roundTripsMs(one);
  const grown = (await heldBytes()) - heldBeforeBytes;
  for (const socket of stalled) socket.destroy();
  server.close();
  await sleep(SETTLING_MS);
  const after = await roundTripsMs(one);
  const alone = (at(before, 0.5) + at(after, 0.5)) / 2;
  const figures = [before, beside, after].map(
    (samples) => `${at(samples, 0.5).toFixed(3)} / ${at(samples, 0.99).toFixed(3)} ms`,
  );
  t.comment(`p50 / p99 before, beside and after stalled readers: ${figures.join(', ')}`);
  t.comment(`grew by ${mib(grown)}`);
  // Whoever waits for a reader waits for as long as it stalls. The figures themselves are recorded.
  t.ok(at(beside, 0.5) < alone * 5, figures.join(', '));
  // What is held here is in a queue that may be half empty, each socket buffers a little, and heaps
  // have holes.
  const mostBytes = 2 * STALLED * (2 * CREDIT_BYTES + 4 * 65_536) + 32 * MIB;
  t.ok(grown < mostBytes, `grew by ${grown} bytes`);
  record(
    `${STALLED} stalled readers on each side`,
    'a round trip of 64 bytes beside them, p50 / p99',
    `${figures[1]}; without them ${figures[0]} before and ${figures[2]} after`,
  );
  record(
    `${STALLED} stalled readers on each side`,
    'memory',
    `the process grew by ${mib(grown)}; ${mib(2 * STALLED * CREDIT_BYTES)} is their credit`,
  );
  one.destroy();
});

t.test('the driver is unbound and bound', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'waep-sock-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const socket = join(folder, 'vhost.sock');
  await using device = await VsockDevice.open({ socket });
  // Commands must not travel on what is taken away.
  const guest = await boot({
    agent: false,
    exec: true,
    vsock: 'none',
    network: 'user',
    files,
    devices: (machine) => [vhostUserVsock(machine, socket)],
  });
  t.teardown(() => guest.stop());
  await startEcho(guest, PORT);
  const endings: string[] = [];
  let running = true;
  const spokeAtMs = Array<number>(TALKERS).fill(0);
  const keepTalking = async (_: number, talker: number) => {
    while (running) {
      try {
        const talk = await connect(device.address(PORT), { timeoutMs: 60_000, retryDelayMs: 20 });
        while (await echoes(talk, 'y'.repeat(1000))) spokeAtMs[talker] = performance.now();
      } catch (error) {
        if (running) endings.push((error as NodeJS.ErrnoException).code ?? String(error));
      }
    }
  };
  const talkers = spokeAtMs.map(keepTalking);
  await guest.sh(`
    cd /sys/bus/virtio/drivers/vmw_vsock_virtio_transport
    device=$(ls -d virtio* | head -n 1)
    for i in $(seq ${REBINDS}); do sleep 1; echo $device > unbind; sleep 0.2; echo $device > bind; done`);
  const reboundMs = performance.now();
  const allSpeak = () => spokeAtMs.every((at) => at > reboundMs);
  await until('a connection again for all of them', allSpeak);
  running = false;
  await guest.stop();
  await Promise.all(talkers);
  t.equal(endings.length, REBINDS * TALKERS, 'each connection ended each time');
  t.same([...new Set(endings)], ['ECONNRESET'], 'in an error that says why');
  record(
    `the driver unbound and bound, ${REBINDS} times`,
    `${TALKERS} connections that are made anew`,
    `${endings.length} ended, each in ${[...new Set(endings)].join(', ')}`,
  );
});

t.test(`${REBOOTS} reboots under load, and QEMU killed`, async (t) => {
  const guest = await boot({
    agent: false,
    exec: true,
    vsock: 'device',
    network: 'none',
    files,
    devices: [{ name: 'reboots', args: ['-action', 'reboot=reset'] }],
    deadlineMs: 120_000,
  });
  t.teardown(() => guest.stop());
  const before = openDescriptors();
  const outcomes: string[] = [];
  for (let i = 0; i < REBOOTS; i++) {
    await startEcho(guest, PORT);
    const sockets = await Promise.all(
      Array.from({ length: 20 }, () => connect(guest.vsock(PORT), { timeoutMs: 60_000 })),
    );
    const ends = sockets.map(async (socket) => {
      socket.on('data', (chunk) => socket.write(chunk)).write('z'.repeat(3000));
      const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
      return error.code ?? '';
    });
    await guest.qmp('system_reset');
    outcomes.push(...(await Promise.all(ends)));
    const again = await connect(guest.vsock(1023), { timeoutMs: 120_000, retryDelayMs: 100 });
    again.destroy();
  }
  t.same([...new Set(outcomes)], ['ECONNRESET'], 'each connection ends in ECONNRESET');
  t.ok(openDescriptors() <= before + 4);
  record(
    `${REBOOTS} reboots of the guest`,
    '20 connections under load each time',
    `${outcomes.length} ended, each in ${[...new Set(outcomes)].join(', ')}`,
  );

  await startEcho(guest, PORT);
  const last = await connect(guest.vsock(PORT));
  process.kill(guest.processes.qemu, 'SIGKILL');
  const [error] = (await once(last, 'error')) as [NodeJS.ErrnoException];
  t.equal(error.code, 'EHOSTDOWN');
  const refused = await connect(guest.vsock(PORT)).catch((cause: NodeJS.ErrnoException) => cause);
  t.match(refused, { code: 'ENODEV' });
  record('QEMU killed', 'a live connection, and the next', `${error.code}, then ENODEV`);
});
