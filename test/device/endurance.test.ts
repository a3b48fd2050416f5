/* `npm run test:device`: what takes minutes with a device in the process and a guest. */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { boot, type Guest } from '../../guest/index.js';
import { connect, type Socket } from '../../src/transport/index.js';
import { openDescriptors } from '../descriptors.js';
import { compileEcho, ECHO } from './echo.js';

const PORT = 7100;
const CYCLES = Number(process.env.WAEP_DEVICE_CYCLES ?? 100_000);
const REBOOTS = 20;

t.setTimeout(3_600_000);

const files = { [ECHO]: { source: await compileEcho(), mode: 0o755 } };

async function bootWithEcho(t: Test): Promise<Guest> {
  const guest = await boot({ agent: false, lab: true, vsock: 'device', network: 'user', files });
  t.teardown(() => guest.stop());
  const echo = await guest.spawn([ECHO, String(PORT)]);
  await once(echo.stdout, 'data');
  return guest;
}

async function echoes(socket: Socket, text: string): Promise<boolean> {
  socket.write(text);
  let got = '';
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    got += chunk;
    if (got.length >= text.length) break;
  }
  return got === text;
}

t.test('1 000 connections at a time', async (t) => {
  const guest = await bootWithEcho(t);
  const sockets = await Promise.all(
    Array.from({ length: 1000 }, () => connect(guest.vsock(PORT), { timeoutMs: 120_000 })),
  );
  const answers = await Promise.all(sockets.map((socket, i) => echoes(socket, `number ${i}`)));
  t.equal(answers.filter(Boolean).length, 1000);
  for (const socket of sockets) socket.destroy();
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
  for (let i = 0; i < 1000; i++) await cycle();
  global.gc?.();
  const descriptors = openDescriptors();
  const rssBytes = process.memoryUsage.rss();
  let left = CYCLES - 1000;
  const worker = async () => {
    while (left-- > 0) await cycle();
  };
  await Promise.all(Array.from({ length: 16 }, worker));
  t.equal(openDescriptors(), descriptors);
  const grown = process.memoryUsage.rss() - rssBytes;
  t.ok(grown < 64 * 1024 * 1024, `grew by ${grown} bytes`);
});

t.test('a stalled reader does not slow the others', async (t) => {
  const guest = await bootWithEcho(t);
  const rate = async (socket: Socket): Promise<number> => {
    const start = performance.now();
    let count = 0;
    while (performance.now() - start < 3000) {
      await echoes(socket, 'x'.repeat(64));
      count++;
    }
    return count / 3;
  };
  const one = await connect(guest.vsock(PORT));
  const alone = await rate(one);
  // It sends until the guest's echo, whose answers nobody reads, takes no more.
  const stalled = await connect(guest.vsock(PORT));
  stalled.pause();
  while (stalled.write(Buffer.alloc(65536))) await sleep(1);
  await sleep(1000);
  const beside = await rate(one);
  t.comment(
    `${alone.toFixed(0)} round trips a second alone, ${beside.toFixed(0)} beside a stalled one`,
  );
  t.ok(beside > alone * 0.7, `${alone} alone, ${beside} beside`);
  one.destroy();
  stalled.destroy();
});

t.test('the driver is unbound and bound', async (t) => {
  const guest = await bootWithEcho(t);
  // Commands must not travel on what is taken away.
  const script = `
    cd /sys/bus/virtio/drivers/vmw_vsock_virtio_transport
    device=$(ls -d virtio* | head -n 1)
    for i in 1 2 3 4 5; do sleep 0.5; echo $device > unbind; sleep 0.2; echo $device > bind; done`;
  await guest.writeFile('/tmp/rebind', script, 0o755);
  const endings: string[] = [];
  let running = true;
  const keepTalking = async () => {
    while (running) {
      try {
        const socket = await connect(guest.vsock(PORT), { timeoutMs: 5000, retryDelayMs: 20 });
        while (await echoes(socket, 'y'.repeat(1000)));
      } catch (error) {
        if (running) endings.push((error as NodeJS.ErrnoException).code ?? String(error));
      }
    }
  };
  const talkers = Array.from({ length: 8 }, keepTalking);
  await guest.sh('setsid /bin/sh /tmp/rebind > /dev/null 2>&1 < /dev/null &');
  await sleep(10_000);
  running = false;
  await guest.stop();
  await Promise.all(talkers);
  t.ok(endings.length >= 8, `${endings.length} connections ended`);
  t.same([...new Set(endings)], ['ECONNRESET'], 'each in an error that says why');
});

t.test(`${REBOOTS} reboots under load, and QEMU killed`, async (t) => {
  const guest = await boot({
    agent: false,
    lab: true,
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
    const echo = await guest.spawn([ECHO, String(PORT)]);
    await once(echo.stdout, 'data');
    echo.ended.catch(() => {});
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

  const echo = await guest.spawn([ECHO, String(PORT)]);
  await once(echo.stdout, 'data');
  echo.ended.catch(() => {});
  const last = await connect(guest.vsock(PORT));
  process.kill(guest.processes.qemu, 'SIGKILL');
  const [error] = (await once(last, 'error')) as [NodeJS.ErrnoException];
  t.equal(error.code, 'EHOSTDOWN');
  const refused = await connect(guest.vsock(PORT)).catch((cause: NodeJS.ErrnoException) => cause);
  t.match(refused, { code: 'ENODEV' });
});
