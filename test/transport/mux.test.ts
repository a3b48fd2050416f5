import { once } from 'node:events';
import { readdirSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { connect, createConnection, createServer, type Socket } from '../../src/transport/index.js';
import { openDescriptors } from '../descriptors.js';
import { until } from '../until.js';
import { type FakeMux, type MuxBehaviour, startFakeMux } from './fake-mux.js';
import { readLine } from './stream-tools.js';

/** How long it is watched that nothing happens. */
const SILENCE_MS = 40;

/** Answers with these pieces, each of which is read before the next one is sent. */
function answer(...pieces: string[]): MuxBehaviour {
  return async (socket) => {
    for (const piece of pieces) {
      socket.write(piece);
      // Both ends have one event loop: it sees that there is something, and then reads it.
      await nextTurn();
      await nextTurn();
    }
  };
}

async function withMux(behave: MuxBehaviour, run: (mux: FakeMux) => Promise<void>): Promise<void> {
  const mux = await startFakeMux(behave);
  try {
    await run(mux);
  } finally {
    await mux[Symbol.asyncDispose]();
  }
}

async function close(socket: Socket): Promise<void> {
  socket.destroy();
  if (!socket.closed) await once(socket, 'close');
}

const answers: Array<{ name: string; pieces: string[]; afterwards: string }> = [
  {
    name: 'the host port, as Firecracker answers',
    pieces: ['OK 1073741824\n', 'x\n'],
    afterwards: 'x',
  },
  {
    name: 'the guest port, as vhost-device-vsock answers',
    pieces: ['OK 7\n', 'x\n'],
    afterwards: 'x',
  },
  { name: 'the smallest number', pieces: ['OK 0\n', 'x\n'], afterwards: 'x' },
  { name: 'the largest number', pieces: ['OK 4294967295\n', 'x\n'], afterwards: 'x' },
  { name: 'payload in the same piece', pieces: ['OK 5\nhello\n'], afterwards: 'hello' },
  {
    name: 'payload split around the newline',
    pieces: ['OK 5', '\nhe', 'llo\n'],
    afterwards: 'hello',
  },
  { name: 'byte by byte', pieces: [...'OK 1024\nab\n'], afterwards: 'ab' },
  { name: 'payload that looks like an answer', pieces: ['OK 5\nOK 6\n'], afterwards: 'OK 6' },
];

for (const { name, pieces, afterwards } of answers) {
  t.test(`answer: ${name}`, (t) =>
    withMux(answer(...pieces), async (mux) => {
      const socket = await connect(`vsock-mux:${mux.path}:7`);
      t.equal(await readLine(socket), afterwards);
      t.same(mux.requests, ['CONNECT 7\n'], 'one write of at least ten bytes');
      t.match(socket, {
        transport: 'vsock-mux',
        halfClose: false,
        remoteAddress: `vm(${mux.path})`,
        remotePort: 7,
        localAddress: 'host(2)',
      });
      await close(socket);
    }),
  );
}

t.test('the largest port fits into one request', (t) =>
  withMux(answer('OK 1\n'), async (mux) => {
    const socket = await connect(`vsock-mux:${mux.path}:4294967294`);
    t.same(mux.requests, ['CONNECT 4294967294\n']);
    await close(socket);
  }),
);

t.test('what is written while connecting follows the handshake', (t) => {
  let received = '';
  const behave: MuxBehaviour = async (socket) => {
    socket.on('data', (data) => {
      received += data;
    });
    await sleep(SILENCE_MS);
    t.equal(received, '', 'nothing is sent before the answer');
    socket.write('OK 1\n');
  };
  return withMux(behave, async (mux) => {
    const socket = createConnection(`vsock-mux:${mux.path}:7`);
    socket.write('early');
    await once(socket, 'connect');
    await until('what was written early', () => received === 'early');
    await close(socket);
  });
});

const failures: Array<{
  name: string;
  behave: MuxBehaviour;
  expected: { code: string; detail?: object };
}> = [
  {
    name: 'refusal by close',
    behave: (socket) => socket.end(),
    expected: { code: 'ERR_MUX_REFUSED' },
  },
  {
    name: 'refusal by destroy',
    behave: (socket) => void socket.destroy(),
    expected: { code: 'ERR_MUX_REFUSED' },
  },
  {
    name: 'no answer',
    behave: () => {},
    expected: { code: 'ERR_HANDSHAKE_TIMEOUT', detail: { timeoutMs: 120 } },
  },
  {
    name: 'half an answer and no more',
    behave: answer('OK 12'),
    expected: { code: 'ERR_HANDSHAKE_TIMEOUT' },
  },
  {
    name: 'close inside the answer',
    behave: (socket) => socket.end('OK 12'),
    expected: { code: 'ERR_MUX_PROTOCOL', detail: { received: 'OK 12' } },
  },
  {
    name: 'another protocol',
    behave: answer('HTTP/1.1 400 Bad Request\r\n'),
    expected: { code: 'ERR_MUX_PROTOCOL', detail: { received: 'HTTP/1.1 400 Bad Request\r\n' } },
  },
  {
    name: 'an answer without a number',
    behave: answer('OK\n'),
    expected: { code: 'ERR_MUX_PROTOCOL' },
  },
  {
    name: 'an answer with more than a number',
    behave: answer('OK 1 2\n'),
    expected: { code: 'ERR_MUX_PROTOCOL' },
  },
  {
    name: 'a line without an end',
    behave: answer('x'.repeat(1000)),
    expected: { code: 'ERR_MUX_PROTOCOL', detail: { received: 'x'.repeat(32) } },
  },
];

for (const { name, behave, expected } of failures) {
  t.test(`failure: ${name}`, (t) =>
    withMux(behave, async (mux) => {
      const before = openDescriptors();
      const address = `vsock-mux:${mux.path}:7`;
      const handshakeTimeoutMs = expected.code === 'ERR_HANDSHAKE_TIMEOUT' ? 120 : 60_000;
      await t.rejects(connect(address, { handshakeTimeoutMs }), expected);
      await until('the end at the multiplexer', () => mux.sockets.size === 0);
      await until('the end of every descriptor', () => openDescriptors() <= before);
    }),
  );
}

t.test('an abort during the handshake', (t) =>
  withMux(
    () => {},
    async (mux) => {
      const abort = new AbortController();
      const attempt = connect(`vsock-mux:${mux.path}:7`, { signal: abort.signal });
      await until('the request', () => mux.requests.length === 1);
      abort.abort();
      await t.rejects(attempt, { name: 'AbortError', code: 'ABORT_ERR' });
      await until('the end at the multiplexer', () => mux.sockets.size === 0);
    },
  ),
);

t.test('retrying until the guest listens', (t) => {
  let tries = 0;
  const behave: MuxBehaviour = (socket) => {
    tries += 1;
    if (tries < 4) socket.destroy();
    else socket.write('OK 1\n');
  };
  return withMux(behave, async (mux) => {
    const socket = await connect(`vsock-mux:${mux.path}:7`, {
      retryDelayMs: 10,
      timeoutMs: 60_000,
    });
    t.equal(tries, 4);
    await close(socket);
    tries = -1000;
    await t.rejects(connect(`vsock-mux:${mux.path}:7`, { retryDelayMs: 10, timeoutMs: 500 }), {
      code: 'ERR_MUX_REFUSED',
    });
  });
});

t.test('no multiplexer', async (t) => {
  await t.rejects(connect('vsock-mux:/nonexistent/mux.sock:7'), {
    code: 'ENOENT',
    syscall: 'connect',
    address: '/nonexistent/mux.sock',
  });
});

t.test('options that the transport does not have are refused by name', async (t) => {
  for (const options of [{ bufferBytes: 65536 }, { localPort: 'privileged' as const }]) {
    await t.rejects(connect('vsock-mux:/nonexistent/mux.sock:7', options), {
      code: 'ERR_TRANSPORT_UNSUPPORTED',
      detail: { transport: 'vsock-mux' },
    });
  }
});

t.test('listening takes what the guest connects to', (t) =>
  withMux(
    () => {},
    async (mux) => {
      const server = createServer();
      const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
      server.listen(`vsock-mux:${mux.path}:99`);
      await once(server, 'listening');
      t.same(server.address(), { transport: 'vsock-mux', path: mux.path, port: 99 });
      const guest = net.connect(`${mux.path}_99`);
      guest.write('from the guest\n');
      const socket = await accepted;
      t.equal(await readLine(socket), 'from the guest');
      t.match(socket, {
        transport: 'vsock-mux',
        localAddress: 'host(2)',
        localPort: 99,
        remoteAddress: `vm(${mux.path})`,
      });
      socket.end('from the host\n');
      t.equal(await readLine(guest), 'from the host');
      guest.end();
      guest.resume();
      if (!socket.closed) await once(socket, 'close');
      await server[Symbol.asyncDispose]();
      t.notOk(readdirSync(mux.folder).includes('mux.sock_99'), 'its file is removed');
    },
  ),
);

t.test('a listener does not take a file that is in use or is no socket', (t) =>
  withMux(
    () => {},
    async (mux) => {
      const first = createServer().listen(`vsock-mux:${mux.path}:5`);
      await once(first, 'listening');
      const second = createServer().listen(`vsock-mux:${mux.path}:5`);
      await t.rejects(once(second, 'listening'), { code: 'EADDRINUSE', syscall: 'listen' });
      await first[Symbol.asyncDispose]();

      writeFileSync(join(mux.folder, 'mux.sock_6'), 'precious');
      const third = createServer().listen(`vsock-mux:${mux.path}:6`);
      await t.rejects(once(third, 'listening'), { code: 'EADDRINUSE' });
      t.ok(readdirSync(mux.folder).includes('mux.sock_6'));

      const longPath = `/${'a'.repeat(104)}`;
      const fourth = createServer().listen(`vsock-mux:${longPath}:1024`);
      await t.rejects(once(fourth, 'listening'), { code: 'ERR_ADDRESS_INVALID' });
    },
  ),
);
