import { once } from 'node:events';
import { existsSync, statSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import net from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { errnoName } from '../../src/errno.js';
import { native } from '../../src/native.js';
import { connect, createServer, VsockDevice } from '../../src/transport/index.js';
import { openDescriptors } from '../descriptors.js';
import { until } from '../until.js';
import { socketFolder } from './fake-mux.js';

const folder = socketFolder();
t.teardown(() => rm(folder, { recursive: true, force: true }));

t.test('a device listens for QEMU, for this user only, until it is closed', async (t) => {
  const before = openDescriptors();
  const socket = join(folder, 'one.sock');
  const device = await VsockDevice.open({ socket });
  t.equal(statSync(socket).mode & 0o777, 0o600);
  t.equal(device.running, false);
  t.equal(device.address(7), `vsock-device:${socket}:7`);
  await t.rejects(VsockDevice.open({ socket }), { code: 'EADDRINUSE' });
  await t.rejects(VsockDevice.open({ socket, path: join(folder, 'other') }), {
    code: 'EADDRINUSE',
  });
  await device.close();
  await device.close();
  t.notOk(existsSync(socket));
  await until('the end of every descriptor', () => openDescriptors() <= before);
});

t.test('whatever a connection of a device ends in has a name', (t) => {
  // What addon/core/transport/vsock_device.h promises, by Linux's numbers.
  const codes = { EADDRINUSE: 98, ECONNABORTED: 103, ECONNRESET: 104, EHOSTDOWN: 112 };
  const more = { EBADF: 9, ENODEV: 19, EPIPE: 32, ENOBUFS: 105, ENOTCONN: 107 };
  for (const [name, number] of Object.entries({ ...codes, ...more })) {
    t.equal(errnoName(number), name);
  }
  t.end();
});

t.test('what is wrong with its options is said', async (t) => {
  await t.rejects(VsockDevice.open({ socket: 'relative' }), { code: 'ERR_ADDRESS_INVALID' });
  const socket = join(folder, 'options.sock');
  await t.rejects(VsockDevice.open({ socket, guestCid: 2 }), { code: 'ERR_OPTION_INVALID' });
  const socketOfNoFolder = join(folder, 'no/folder');
  await t.rejects(VsockDevice.open({ socket: socketOfNoFolder }), {
    code: 'ENOENT',
    syscall: 'listen',
    address: socketOfNoFolder,
    message: `listen ENOENT ${socketOfNoFolder}: its folder does not exist; make it first`,
  });
  await t.rejects(VsockDevice.open({} as { socket: string }), {
    code: 'ERR_OPTION_INVALID',
    message: 'Invalid socket: undefined. Expected an absolute path.',
  });
});

t.test('without a guest there is nobody to connect to', async (t) => {
  await using device = await VsockDevice.open({ socket: join(folder, 'lonely.sock') });
  await t.rejects(connect(device.address(1024)), { code: 'ENODEV', syscall: 'connect' });
  await t.rejects(connect(device.address(1024), { bufferBytes: 4096 }), {
    code: 'ERR_TRANSPORT_UNSUPPORTED',
  });
  await t.rejects(connect(device.address(1024), { timeoutMs: 100, retryDelayMs: 20 }), {
    code: 'ENODEV',
  });
});

t.test('a port has one listener, which ends with the device', async (t) => {
  const device = await VsockDevice.open({ socket: join(folder, 'listen.sock') });
  const first = device.listen(80, () => {});
  await once(first, 'listening');
  const [error] = await once(createServer().listen(device.address(80)), 'error');
  t.match(error, { code: 'EADDRINUSE' });
  // Not once(), which takes an 'error' for its own.
  const closed = new Promise<void>((resolve) => first.once('close', () => resolve()));
  const [failure] = await Promise.all([once(first, 'error'), device.close()]);
  t.match(failure[0], { code: 'ECONNABORTED' });
  await closed;
});

t.test('who is told that a device is closed may close what has not been told yet', (t) => {
  const settings = { guestCid: 3, bufferBytes: 65_536, maxConnections: 4 };
  const socket = join(folder, 'told.sock');
  const device = new native.Device(
    socket,
    settings,
    () => {},
    () => {},
  );
  const ends: number[] = [];
  const onEnd = (status: number) => {
    ends.push(status);
    for (const channel of channels) channel.close();
  };
  const none = () => {};
  const channels = [1, 2, 3].map(
    (stream) => new native.Channel({ device, stream }, 1024, none, onEnd, none),
  );
  device.close();
  t.same(
    ends.map((status) => errnoName(-status)),
    ['ECONNABORTED'],
  );
  t.end();
});

t.test('a VMM that talks nonsense is dropped, and the next one is served', async (t) => {
  const socket = join(folder, 'nonsense.sock');
  await using device = await VsockDevice.open({ socket });
  const getFeatures = Buffer.from([1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
  for (const nonsense of [
    Buffer.alloc(12, 0xff),
    Buffer.from([99, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]),
  ]) {
    const vmm = net.connect(socket);
    vmm.write(getFeatures);
    const [answer] = (await once(vmm, 'data')) as [Buffer];
    t.equal(answer.length, 20);
    t.equal(answer.readBigUInt64LE(12) & (1n << 32n), 1n << 32n, 'VIRTIO_F_VERSION_1');
    vmm.write(nonsense);
    await once(vmm, 'close');
  }
  t.equal(device.running, false);
});

t.test('the multiplexer answers its own users, and nobody else', async (t) => {
  const path = join(folder, 'mux');
  await using device = await VsockDevice.open({
    socket: join(folder, 'mux.sock'),
    path,
    multiplexer: true,
  });
  t.equal(device.address(1), `vsock-device:${path}:1`);
  for (const line of ['CONNECT 1024\n', 'CONNECT x\n', 'CONNECT 0\n', `${'C'.repeat(64)}`]) {
    const client = net.connect(path);
    client.write(line);
    t.equal(await text(client), '', `${JSON.stringify(line)} is closed without an answer`);
  }
  await t.rejects(connect(`vsock-mux:${path}:1024`), { code: 'ERR_MUX_REFUSED' });
});

t.test('a worker may end with a device open', async (t) => {
  const before = openDescriptors();
  for (const [ending, expected] of [
    ['process.exit()', []],
    ['throw new Error("on purpose")', ['on purpose']],
    ['await device.close()', ['accept ECONNABORTED host(2):80']],
  ] as const) {
    const worker = new Worker(
      `const { workerData } = require('node:worker_threads');
       import(workerData.module).then(async ({ VsockDevice }) => {
         const device = await VsockDevice.open({ socket: workerData.socket, multiplexer: true, path: workerData.socket + '.mux' });
         device.listen(80, () => {});
         ${ending};
       });`,
      {
        eval: true,
        workerData: {
          module: new URL('../../src/transport/index.js', import.meta.url).href,
          socket: join(folder, 'worker.sock'),
        },
      },
    );
    const errors: string[] = [];
    worker.on('error', (error) => errors.push(error.message));
    await new Promise((resolve) => worker.on('exit', resolve));
    t.same(errors, expected, ending);
  }
  await until('the end of every descriptor', () => openDescriptors() <= before);
});
