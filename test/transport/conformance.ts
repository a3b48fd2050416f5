import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import tls from 'node:tls';
import { Worker } from 'node:worker_threads';
import { native } from '../../src/native.js';
import {
  connect,
  createConnection,
  detach,
  parseAddress,
  type Socket,
} from '../../src/transport/index.js';
import { openDescriptors } from '../descriptors.js';
import { until } from '../until.js';
import { type PeerStatistics, TLS_NAME } from './peer.js';
import {
  exchangePattern,
  pattern,
  patternHash,
  readLine,
  readPattern,
  writePattern,
} from './stream-tools.js';

/** An address that cannot be connected to, and how that must fail. */
export interface Unreachable {
  address: string;
  code: string;
}

/** A transport with a peer at its other end. */
export interface TransportUnderTest {
  /** Where the peer of peer.ts listens. */
  peer: string;
  /** Whether the transport must have a half-close. */
  halfClose: boolean;
  /** Nobody listens there. */
  refused: Unreachable;
  /** There is no such machine. */
  absent?: Unreachable;
  /** Somebody is there but never answers; up to four earlier attempts may succeed. */
  silent?: Unreachable;
  /** Why the transport cannot carry much in both directions at once, if it cannot. */
  bulkDefect?: string;
  /** The module that runs a {@link WorkerTask} when it is a worker's entry. */
  workerUrl: URL;
}

/** What a worker of the suite is asked to do. */
export interface WorkerTask {
  kind: 'echo' | 'hold';
  peer: string;
  connections: number;
}

/** One behaviour that every transport must have. */
export interface ConformanceCase {
  name: string;
  /** Why it does not apply to this transport, if it does not. */
  inapplicable?(transport: TransportUnderTest): string | undefined;
  run(transport: TransportUnderTest): Promise<void>;
}

const MIB = 1024 * 1024;
const BULK_BYTES = 8 * MIB;
const CONNECTIONS = 1000;
const CONNECTIONS_AT_ONCE = 20;
// A high-water mark and a chunk, on whichever side.
const BUFFERED_BYTES = 4 * 65536;
const RSS_GROWTH_BYTES = 48 * MIB;
/** How long anything may take in an emulated guest on a busy machine. */
const PATIENCE_MS = 60_000;

type Options = Parameters<typeof connect>[1];

/** Connects and tells the peer how to behave. */
async function open(
  transport: TransportUnderTest,
  behaviour: string,
  options?: Options,
): Promise<Socket> {
  const socket = await connect(transport.peer, { timeoutMs: PATIENCE_MS, ...options });
  socket.write(`${behaviour}\n`);
  return socket;
}

/** Destroys the socket and waits until it is closed. */
async function discard(socket: Socket): Promise<void> {
  if (socket.closed) return;
  socket.destroy();
  await once(socket, 'close');
}

async function peerStatistics(transport: TransportUnderTest): Promise<PeerStatistics> {
  const socket = await open(transport, 'stats');
  const statistics = JSON.parse(await readLine(socket)) as PeerStatistics;
  await discard(socket);
  return statistics;
}

async function failureOf(attempt: Promise<Socket>): Promise<NodeJS.ErrnoException> {
  const socket = await attempt.catch((error: NodeJS.ErrnoException) => error);
  if (socket instanceof Error) return socket;
  socket.destroy();
  assert.fail('the connection succeeded');
}

async function assertRefused({ address, code }: Unreachable): Promise<void> {
  const before = openDescriptors();
  const started = performance.now();
  const error = await failureOf(connect(address, { timeoutMs: PATIENCE_MS }));
  const tookMs = performance.now() - started;
  assert.equal(error.code, code, error.message);
  if (!code.startsWith('ERR_')) {
    assert.equal(error.syscall, 'connect');
    assert.ok(error.errno !== undefined && error.errno < 0, `errno is ${error.errno}`);
    assert.ok('address' in error, 'the error has the address');
  }
  assert.ok(tookMs < PATIENCE_MS / 2, `told after ${tookMs} ms`);
  await until('the end of the descriptor of an attempt', () => openDescriptors() <= before);
}

function runWorker(transport: TransportUnderTest, task: Omit<WorkerTask, 'peer'>): Worker {
  const workerData: WorkerTask = { ...task, peer: transport.peer };
  return new Worker(transport.workerUrl, { workerData });
}

/** What a worker does; it posts 'done' when it has. */
export async function runWorkerTask(task: WorkerTask, post: (message: string) => void) {
  const sockets: Socket[] = [];
  for (let i = 0; i < task.connections; i++) {
    const socket = await connect(task.peer);
    socket.write(`${task.kind}\n`);
    sockets.push(socket);
  }
  if (task.kind === 'echo') {
    for (const socket of sockets) {
      await exchangePattern(socket, MIB);
      await discard(socket);
    }
  }
  post('done');
  return sockets;
}

/** Makes connections on which the peer has switched to HTTP. */
class PeerAgent extends http.Agent {
  opened = 0;
  readonly #transport: TransportUnderTest;

  constructor(transport: TransportUnderTest, options?: http.AgentOptions) {
    super(options);
    this.#transport = transport;
  }

  override createConnection(
    _options: http.ClientRequestArgs,
    created?: (error: Error | null, socket: Socket) => void,
  ): undefined {
    this.opened += 1;
    const prepare = async (): Promise<Socket> => {
      const socket = await open(this.#transport, 'http');
      assert.equal(await readLine(socket), 'ok');
      return socket;
    };
    prepare().then(
      (socket) => created?.(null, socket),
      (error) => created?.(error as Error, undefined as never),
    );
  }
}

function request(agent: http.Agent, method: string, body: Iterable<Buffer>): Promise<string> {
  return new Promise((resolve, reject) => {
    const sent = http.request({ agent, method, host: 'peer', path: '/' }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve(`${response.statusCode} ${text}`));
    });
    sent.on('error', reject);
    for (const chunk of body) sent.write(chunk);
    sent.end();
  });
}

/** The behaviours, in the order in which a broken transport should be looked at. */
export const conformanceCases: readonly ConformanceCase[] = [
  {
    name: 'a connected socket says who is connected to whom',
    async run(transport) {
      const socket = createConnection(transport.peer);
      assert.equal(socket.connecting, true);
      assert.equal(socket.readyState, 'opening');
      const events: string[] = [];
      for (const event of ['connect', 'ready']) socket.on(event, () => events.push(event));
      await once(socket, 'ready');
      assert.deepEqual(events, ['connect', 'ready']);
      assert.equal(socket.connecting, false);
      assert.equal(socket.readyState, 'open');
      assert.equal(socket.transport, parseAddress(transport.peer).transport);
      assert.equal(socket.halfClose, transport.halfClose);
      assert.deepEqual(socket.remote, parseAddress(transport.peer));
      if (socket.remote !== undefined && 'cid' in socket.remote) {
        assert.equal(socket.remoteCid, socket.remote.cid);
        assert.equal(socket.remotePort, socket.remote.port);
        assert.ok(socket.localAddress?.endsWith(')') || socket.localAddress === 'any');
        assert.equal(typeof socket.localPort, 'number');
      }
      assert.equal(socket.setNoDelay(true), socket);
      assert.equal(socket.setKeepAlive(true), socket);
      await discard(socket);
    },
  },
  {
    name: 'who reads before the connection is made receives everything',
    async run(transport) {
      for (const begin of [
        (socket: Socket, sink: Writable) => socket.on('data', (chunk) => sink.write(chunk)),
        (socket: Socket, sink: Writable) => socket.pipe(sink),
        (socket: Socket, sink: Writable) =>
          socket.resume().on('data', (chunk) => sink.write(chunk)),
        (socket: Socket, sink: Writable) => {
          socket.on('readable', () => {
            for (let chunk = socket.read(); chunk !== null; chunk = socket.read())
              sink.write(chunk);
          });
        },
      ]) {
        const socket = createConnection(transport.peer);
        let received = '';
        const sink = new Writable({
          write(chunk, _encoding, done) {
            received += String(chunk);
            done();
          },
        });
        begin(socket, sink);
        socket.write('echo\nearly');
        await once(socket, 'connect');
        socket.write(', late');
        const missed = () => `both parts in mode ${begin}, and not ${JSON.stringify(received)}`;
        await until(missed, () => received === 'early, late');
        await discard(socket);
      }
    },
  },
  {
    name: 'a privileged source port and a receive buffer of a chosen size',
    inapplicable: ({ peer }) => (peer.startsWith('vsock:') ? undefined : 'for vsock only'),
    async run(transport) {
      const socket = await open(transport, 'who', { localPort: 'privileged', bufferBytes: MIB });
      const who = JSON.parse(await readLine(socket)) as { remoteCid: number; remotePort: number };
      assert.ok(who.remotePort > 0 && who.remotePort < 1024, `the port is ${who.remotePort}`);
      assert.equal(who.remotePort, socket.localPort);
      assert.ok(who.remoteCid > 0);
      await discard(socket);
    },
  },
  {
    name: 'nobody listens: the refusal of the transport, at once',
    run: ({ refused }) => assertRefused(refused),
  },
  {
    name: 'an absent machine',
    inapplicable: ({ absent }) => (absent === undefined ? 'no absent address is known' : undefined),
    async run({ absent }) {
      if (absent !== undefined) await assertRefused(absent);
    },
  },
  {
    name: 'the deadline of a connection that is never answered',
    inapplicable: ({ silent }) => (silent === undefined ? 'no silent address is known' : undefined),
    async run({ silent }) {
      if (silent === undefined) return;
      const timeoutMs = 400;
      const before = openDescriptors();
      const connected: Socket[] = [];
      for (let tries = 0; tries < 5; tries++) {
        const started = performance.now();
        const outcome: Socket | NodeJS.ErrnoException = await connect(silent.address, {
          timeoutMs,
          handshakeTimeoutMs: timeoutMs,
        }).catch((error: NodeJS.ErrnoException) => error);
        if (!(outcome instanceof Error)) {
          connected.push(outcome);
          continue;
        }
        const tookMs = performance.now() - started;
        assert.equal(outcome.code, silent.code, outcome.message);
        assert.ok(tookMs >= timeoutMs - 5, `after ${tookMs} ms`);
        for (const socket of connected) await discard(socket);
        await until('the end of every descriptor', () => openDescriptors() <= before);
        return;
      }
      assert.fail('every attempt was answered');
    },
  },
  {
    name: 'an abort before connecting',
    async run(transport) {
      const reason = new Error('changed my mind');
      const error = await failureOf(connect(transport.peer, { signal: AbortSignal.abort(reason) }));
      assert.equal(error.name, 'AbortError');
      assert.equal(error.code, 'ABORT_ERR');
      assert.equal(error.cause, reason);
    },
  },
  {
    name: 'an abort while connecting',
    async run(transport) {
      const before = openDescriptors();
      const abort = new AbortController();
      const attempt = failureOf(connect(transport.peer, { signal: abort.signal }));
      abort.abort();
      assert.equal((await attempt).name, 'AbortError');
      const { silent } = transport;
      if (silent !== undefined) {
        const signal = AbortSignal.timeout(200);
        for (let tries = 0; tries < 5 && !signal.aborted; tries++) {
          const outcome: Socket | NodeJS.ErrnoException = await connect(silent.address, {
            signal,
          }).catch((error: Error) => error);
          if (outcome instanceof Error) assert.equal(outcome.name, 'AbortError');
          else outcome.destroy();
        }
      }
      await until('the end of every descriptor', () => openDescriptors() <= before);
    },
  },
  {
    name: 'an abort after connect() has resolved has no effect',
    async run(transport) {
      const abort = new AbortController();
      const socket = await open(transport, 'echo', { signal: abort.signal });
      abort.abort();
      socket.write('still here\n');
      assert.equal(await readLine(socket), 'still here');
      await discard(socket);
    },
  },
  {
    name: 'half-close: the answer to everything that was sent arrives after end()',
    inapplicable: ({ halfClose }) => (halfClose ? undefined : 'the transport has no half-close'),
    async run(transport) {
      const socket = await open(transport, 'until-end', { allowHalfOpen: true });
      await writePattern(socket, MIB);
      socket.end();
      assert.equal(await readLine(socket), `${MIB} ${patternHash(MIB)}`);
      const { readBytes } = await readPattern(socket);
      assert.equal(readBytes, 0);
      if (!socket.closed) await once(socket, 'close');
    },
  },
  {
    name: 'no half-close: end() delivers what was written and closes',
    inapplicable: ({ halfClose }) => (halfClose ? 'the transport has a half-close' : undefined),
    async run(transport) {
      const { connections } = await peerStatistics(transport);
      const socket = await open(transport, 'hold', { allowHalfOpen: true });
      assert.equal(socket.halfClose, false);
      socket.resume();
      socket.end('bye');
      if (!socket.closed) await once(socket, 'close');
      const gone = async (): Promise<boolean> =>
        (await peerStatistics(transport)).connections <= connections;
      await until('the end of the connection at the peer', gone);
    },
  },
  {
    name: 'the end of the peer',
    async run(transport) {
      const socket = await open(transport, 'sink 4 0');
      socket.write('1234');
      const line = await readLine(socket);
      assert.match(line, /^[0-9a-f]{64} \d+$/);
      if (transport.halfClose) {
        assert.equal((await readPattern(socket)).readBytes, 0);
        if (!socket.closed) await once(socket, 'close');
      }
      await discard(socket);
    },
  },
  {
    name: 'writing to a peer that has gone ends in an end or in EPIPE or ECONNRESET',
    inapplicable: ({ halfClose }) =>
      halfClose ? undefined : "the multiplexer decides what becomes of a guest's end",
    async run(transport) {
      const socket = await open(transport, 'close', { allowHalfOpen: true });
      socket.resume();
      await once(socket, 'end');
      const failed = new Promise<NodeJS.ErrnoException>((resolve) => socket.once('error', resolve));
      const write = setInterval(() => socket.write('anybody?'), 10);
      const outcome = await Promise.race([failed, sleep(PATIENCE_MS, undefined, { ref: false })]);
      clearInterval(write);
      await discard(socket);
      assert.ok(outcome === undefined || /^(EPIPE|ECONNRESET)$/.test(outcome.code ?? ''));
      assert.equal(outcome?.syscall, 'write');
    },
  },
  {
    name: '8 MiB to a slow reader: the same bytes, in bounded memory',
    async run(transport) {
      const rssBefore = process.memoryUsage.rss();
      const peerBefore = await peerStatistics(transport);
      const socket = await open(transport, `sink ${BULK_BYTES} 15`);
      let rssPeak = 0;
      const watch = setInterval(() => {
        rssPeak = Math.max(rssPeak, process.memoryUsage.rss());
      }, 20);
      const { peakBytes, unpausedBytes } = await writePattern(socket, BULK_BYTES);
      const [hash, peerPeakBytes] = (await readLine(socket)).split(' ');
      clearInterval(watch);
      assert.equal(hash, patternHash(BULK_BYTES));
      // The kernel may take all of it at once, and newer versions of Node then ask for no pause.
      assert.ok(unpausedBytes < socket.writableHighWaterMark, 'write() asks for pauses');
      assert.ok(peakBytes <= BUFFERED_BYTES, `${peakBytes} bytes waited here`);
      assert.ok(Number(peerPeakBytes) <= BUFFERED_BYTES, `${peerPeakBytes} waited at the peer`);
      assert.ok(rssPeak - rssBefore < RSS_GROWTH_BYTES, `grew by ${rssPeak - rssBefore} bytes`);
      const grown = (await peerStatistics(transport)).rssBytes - peerBefore.rssBytes;
      assert.ok(grown < RSS_GROWTH_BYTES, `the peer grew by ${grown} bytes`);
      await discard(socket);
    },
  },
  {
    name: '8 MiB from a fast writer, read slowly: the same bytes, in bounded memory',
    async run(transport) {
      const rssBefore = process.memoryUsage.rss();
      const socket = await open(transport, `source ${BULK_BYTES}`);
      const { hash, peakBytes } = await readPattern(socket, { sizeBytes: BULK_BYTES, pauseMs: 15 });
      const peerPeakBytes = Number(await readLine(socket));
      assert.equal(hash, patternHash(BULK_BYTES));
      assert.ok(peakBytes <= BUFFERED_BYTES, `${peakBytes} bytes waited here`);
      assert.ok(peerPeakBytes <= BUFFERED_BYTES, `${peerPeakBytes} bytes waited at the peer`);
      const grown = process.memoryUsage.rss() - rssBefore;
      assert.ok(grown < RSS_GROWTH_BYTES, `grew by ${grown} bytes`);
      await discard(socket);
    },
  },
  {
    name: '8 MiB there and back at once',
    inapplicable: ({ bulkDefect }) => bulkDefect,
    async run(transport) {
      const socket = await open(transport, 'echo');
      const [, { hash }] = await Promise.all([
        writePattern(socket, BULK_BYTES),
        readPattern(socket, { sizeBytes: BULK_BYTES }),
      ]);
      assert.equal(hash, patternHash(BULK_BYTES));
      assert.equal(socket.bytesRead, BULK_BYTES);
      await discard(socket);
    },
  },
  {
    name: '1 000 connections leave no descriptor on either side',
    async run(transport) {
      const peerBefore = await peerStatistics(transport);
      const before = openDescriptors();
      const one = async (): Promise<void> => {
        const socket = await open(transport, 'echo');
        socket.write('ping\n');
        assert.equal(await readLine(socket), 'ping');
        if (transport.halfClose) {
          socket.end();
          socket.resume();
          await once(socket, 'close');
        } else {
          await discard(socket);
        }
      };
      for (let made = 0; made < CONNECTIONS; made += CONNECTIONS_AT_ONCE) {
        await Promise.all(Array.from({ length: CONNECTIONS_AT_ONCE }, one));
      }
      await until('the end of every descriptor here', () => openDescriptors() <= before);
      const gone = async (): Promise<boolean> =>
        (await peerStatistics(transport)).descriptors <= peerBefore.descriptors;
      await until('the end of every descriptor at the peer', gone);
    },
  },
  {
    name: 'http, with a body each way and connections kept alive',
    async run(transport) {
      const agent = new PeerAgent(transport, { keepAlive: true, maxSockets: 1 });
      const empty = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
      assert.equal(await request(agent, 'GET', []), `200 GET ${empty}`);
      const posted = await request(agent, 'POST', pattern(MIB));
      assert.equal(posted, `200 POST ${patternHash(MIB)}`);
      assert.equal(agent.opened, 1);
      agent.destroy();
    },
  },
  {
    name: 'tls',
    async run(transport) {
      const raw = await open(transport, 'tls');
      const ca = Buffer.from(await readLine(raw), 'base64').toString();
      const secure = tls.connect({ socket: raw, ca, servername: TLS_NAME });
      await once(secure, 'secureConnect');
      assert.equal(secure.authorized, true);
      await exchangePattern(secure, MIB);
      assert.equal(detach(secure), undefined, 'there is no descriptor to take out of TLS');
      secure.destroy();
      await discard(raw);
    },
  },
  {
    name: 'detach: native code goes on where the socket stopped',
    inapplicable: ({ peer }) =>
      parseAddress(peer).transport === 'vsock-device'
        ? 'a connection of a device in this process has no descriptor'
        : undefined,
    async run(transport) {
      const socket = await open(transport, 'echo');
      socket.write('one\ntwo\n');
      assert.equal(await readLine(socket), 'one');
      await until('the second line', () => socket.readableLength === 4);
      const taken = detach(socket);
      assert.ok(taken !== undefined);
      const buffer = Buffer.alloc(64);
      let received = Buffer.from(taken.unread).toString();
      native.send(taken.fd, [Buffer.from('three\n')], 0);
      await until('ten bytes', () => {
        const count = native.recv(taken.fd, buffer, 0, buffer.length);
        assert.notEqual(count, 0, 'the connection has ended');
        if (count > 0) received += buffer.toString('latin1', 0, count);
        return received.length >= 10;
      });
      native.close(taken.fd);
      assert.equal(received, 'two\nthree\n');
      if (!socket.closed) await once(socket, 'close');
      await assert.rejects(async () => detach(socket), { code: 'ERR_SOCKET_STATE' });
    },
  },
  {
    name: 'worker threads, four at once',
    async run(transport) {
      const workers = Array.from({ length: 4 }, () =>
        runWorker(transport, { kind: 'echo', connections: 3 }),
      );
      const codes = await Promise.all(
        workers.map(async (worker) => {
          // Both at once: a worker's last message and its exit may come in the same turn.
          const [[message], [code]] = await Promise.all([
            once(worker, 'message'),
            once(worker, 'exit'),
          ]);
          assert.equal(message, 'done');
          return code;
        }),
      );
      assert.deepEqual(codes, [0, 0, 0, 0]);
    },
  },
  {
    name: 'a worker that is terminated with live sockets closes them',
    async run(transport) {
      const before = openDescriptors();
      const peerBefore = await peerStatistics(transport);
      const worker = runWorker(transport, { kind: 'hold', connections: 8 });
      await once(worker, 'message');
      assert.ok((await peerStatistics(transport)).connections >= peerBefore.connections + 8);
      await worker.terminate();
      const gone = async (): Promise<boolean> =>
        (await peerStatistics(transport)).connections <= peerBefore.connections;
      await until('the end of the connections at the peer', gone);
      await until('the end of every descriptor', () => openDescriptors() <= before);
    },
  },
];
