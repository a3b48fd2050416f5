import { once } from 'node:events';
import { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { PollEvent } from '../../src/native.js';
import { type Opening, VsockSocket, type VsockSocketOptions } from '../../src/transport/index.js';
import { FakeSystem } from './fake-system.js';

const EAGAIN = -11;
const EPIPE = -32;
const ECONNRESET = -104;
const ENOTCONN = -107;
const FD = 77;

function make(options: Partial<VsockSocketOptions> = {}): {
  system: FakeSystem;
  socket: VsockSocket;
} {
  const system = new FakeSystem();
  const socket = new VsockSocket({
    transport: 'vsock',
    halfClose: true,
    source: FD,
    remoteEndpoint: { address: 'vm(3)', port: 1024, cid: 3 },
    localEndpoint: { address: 'host(2)', port: 5000, cid: 2 },
    system,
    ...options,
  });
  return { system, socket };
}

/** A socket that still connects, and the report it waits for. */
function makeConnecting(options: Partial<VsockSocketOptions> = {}): {
  system: FakeSystem;
  socket: VsockSocket;
  opening: Opening;
  cancelled: () => number;
} {
  let opening: Opening | undefined;
  let cancels = 0;
  const made = make({
    localEndpoint: undefined,
    source: (given) => {
      opening = given;
      return () => {
        cancels += 1;
      };
    },
    ...options,
  });
  if (opening === undefined) throw new Error('the opener was not called');
  return { ...made, opening, cancelled: () => cancels };
}

const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

t.test('tells who is connected to whom', (t) => {
  const { socket } = make();
  t.match(socket, {
    transport: 'vsock',
    halfClose: true,
    connecting: false,
    pending: false,
    readyState: 'open',
    remoteAddress: 'vm(3)',
    remotePort: 1024,
    remoteCid: 3,
    remoteFamily: 'vsock',
    localAddress: 'host(2)',
    localPort: 5000,
  });
  t.same(socket.address(), { address: 'host(2)', family: 'vsock', port: 5000 });
  t.equal(socket.setNoDelay(), socket);
  t.equal(socket.setKeepAlive(), socket);
  t.throws(() => socket.connect(1), { code: 'ERR_TRANSPORT_UNSUPPORTED' }, 'it was accepted');
  socket.destroy();
  t.end();
});

for (const [how, begin] of Object.entries({
  "a 'data' listener": (socket: VsockSocket, received: string[]) =>
    socket.on('data', (chunk) => received.push(String(chunk))),
  "a 'readable' listener": (socket: VsockSocket, received: string[]) =>
    socket.on('readable', () => {
      const chunk = socket.read();
      if (chunk !== null) received.push(String(chunk));
    }),
  'pipe()': (socket: VsockSocket, received: string[]) =>
    socket.pipe(
      new Writable({
        write(chunk, _encoding, done) {
          received.push(String(chunk));
          done();
        },
      }),
    ),
  'read(0)': (socket: VsockSocket, received: string[]) => {
    socket.read(0);
    socket.once('connect', () => socket.on('data', (chunk) => received.push(String(chunk))));
  },
})) {
  t.test(`${how} from before the connection receives what comes after it`, async (t) => {
    const { system, socket, opening } = makeConnecting();
    const received: string[] = [];
    begin(socket, received);
    await tick();
    opening.opened(FD);
    await tick();
    t.equal(system.poller.events & PollEvent.READABLE, PollEvent.READABLE);
    system.received.push(Buffer.from('hello'));
    system.ready();
    await tick();
    t.same(received, ['hello']);
    socket.destroy();
  });
}

t.test('an EAGAIN in the middle of a write waits for the watch', async (t) => {
  const { system, socket } = make();
  let written = false;
  system.sends.push(3, EAGAIN);
  socket.write('hello world', () => {
    written = true;
  });
  await tick();
  t.equal(system.poller.events & PollEvent.WRITABLE, PollEvent.WRITABLE);
  t.equal(socket.bytesWritten, 11, 'what waits here counts');
  t.notOk(written);
  system.sends.push(2, 100);
  system.ready(PollEvent.WRITABLE);
  await tick();
  t.ok(written);
  t.equal(Buffer.concat(system.sent).toString(), 'hello world');
  t.equal(socket.bytesWritten, 11);
  system.ready(PollEvent.WRITABLE);
  t.equal(system.poller.events & PollEvent.WRITABLE, 0, 'an idle socket does not spin');
  socket.destroy();
});

t.test('queued writes leave as one message and drain is emitted', async (t) => {
  const { system, socket } = make();
  const half = Buffer.alloc(socket.writableHighWaterMark, 'x');
  t.notOk(socket.write(half));
  socket.write('one');
  socket.write('two');
  const drained = once(socket, 'drain');
  system.sends.push(half.length, 6);
  system.ready(PollEvent.WRITABLE);
  await drained;
  t.equal(system.sent.length, 2);
  t.equal(system.sent[1]?.toString(), 'onetwo');
  socket.destroy();
});

for (const { name, errno, code } of [
  { name: 'EPIPE', errno: EPIPE, code: 'EPIPE' },
  { name: 'a reset', errno: ECONNRESET, code: 'ECONNRESET' },
]) {
  t.test(`${name} on write destroys the socket with the kernel's facts`, async (t) => {
    const { system, socket } = make();
    system.sends.push(errno);
    const failed = once(socket, 'error');
    const closed = new Promise((resolve) => socket.once('close', (...args) => resolve(args)));
    let reported: Error | null | undefined;
    socket.write('x', (error) => {
      reported = error;
    });
    const [error] = await failed;
    t.match(error, { code, errno, syscall: 'write', address: 'vm(3)', port: 1024 });
    t.equal(reported, error);
    t.same(await closed, [true], 'close says that there was an error');
    t.same(system.closed, [FD]);
  });
}

t.test('a reset on read', async (t) => {
  const { system, socket } = make();
  const failed = once(socket, 'error');
  system.readable(ECONNRESET);
  const [error] = await failed;
  t.match(error, { code: 'ECONNRESET', errno: ECONNRESET, syscall: 'read', address: 'vm(3)' });
  t.same(system.closed, [FD]);
});

t.test('what SO_ERROR says when the watch reports an error', async (t) => {
  const { system, socket } = make();
  const failed = once(socket, 'error');
  system.socketErrors.push(ECONNRESET);
  system.poller.fire(-9, 0);
  const [error] = await failed;
  t.match(error, { code: 'ECONNRESET', syscall: 'read' });
});

t.test('a watch that reports an error without SO_ERROR leaves it to the calls', async (t) => {
  const { system, socket } = make();
  socket.resume();
  const ended = once(socket, 'end');
  system.received.push(0);
  system.poller.fire(-9, 0);
  await ended;
  t.pass();
});

t.test('data, the end, and the automatic close', async (t) => {
  const { system, socket } = make();
  const events: string[] = [];
  socket.on('data', (data) => events.push(`data ${data}`));
  socket.on('end', () => events.push('end'));
  socket.on('finish', () => events.push('finish'));
  const closed = once(socket, 'close');
  await tick();
  system.readable(Buffer.from('abc'));
  system.readable(0);
  t.same(await closed, [false]);
  t.same(events, ['data abc', 'end', 'finish']);
  t.equal(socket.bytesRead, 3);
  t.same(system.shutdowns, [1]);
  t.same(system.closed, [FD]);
  t.equal(socket.readyState, 'closed');
});

t.test('the end is noticed although nobody reads', async (t) => {
  const { system, socket } = make();
  const closed = once(socket, 'close');
  await tick();
  system.readable(0);
  await closed;
  t.same(system.closed, [FD]);
});

t.test('allowHalfOpen keeps the other direction', async (t) => {
  const { system, socket } = make({ allowHalfOpen: true });
  socket.resume();
  const ended = once(socket, 'end');
  system.readable(0);
  await ended;
  await tick();
  t.equal(socket.readyState, 'writeOnly');
  t.same(system.closed, []);
  system.sends.push(4);
  const closed = once(socket, 'close');
  socket.end('late');
  await closed;
  t.equal(Buffer.concat(system.sent).toString(), 'late');
});

t.test('end() shuts down only when everything has been sent', async (t) => {
  const { system, socket } = make();
  socket.end('slow');
  await tick();
  t.same(system.shutdowns, []);
  t.equal(socket.readyState, 'readOnly');
  system.sends.push(4);
  system.ready(PollEvent.WRITABLE);
  await tick();
  t.same(system.shutdowns, [1]);
  system.readable(0);
  await once(socket, 'close');
});

t.test('a peer that has gone already does not make end() fail', async (t) => {
  const { system, socket } = make();
  system.shutdownResult = ENOTCONN;
  socket.resume();
  socket.end();
  await once(socket, 'finish');
  system.readable(0);
  t.same(await once(socket, 'close'), [false]);
});

t.test('a shutdown that fails otherwise is an error', async (t) => {
  const { system, socket } = make();
  system.shutdownResult = -5;
  const failed = once(socket, 'error');
  socket.end();
  const [error] = await failed;
  t.match(error, { code: 'EIO', syscall: 'shutdown' });
});

t.test('a reader that is slow stops the receiving', async (t) => {
  const { system, socket } = make();
  socket.pause();
  await tick();
  const chunk = Buffer.alloc(65536, 'x');
  for (let i = 0; i < 20; i++) system.received.push(chunk);
  system.ready(PollEvent.READABLE);
  system.ready(PollEvent.READABLE);
  t.equal(socket.readableLength, 65536, 'no more than the high-water mark asked for');
  t.equal(system.poller.events & PollEvent.READABLE, 0, 'and the watch is off');
  socket.resume();
  await tick();
  t.equal(system.poller.events & PollEvent.READABLE, PollEvent.READABLE);
  while (system.received.length > 0) {
    system.ready(PollEvent.READABLE);
    await tick();
  }
  t.equal(socket.bytesRead, 20 * 65536);
  socket.destroy();
});

t.test('each chunk has bytes of its own', async (t) => {
  const { system, socket } = make();
  const chunks: Buffer[] = [];
  socket.on('data', (data: Buffer) => chunks.push(data));
  await tick();
  const sizes = [1, 40_000, 65_536, 3, 33_000];
  for (const [index, size] of sizes.entries()) system.readable(Buffer.alloc(size, index + 1));
  t.same(
    chunks.map((chunk) => chunk.length),
    sizes,
  );
  for (const [index, chunk] of chunks.entries()) {
    t.ok(chunk.every((byte) => byte === index + 1));
  }
  socket.destroy();
});

t.test('one busy socket does not keep the loop', async (t) => {
  const { system, socket } = make();
  socket.resume();
  await tick();
  for (let i = 0; i < 50; i++) system.received.push(Buffer.alloc(65536));
  system.ready(PollEvent.READABLE);
  t.ok(system.received.length > 0, `${system.received.length} chunks are left for later`);
  socket.destroy();
});

t.test('destroy() in a data listener', async (t) => {
  const { system, socket } = make();
  socket.on('data', () => socket.destroy());
  await tick();
  const closed = once(socket, 'close');
  system.readable(Buffer.alloc(65536), Buffer.from('never'));
  await closed;
  t.equal(system.received.length, 1, 'nothing is read from a closed descriptor');
  t.same(system.closed, [FD], 'and it is closed once');
});

t.test('destroy() fails the write that is under way', async (t) => {
  const { socket } = make();
  const outcome = new Promise<Error | null | undefined>((resolve) => {
    socket.write('never', resolve);
  });
  socket.on('error', () => t.fail('destroy() without an error emits none'));
  await tick();
  socket.destroy();
  t.match(await outcome, { code: 'ECANCELED', syscall: 'write' });
  t.same(await once(socket, 'close'), [false]);
});

t.test('connecting: writes and the end wait, then go out in order', async (t) => {
  const { system, socket, opening } = makeConnecting();
  const events: string[] = [];
  for (const event of ['connect', 'ready', 'finish']) socket.on(event, () => events.push(event));
  t.match(socket, { connecting: true, pending: true, readyState: 'opening' });
  socket.write('a');
  socket.end('b');
  await tick();
  system.sends.push(1, 1);
  opening.opened(FD, { address: 'host(2)', port: 9, cid: 2 });
  await tick();
  t.same(events, ['connect', 'ready', 'finish']);
  t.equal(Buffer.concat(system.sent).toString(), 'ab');
  t.match(socket, { connecting: false, localAddress: 'host(2)', localPort: 9 });
  system.readable(0);
  await once(socket, 'close');
});

t.test('connecting: a failure is emitted and nothing is cancelled', async (t) => {
  const { socket, opening, cancelled } = makeConnecting();
  const failed = once(socket, 'error');
  opening.failed(new Error('no'));
  t.match(await failed, [{ message: 'no' }]);
  t.equal(cancelled(), 0);
});

t.test(
  'connect() with a destination is answered by the connection that is made anyway',
  async (t) => {
    const { socket, opening } = makeConnecting();
    const connected = new Promise<void>((resolve) => {
      t.equal(socket.connect(5432, 'localhost', resolve), socket);
    });
    opening.opened(FD);
    await connected;
    await new Promise<void>((resolve) => socket.connect(5432, 'localhost', resolve));
    await new Promise<void>((resolve) => {
      socket.once('connect', resolve);
      socket.connect({ port: 5432 });
    });
    socket.end();
    t.throws(() => socket.connect(5432), {
      code: 'ERR_TRANSPORT_UNSUPPORTED',
      message: /Make a new socket/,
    });
    socket.destroy();
  },
);

t.test('connecting: destroy() fails what was written with the code of node:net', async (t) => {
  const { socket } = makeConnecting();
  const outcome = new Promise((resolve) => socket.write('never', resolve));
  socket.destroy();
  t.match(await outcome, { code: 'ERR_SOCKET_CLOSED_BEFORE_CONNECTION' });
});

t.test('onread: bytes go into the buffer, and false pauses', async (t) => {
  const received: string[] = [];
  const buffer = Buffer.alloc(4);
  let more = true;
  const { system, socket } = make({
    onread: {
      buffer,
      callback(sizeBytes, used) {
        received.push(Buffer.from(used.subarray(0, sizeBytes)).toString());
        return more;
      },
    },
  });
  socket.on('data', () => t.fail("no 'data' is emitted"));
  await tick();
  system.readable(Buffer.from('abcdef'));
  t.same(received, ['abcd', 'ef']);
  more = false;
  system.readable(Buffer.from('ghijkl'));
  t.same(received, ['abcd', 'ef', 'ghij'], 'nothing is read after false');
  t.equal(system.received.length, 1);
  more = true;
  socket.resume();
  system.ready();
  t.same(received, ['abcd', 'ef', 'ghij', 'kl']);
  t.equal(socket.bytesRead, 12);
  const ended = once(socket, 'end');
  system.readable(0);
  await ended;
});

t.test('onread: a function that returns no room is told, and is no end', async (t) => {
  for (const room of [Buffer.alloc(0), undefined]) {
    const { system, socket } = make({
      onread: { buffer: () => room as Uint8Array, callback: () => true },
    });
    socket.on('end', () => t.fail('nothing has ended'));
    const failed = once(socket, 'error');
    await tick();
    system.readable(Buffer.from('abc'));
    t.match((await failed)[0], { code: 'ERR_INVALID_ARG_TYPE', message: /onread\.buffer/ });
  }
});

t.test('setTimeout() refuses what node:net refuses', (t) => {
  const { socket } = make();
  const wrong = (value: unknown) => () => socket.setTimeout(value as number);
  for (const value of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
    t.throws(wrong(value), { code: 'ERR_OUT_OF_RANGE' });
  }
  t.throws(wrong('5'), { code: 'ERR_INVALID_ARG_TYPE' });
  t.throws(() => socket.setTimeout(5, 7 as never), { code: 'ERR_INVALID_ARG_TYPE' });
  socket.destroy();
  t.end();
});

t.test('connecting: destroy() cancels once', async (t) => {
  const { socket, cancelled } = makeConnecting();
  socket.destroy();
  await once(socket, 'close');
  socket.destroy();
  t.equal(cancelled(), 1);
});

t.test('connecting: unref() is remembered', (t) => {
  const { system, socket, opening } = makeConnecting();
  socket.unref();
  opening.opened(FD);
  t.notOk(system.poller.refed);
  socket.ref();
  t.ok(system.poller.refed);
  socket.destroy();
  t.end();
});

t.test('a watch that cannot be made is an error of the socket', async (t) => {
  const { system, socket, opening } = makeConnecting();
  const failed = once(socket, 'error');
  Object.assign(system, {
    Poller: class {
      constructor() {
        throw Object.assign(new Error('poll'), { code: 'EEXIST' });
      }
    },
  });
  opening.opened(FD);
  t.match(await failed, [{ code: 'EEXIST' }]);
  t.same(system.closed, [FD]);
});

t.test('destroySoon() waits for what was written', async (t) => {
  const { system, socket } = make();
  socket.write('last words');
  socket.destroySoon();
  t.notOk(socket.destroyed);
  system.sends.push(100);
  system.ready(PollEvent.WRITABLE);
  await once(socket, 'close');
  t.equal(Buffer.concat(system.sent).toString(), 'last words');
});

t.test('the idle timeout starts again with every byte', async (t) => {
  // Stands for the watch, which is what keeps a process alive outside of this test.
  const alive = setInterval(() => {}, 1000);
  t.teardown(() => clearInterval(alive));
  const { system, socket } = make();
  const idleMs = 60;
  socket.setTimeout(idleMs);
  t.equal(socket.timeout, idleMs);
  socket.resume();
  // Long enough that the timeout comes too early unless the byte puts it off.
  await sleep((idleMs * 2) / 3);
  const lastMs = performance.now();
  system.readable(Buffer.from('x'));
  await once(socket, 'timeout');
  const sinceMs = performance.now() - lastMs;
  // Timers count whole milliseconds.
  t.ok(sinceMs > idleMs - 2, `after ${sinceMs} ms without a byte`);
  socket.setTimeout(0);
  t.throws(() => socket.setTimeout(-1), { code: 'ERR_OUT_OF_RANGE' });
  socket.destroy();
});

t.test('no half-close: end() ends both directions within its linger time', async (t) => {
  // Stands for the watch, which is what keeps a process alive outside of this test.
  const alive = setInterval(() => {}, 1000);
  t.teardown(() => clearInterval(alive));
  const { system, socket } = make({ halfClose: false, allowHalfOpen: true });
  socket.resume();
  system.sends.push(3);
  socket.end('bye');
  await once(socket, 'finish');
  t.same(system.shutdowns, [1]);
  await once(socket, 'close');
  t.same(system.closed, [FD]);
});

t.test('no half-close: what arrived before is still read', async (t) => {
  const { system, socket } = make({ halfClose: false });
  socket.end();
  await once(socket, 'finish');
  system.readable(Buffer.from('late'), 0);
  system.ready(PollEvent.READABLE);
  const chunks = await socket.toArray();
  t.equal(Buffer.concat(chunks).toString(), 'late');
  await finished(socket).catch(() => {});
  t.same(system.closed, [FD]);
});
