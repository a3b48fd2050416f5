import { once } from 'node:events';
import t from 'tap';
import { PollEvent } from '../../src/native.js';
import {
  Cid,
  connect,
  createConnection,
  type Listener,
  PORT_ANY,
  type Socket,
  type VsockAddress,
} from '../../src/transport/index.js';
import { type ResolvedConnectOptions, resolveConnectOptions } from '../../src/transport/options.js';
import { makeVsockTransport, type VsockSystem } from '../../src/transport/vsock.js';
import { until } from '../until.js';
import { FakeSystem } from './fake-system.js';

const EACCES = -13;
const EAGAIN = -11;
const EADDRINUSE = -98;
const EADDRNOTAVAIL = -99;
const ECONNABORTED = -103;
const ECONNRESET = -104;
const EINPROGRESS = -115;
const EMFILE = -24;
const ENODEV = -19;

const VM: VsockAddress = { transport: 'vsock', cid: 3, port: 1024 };

/** Scripted AF_VSOCK calls; every call is written down. */
class FakeVsock extends FakeSystem implements VsockSystem {
  readonly calls: string[] = [];
  socketResult = 50;
  connectResult = EINPROGRESS;
  bindResults: number[] = [];
  listenResult = 0;
  /** Descriptors or negative errnos; then EAGAIN. */
  readonly accepts: number[] = [];

  vsockSocket = (): number => this.#note('socket', this.socketResult);
  vsockBind = (_fd: number, cid: number, port: number): number =>
    this.#note(`bind ${cid}:${port}`, this.bindResults.shift() ?? 0);
  vsockConnect = (_fd: number, cid: number, port: number): number =>
    this.#note(`connect ${cid}:${port}`, this.connectResult);
  vsockSetBufferSize = (_fd: number, bytes: number): number => this.#note(`buffer ${bytes}`, 0);
  vsockSetConnectTimeout = (_fd: number, timeoutMs: number): number =>
    this.#note(`timeout ${timeoutMs}`, 0);
  listen = (_fd: number, backlog: number): number =>
    this.#note(`listen ${backlog}`, this.listenResult);
  vsockAccept = (_fd: number, peer: Uint32Array): number => {
    peer.set([7, 999]);
    return this.accepts.shift() ?? EAGAIN;
  };
  vsockName = (_fd: number, name: Uint32Array): number => {
    name.set([2, 4444]);
    return 0;
  };

  #note(call: string, result: number): number {
    this.calls.push(call);
    return result;
  }
}

function dial(
  system: FakeVsock,
  options: Partial<ResolvedConnectOptions> = {},
  address = VM,
): Socket {
  return makeVsockTransport(system).connect(address, { ...resolveConnectOptions({}), ...options });
}

t.test('connecting', async (t) => {
  const system = new FakeVsock();
  const socket = dial(system, { timeoutMs: 1500, bufferBytes: 65536 });
  t.equal(socket.connecting, true);
  t.same(system.calls, ['socket', 'buffer 65536', 'timeout 2500', 'connect 3:1024']);
  t.equal(system.poller.events, PollEvent.WRITABLE);
  const connected = once(socket, 'connect');
  system.ready(PollEvent.WRITABLE);
  await connected;
  t.match(socket, { remoteCid: 3, remotePort: 1024, localAddress: 'host(2)', localPort: 4444 });
  t.equal(system.pollers[0]?.closed, true, 'the watch of connecting gives way');
  socket.destroy();
  await once(socket, 'close');
  t.same(system.closed, [50]);
});

t.test('connecting at once', async (t) => {
  const system = new FakeVsock();
  system.connectResult = 0;
  const socket = dial(system);
  t.equal(socket.connecting, true, 'but never before the caller can listen');
  await once(socket, 'connect');
  socket.destroy();
});

const refusals: Array<{ name: string; result: number; soError?: number; code: string }> = [
  { name: 'no such machine', result: ENODEV, code: 'ENODEV' },
  { name: 'nobody listens', result: EINPROGRESS, soError: ECONNRESET, code: 'ECONNRESET' },
];

for (const { name, result, soError, code } of refusals) {
  t.test(`connecting: ${name}`, async (t) => {
    const system = new FakeVsock();
    system.connectResult = result;
    const socket = dial(system);
    const failed = once(socket, 'error');
    if (soError !== undefined) {
      system.socketErrors.push(soError);
      // libuv's way to say EPOLLERR.
      system.poller.fire(-9, 0);
    }
    const [error] = await failed;
    t.match(error, { code, syscall: 'connect', address: 'vm(3)', port: 1024 });
    t.same(system.closed, [50], 'the descriptor is closed once');
  });
}

t.test('connecting: no AF_VSOCK at all', async (t) => {
  const system = new FakeVsock();
  system.socketResult = -97;
  const [error] = await once(dial(system), 'error');
  t.match(error, { code: 'EAFNOSUPPORT', syscall: 'socket' });
  t.same(system.closed, []);
});

t.test('connecting: the deadline', async (t) => {
  const system = new FakeVsock();
  const [error] = await once(dial(system, { timeoutMs: 30 }), 'error');
  t.match(error, { code: 'ERR_CONNECT_TIMEOUT', detail: { address: 'vm(3):1024', timeoutMs: 30 } });
  t.same(system.closed, [50]);
  t.equal(system.poller.closed, true);
});

t.test('connecting: destroyed', async (t) => {
  for (const connectResult of [EINPROGRESS, 0]) {
    const system = new FakeVsock();
    system.connectResult = connectResult;
    const socket = dial(system);
    socket.on('connect', () => t.fail('a destroyed socket does not connect'));
    socket.destroy();
    await once(socket, 'close');
    t.same(system.closed, [50]);
  }
});

t.test('connecting from a privileged port takes the highest free one', async (t) => {
  const system = new FakeVsock();
  system.bindResults.push(EADDRINUSE, EADDRINUSE, 0);
  const socket = dial(system, { localPort: 'privileged' });
  const binds = system.calls.filter((call) => call.startsWith('bind'));
  t.same(binds, [`bind ${Cid.ANY}:1023`, `bind ${Cid.ANY}:1022`, `bind ${Cid.ANY}:1021`]);
  socket.destroy();

  const unprivileged = new FakeVsock();
  unprivileged.bindResults.push(EACCES);
  const [error] = await once(dial(unprivileged, { localPort: 'privileged' }), 'error');
  t.match(error, { code: 'EACCES', syscall: 'bind' });
});

t.test('a wildcard is no destination', async (t) => {
  for (const address of ['vsock:any:1', 'vsock:3:any']) {
    t.throws(() => createConnection(address), { code: 'ERR_ADDRESS_INVALID' });
    await t.rejects(connect(address), { code: 'ERR_ADDRESS_INVALID' });
  }
});

async function startListening(
  system: FakeVsock,
  accepted: (socket: Socket) => void,
  failed: (error: Error) => void = () => {},
): Promise<Listener> {
  const address: VsockAddress = { transport: 'vsock', cid: Cid.ANY, port: PORT_ANY };
  const options = { bufferBytes: 4096, backlog: 5 };
  return makeVsockTransport(system).listen(address, options, { accepted, failed });
}

t.test('listening', async (t) => {
  const system = new FakeVsock();
  const sockets: Socket[] = [];
  const listener = await startListening(system, (socket) => sockets.push(socket));
  t.same(system.calls, ['socket', 'buffer 4096', `bind ${Cid.ANY}:${PORT_ANY}`, 'listen 5']);
  t.same(listener.address, { transport: 'vsock', cid: Cid.ANY, port: 4444 });
  system.accepts.push(61, ECONNABORTED, 62);
  system.pollers[0]?.fire(0, PollEvent.READABLE);
  t.equal(sockets.length, 2, 'a connection that went away meanwhile is passed over');
  t.match(sockets[0], {
    remoteCid: 7,
    remotePort: 999,
    remoteAddress: 'vm(7)',
    remote: { transport: 'vsock', cid: 7, port: 999 },
    readyState: 'open',
  });
  await listener.close();
  await listener.close();
  t.same(system.closed, [50], 'accepted sockets live on');
  for (const socket of sockets) socket.destroy();
});

t.test('listening without a free descriptor rests, and goes on', async (t) => {
  const system = new FakeVsock();
  const sockets: Socket[] = [];
  const listener = await startListening(system, (socket) => sockets.push(socket));
  const poller = system.pollers[0];
  system.accepts.push(EMFILE, 61);
  poller?.fire(0, PollEvent.READABLE);
  t.equal(poller?.events, 0, 'it does not spin on the waiting connection');
  await until('a second look', () => poller?.events === PollEvent.READABLE);
  poller?.fire(0, PollEvent.READABLE);
  t.equal(sockets.length, 1);
  await listener.close();
  for (const socket of sockets) socket.destroy();
});

t.test('a listener that fails says so and closes', async (t) => {
  const system = new FakeVsock();
  const errors: Error[] = [];
  await startListening(
    system,
    () => {},
    (error) => errors.push(error),
  );
  system.accepts.push(-22);
  system.pollers[0]?.fire(0, PollEvent.READABLE);
  t.match(errors, [{ code: 'EINVAL', syscall: 'accept' }]);
  t.same(system.closed, [50]);
});

for (const { errno, code } of [
  { errno: EADDRINUSE, code: 'EADDRINUSE' },
  { errno: EADDRNOTAVAIL, code: 'EADDRNOTAVAIL' },
]) {
  t.test(`listening: ${code}`, async (t) => {
    const system = new FakeVsock();
    system.bindResults.push(errno);
    await t.rejects(
      startListening(system, () => {}),
      { code, syscall: 'bind' },
    );
    t.same(system.closed, [50]);
  });
}
