/*
 * What node:net documents, one behaviour at a time. Each is observed over node:net itself and over
 * a transport of this library; what was seen is compared as text. Where a transport differs, the behaviour
 * says so with the reason, and docs/transport.md prints it.
 */
import { once } from 'node:events';
import net from 'node:net';
import { Duplex, finished, Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../until.js';

/** What both kinds of socket and server have in common, as far as the observations use it. */
export type AnySocket = net.Socket;
export type AnyServer = Pick<
  net.Server,
  | 'on'
  | 'once'
  | 'off'
  | 'emit'
  | 'address'
  | 'listening'
  | 'maxConnections'
  | 'ref'
  | 'unref'
  | 'getConnections'
> & {
  close(callback?: (error?: Error) => void): unknown;
};

/** One way to make sockets and servers. */
export interface Kit {
  createServer(options?: object, onConnection?: (socket: AnySocket) => void): AnyServer;
  /** Starts to listen at a place where nobody listens, and returns how to dial it. */
  listen(server: AnyServer, options?: object): Place;
  /** Connects where nobody listens. */
  dialNobody(): AnySocket;
}

/** Where a server of a kit listens. */
interface Place {
  dial(options?: object, onConnect?: () => void): AnySocket;
  /** Makes another server listen there. */
  listenAgain(server: AnyServer): void;
}

/** The transports that the tests compare with node:net, and that the page shows. */
export const transportsOfTable = ['unix', 'tcp', 'vsock', 'vsock-mux', 'vsock-device'] as const;
export type TableTransport = (typeof transportsOfTable)[number];

/** Why transports differ from node:net. */
export interface Difference {
  readonly transports: readonly TableTransport[];
  readonly kind: 'different' | 'unsupported';
  /** The version of Node from which node:net does the same. */
  readonly equalSinceNode?: number;
  /** Whether there is none where the guest's program closes both directions at once. */
  readonly equalOnceClosed?: true;
  readonly reason: string;
}

/** One documented behaviour. */
export interface Behaviour {
  readonly name: string;
  /** Returns what can be seen of it, for JSON. Absent where there is nothing to run. */
  observe?(kit: Kit): Promise<unknown>;
  readonly differences?: readonly Difference[];
}

const ALL = transportsOfTable;
const OWN = ['vsock', 'vsock-mux', 'vsock-device'] as const;

const eventually = (look: () => boolean) =>
  until('what the observation waits for', look, { withinMs: 15_000 });

interface Pair {
  client: AnySocket;
  peer: AnySocket;
  server: AnyServer;
  place: Place;
}

const opened: Array<{ destroy(): unknown } | AnyServer> = [];

// The property `closed` may come before the event.
const closings = new WeakMap<object, Promise<void>>();

function keep<T extends { destroy(): unknown } | AnyServer>(one: T): T {
  opened.push(one);
  if ('destroy' in one) {
    const closing = new Promise<void>((resolve) => (one as AnySocket).once('close', resolve));
    closings.set(one, closing);
  }
  return one;
}

/** Closes what the last observation left open. */
async function closeAll(): Promise<void> {
  for (const one of opened.splice(0)) {
    if ('destroy' in one) {
      (one as AnySocket).on('error', () => {});
      one.destroy();
    } else if (one.listening) one.close();
  }
  await sleep(0);
}

async function serve(kit: Kit, options?: object, listenOptions?: object) {
  const server = keep(kit.createServer(options, (socket) => void keep(socket)));
  const place = kit.listen(server, listenOptions);
  if (!server.listening) await once(server as net.Server, 'listening');
  return { server, place };
}

async function pair(kit: Kit, forServer?: object, forClient?: object): Promise<Pair> {
  const { server, place } = await serve(kit, forServer);
  const accepted = once(server as net.Server, 'connection') as Promise<[AnySocket]>;
  const client = keep(place.dial(forClient));
  const [[peer]] = await Promise.all([accepted, once(client, 'connect')]);
  return { client, peer, server, place };
}

/** Remembers the events of a socket. */
function logOf(socket: AnySocket): string[] {
  const log: string[] = [];
  for (const event of ['connect', 'ready', 'end', 'finish', 'timeout']) {
    socket.on(event, () => log.push(event));
  }
  socket.on('error', (error: NodeJS.ErrnoException) => log.push(`error ${error.code}`));
  socket.on('close', (hadError) => log.push(`close ${hadError}`));
  return log;
}

async function closed(socket: AnySocket): Promise<void> {
  await closings.get(socket);
}

function collect(socket: AnySocket): { text: string } {
  const got = { text: '' };
  socket.on('data', (chunk) => {
    got.text += String(chunk);
  });
  return got;
}

const failed = (socket: AnySocket): Promise<NodeJS.ErrnoException> =>
  new Promise((resolve) => socket.once('error', resolve));

const codeOf = (run: () => unknown): unknown => {
  try {
    run();
    return 'no error';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  }
};

const HALF = { allowHalfOpen: true };
const HALF_CLOSE: Difference = {
  transports: ['vsock-mux'],
  kind: 'different',
  reason: 'Multiplexers have no half-close: end() ends both directions. socket.halfClose tells.',
};

/** What node:net documents. */
export const behaviours: readonly Behaviour[] = [
  // connecting
  {
    name: "'connect', then 'ready'; connecting, pending and readyState before and after",
    async observe(kit) {
      const { place } = await serve(kit);
      const socket = keep(place.dial());
      const state = () => [socket.connecting, socket.pending, socket.readyState];
      const before = state();
      const log = logOf(socket);
      await once(socket, 'ready');
      const after = state();
      socket.destroy();
      return { before, log: log.slice(0, 2), after, destroyed: socket.readyState };
    },
  },
  {
    name: 'the callback of createConnection(), with and without options',
    async observe(kit) {
      const { place } = await serve(kit);
      for (const options of [undefined, {}]) {
        await new Promise<void>((resolve) => keep(place.dial(options, resolve)));
      }
      return 'called';
    },
  },
  {
    name: "who reads by 'data' before the connection is made receives",
    async observe(kit) {
      const { server, place } = await serve(kit);
      server.on('connection', (peer: AnySocket) => peer.write('hello'));
      const got = collect(keep(place.dial()));
      await eventually(() => got.text.length >= 5);
      return got.text;
    },
  },
  {
    name: 'who reads by pipe(), resume() or for await before the connection is made receives',
    async observe(kit) {
      const { server, place } = await serve(kit);
      server.on('connection', (peer: AnySocket) => peer.write('hello'));
      let piped = '';
      const sink = new Writable({
        write(chunk, _encoding, done) {
          piped += chunk;
          done();
        },
      });
      keep(place.dial()).pipe(sink);
      const resumed = keep(place.dial()).resume();
      await eventually(() => piped.length >= 5 && resumed.bytesRead >= 5);
      let iterated = '';
      for await (const chunk of keep(place.dial())) {
        iterated += chunk;
        if (iterated.length >= 5) break;
      }
      return [piped, resumed.bytesRead, iterated];
    },
  },
  {
    name: 'what is written before the connection is made is delivered',
    async observe(kit) {
      const { server, place } = await serve(kit);
      const accepted = once(server as net.Server, 'connection') as Promise<[AnySocket]>;
      const socket = keep(place.dial());
      socket.write('early ');
      socket.write('bird');
      const [peer] = await accepted;
      const got = collect(peer);
      await eventually(() => got.text.length >= 10);
      return got.text;
    },
  },
  {
    name: 'a refusal: its properties, and the events',
    async observe(kit) {
      const socket = keep(kit.dialNobody());
      const log = logOf(socket);
      const { syscall, errno, code, ...more } = await failed(socket);
      await closed(socket);
      return { syscall, errno: typeof errno, address: 'address' in more, log: log.slice(1) };
    },
    differences: [
      {
        transports: ['vsock-mux'],
        kind: 'different',
        reason:
          'A multiplexer refuses by closing the connection. ERR_MUX_REFUSED is no system error and has no errno.',
      },
    ],
  },
  {
    name: 'destroy() while connecting: events, and the callback of a waiting write',
    async observe(kit) {
      const { place } = await serve(kit);
      const socket = keep(place.dial());
      const log = logOf(socket);
      const written = new Promise<unknown>((resolve) =>
        socket.write('never', (error) => resolve((error as NodeJS.ErrnoException)?.code)),
      );
      socket.destroy();
      await closed(socket);
      return { log, written: await written };
    },
  },
  {
    name: 'option signal: aborted beforehand, while connecting, and once connected',
    async observe(kit) {
      const { place } = await serve(kit);
      const seen: unknown[] = [];
      for (const when of ['before', 'during', 'after']) {
        const abort = new AbortController();
        if (when === 'before') abort.abort();
        const socket = keep(place.dial({ signal: abort.signal }));
        const error = failed(socket);
        // node:net does not listen to the signal before the next tick.
        if (when === 'during') await new Promise<void>((resolve) => process.nextTick(resolve));
        if (when === 'after') await once(socket, 'connect');
        abort.abort();
        const { name, code } = await error;
        // node:net 20 connects all the same when the signal was aborted beforehand.
        if (when !== 'before') await closed(socket);
        seen.push([when, name, code, when === 'before' || socket.destroyed]);
      }
      return seen;
    },
  },
  {
    name: 'options onread: the buffer, the callback, pause by false, resume()',
    async observe(kit) {
      const { server, place } = await serve(kit);
      const accepted = once(server as net.Server, 'connection') as Promise<[AnySocket]>;
      const texts: string[] = [];
      let paused = false;
      const onread = {
        buffer: Buffer.alloc(4),
        callback(count: number, buffer: Uint8Array) {
          texts.push(Buffer.from(buffer.subarray(0, count)).toString());
          paused = texts.length === 1;
          return !paused;
        },
      };
      const socket = keep(place.dial({ onread }));
      const [peer] = await accepted;
      peer.write('abcdefgh');
      await eventually(() => paused);
      await sleep(50);
      const before = texts.join('');
      socket.resume();
      await eventually(() => socket.bytesRead === 8);
      return { before, after: texts.join(''), bytesRead: socket.bytesRead };
    },
  },
  {
    name: 'option highWaterMark, of clients and of servers',
    async observe(kit) {
      const { client, peer } = await pair(kit, { highWaterMark: 4000 }, { highWaterMark: 5000 });
      return [client, peer].map((s) => [s.readableHighWaterMark, s.writableHighWaterMark]);
    },
  },
  {
    name: 'options noDelay, keepAlive and keepAliveInitialDelay, and setNoDelay(), setKeepAlive()',
    async observe(kit) {
      const options = { noDelay: true, keepAlive: true, keepAliveInitialDelay: 1000 };
      const { client, peer } = await pair(kit, options, options);
      return [client, peer].map(
        (s) => s.setNoDelay(true) === s && s.setKeepAlive(true, 1000) === s,
      );
    },
  },
  {
    name: 'noDelay, when it is not said',
    differences: [
      {
        transports: ['tcp'],
        kind: 'different',
        reason: 'It is on: small messages leave at once. node:net leaves it off.',
      },
    ],
  },
  {
    name: 'options of another name',
    async observe(kit) {
      const { place } = await serve(kit);
      return codeOf(() => keep(place.dial({ allowHalfopen: true, timeout: 50 })));
    },
    differences: [
      {
        transports: ALL,
        kind: 'different',
        reason:
          'ERR_OPTION_UNKNOWN names the option and what was probably meant. node:net ignores it. (timeout is setTimeout() there; here timeoutMs bounds connecting.)',
      },
    ],
  },
  {
    name: 'socket.connect(port, host) on a socket of createConnection()',
    async observe(kit) {
      const { place } = await serve(kit);
      const socket = keep(place.dial());
      await once(socket, 'connect');
      const log = logOf(socket);
      socket.connect(1, '127.0.0.1');
      await eventually(() => log.length > 0);
      return log;
    },
    differences: [
      {
        transports: ALL,
        kind: 'different',
        reason:
          "A socket is connected where it was made. connect(port, host), which libraries such as pg call, is answered by 'connect' of that connection; node:net dials what it is given. After the end it throws ERR_TRANSPORT_UNSUPPORTED.",
      },
    ],
  },
  {
    name: 'new net.Socket() without a connection, and options fd, readable and writable',
    differences: [
      {
        transports: ALL,
        kind: 'unsupported',
        reason: 'There is no unconnected socket: use connect() or createConnection().',
      },
    ],
  },
  {
    name: "options family, lookup, hints, localAddress and autoSelectFamily, and 'lookup'",
    differences: [
      {
        transports: ALL,
        kind: 'unsupported',
        reason: 'The address says where to connect. For these options of TCP use node:net itself.',
      },
    ],
  },
  {
    name: 'instanceof net.Socket and Duplex',
    async observe(kit) {
      const { client, peer } = await pair(kit);
      return [client, peer].map((s) => [s instanceof net.Socket, s instanceof Duplex]);
    },
    differences: [
      {
        transports: OWN,
        kind: 'different',
        reason: 'The sockets are Duplexes, because net.Socket accepts no AF_VSOCK descriptor.',
      },
    ],
  },
  // reading and writing
  {
    name: 'setEncoding() across a split character',
    async observe(kit) {
      const { client, peer } = await pair(kit);
      client.setEncoding('utf8');
      const got = collect(client);
      peer.write(Buffer.from([0xe2, 0x82]));
      await eventually(() => client.bytesRead === 2);
      peer.write(Buffer.from([0xac]));
      await eventually(() => got.text !== '');
      return got.text;
    },
  },
  {
    name: 'pause(), resume() and isPaused()',
    async observe(kit) {
      const { client, peer } = await pair(kit);
      const got = collect(client);
      client.pause();
      const paused = client.isPaused();
      peer.write('abc');
      await sleep(50);
      const before = got.text;
      client.resume();
      await eventually(() => got.text.length === 3);
      return { paused, before, after: got.text };
    },
  },
  {
    name: "read() and 'readable'",
    async observe(kit) {
      const { client, peer } = await pair(kit);
      peer.write('abcdef');
      let all = '';
      client.on('readable', () => {
        for (let part = client.read(2); part !== null; part = client.read(2)) all += part;
      });
      await eventually(() => all.length === 6);
      return all;
    },
  },
  {
    name: 'cork() and uncork(), and writableLength',
    async observe(kit) {
      const { client, peer } = await pair(kit);
      const got = collect(peer);
      client.cork();
      for (const part of ['a', 'b', 'c']) client.write(part);
      const length = client.writableLength;
      client.uncork();
      await eventually(() => got.text === 'abc');
      return { length, text: got.text };
    },
  },
  {
    name: 'write(): strings, encodings, bytes, callbacks in order; anything else throws',
    async observe(kit) {
      const { client, peer } = await pair(kit);
      const got = collect(peer);
      const order: number[] = [];
      client.write('6162', 'hex', () => order.push(1));
      client.write(new Uint8Array([99]), () => order.push(2));
      client.write('d', () => order.push(3));
      await eventually(() => got.text.length === 4 && order.length === 3);
      return { text: got.text, order, wrong: codeOf(() => client.write({} as never)) };
    },
  },
  {
    name: 'bytesWritten, with what waits, and bytesRead',
    async observe(kit) {
      const { client, peer } = await pair(kit);
      peer.resume();
      client.write('é');
      const early = client.bytesWritten;
      await new Promise((resolve) => client.write('bc', resolve));
      await eventually(() => peer.bytesRead === 4);
      return [early, client.bytesWritten, peer.bytesRead];
    },
  },
  {
    name: "backpressure: write() returns false, 'drain' follows",
    async observe(kit) {
      const { client, peer } = await pair(kit, { pauseOnConnect: true });
      const chunk = Buffer.alloc(65536);
      while (client.write(chunk));
      const { writableNeedDrain } = client;
      peer.resume();
      await once(client, 'drain');
      return { writableNeedDrain, after: client.writableNeedDrain };
    },
  },
  {
    name: 'bufferSize',
    async observe(kit) {
      const { client } = await pair(kit, { pauseOnConnect: true });
      return client.bufferSize === client.writableLength;
    },
  },
  {
    name: 'pipeline() there and back, for await, toWeb(), finished()',
    async observe(kit) {
      const { client, peer } = await pair(kit, HALF, HALF);
      const echo = pipeline(peer, peer);
      let count = 0;
      const sink = new Writable({
        write(chunk, _encoding, done) {
          count += chunk.length;
          done();
        },
      });
      await pipeline(Readable.from([Buffer.alloc(100_000, 1)]), client, sink);
      await echo;
      const two = await pair(kit);
      two.peer.end('web');
      const reader = Duplex.toWeb(two.client).readable.getReader();
      const { value } = await reader.read();
      const three = await pair(kit);
      const done = new Promise((resolve) => finished(three.client, resolve));
      three.client.resume();
      three.peer.end();
      return { count, web: Buffer.from(value).toString(), finished: String(await done) };
    },
    differences: [HALF_CLOSE],
  },
  // ending
  {
    name: 'allowHalfOpen false: the end of the peer ends this side',
    async observe(kit) {
      const { client, peer } = await pair(kit);
      const log = logOf(client);
      client.resume();
      peer.resume();
      peer.end();
      await closed(client);
      return log;
    },
    differences: [
      {
        transports: ['vsock-mux'],
        kind: 'different',
        equalOnceClosed: true,
        reason: 'Multiplexers show the end of the guest only when both directions have ended.',
      },
    ],
  },
  {
    name: 'allowHalfOpen true: an answer after the end',
    async observe(kit) {
      const { client, peer } = await pair(kit, HALF, HALF);
      const got = collect(client);
      const log = logOf(client);
      peer.resume().once('end', () => peer.end('late'));
      client.end('question');
      await closed(client);
      return { text: got.text, log };
    },
    differences: [HALF_CLOSE],
  },
  {
    name: 'readyState and readable, writable after end()',
    async observe(kit) {
      const { client } = await pair(kit, HALF, HALF);
      client.end();
      await once(client, 'finish');
      return [client.readyState, client.readable, client.writable];
    },
  },
  {
    name: 'end(data, callback)',
    async observe(kit) {
      const { client, peer } = await pair(kit);
      const got = collect(peer);
      await new Promise<void>((resolve) => client.end('x', resolve));
      const { writableFinished } = client;
      await eventually(() => got.text === 'x');
      return { writableFinished, text: got.text };
    },
  },
  {
    name: 'write() after end(), and after destroy()',
    async observe(kit) {
      const one = await pair(kit);
      const error = failed(one.client);
      one.client.end();
      one.client.write('x');
      const two = await pair(kit);
      two.client.on('error', () => {});
      two.client.destroy();
      const after = new Promise<unknown>((resolve) =>
        two.client.write('x', (e) => resolve((e as NodeJS.ErrnoException)?.code)),
      );
      return [(await error).code, await after];
    },
  },
  {
    name: 'destroy(error): events and their order',
    async observe(kit) {
      const { client } = await pair(kit);
      const log = logOf(client);
      client.destroy(Object.assign(new Error('boom'), { code: 'BOOM' }));
      await closed(client);
      return { log, destroyed: client.destroyed, errored: client.errored?.message };
    },
  },
  {
    name: 'destroySoon() delivers what was written',
    async observe(kit) {
      const { client, peer } = await pair(kit);
      const got = collect(peer);
      client.write('x'.repeat(200_000));
      client.destroySoon();
      await closed(peer);
      return [got.text.length, client.destroyed];
    },
  },
  {
    name: 'destroy() with a write under way: the callback of the write',
    async observe(kit) {
      const { client } = await pair(kit, { pauseOnConnect: true });
      client.on('error', () => {});
      const written = new Promise<unknown>((resolve) =>
        client.write(Buffer.alloc(16 << 20), (error) =>
          resolve((error as NodeJS.ErrnoException)?.code ?? 'no error'),
        ),
      );
      await sleep(20);
      client.destroy();
      return written;
    },
    differences: [
      {
        transports: OWN,
        kind: 'different',
        equalSinceNode: 24,
        reason:
          'The callback gets ECANCELED, because the bytes have not all been sent. node:net of Node 20 calls it without an error; that of Node 24 does the same as here.',
      },
    ],
  },
  {
    name: 'writing to a peer that has gone',
    async observe(kit) {
      const { client, peer } = await pair(kit, HALF, HALF);
      client.resume();
      const ended = once(client, 'end');
      peer.destroy();
      await ended;
      const error = failed(client);
      const timer = setInterval(() => client.write('anybody?'), 10);
      const { code, syscall } = await error;
      clearInterval(timer);
      return {
        code: /^(EPIPE|ECONNRESET)$/.test(code ?? '') ? 'EPIPE or ECONNRESET' : code,
        syscall,
      };
    },
    differences: [
      {
        transports: ['vsock-mux'],
        kind: 'different',
        equalOnceClosed: true,
        reason:
          'The multiplexer decides how the end of the guest is shown, and it may be shown as the end of both directions.',
      },
    ],
  },
  {
    name: 'resetAndDestroy(): what this side and the peer see',
    async observe(kit) {
      const { client, peer } = await pair(kit);
      const [here, there] = [logOf(client), logOf(peer)];
      peer.resume();
      client.resetAndDestroy();
      await Promise.all([closed(client), closed(peer)]);
      return { here, there };
    },
    differences: [
      {
        transports: ['vsock', 'vsock-mux', 'vsock-device'],
        kind: 'different',
        reason: 'AF_VSOCK shows a reset as an end: the peer gets no ECONNRESET.',
      },
    ],
  },
  // times and the event loop
  {
    name: "setTimeout(): 'timeout' with its callback, the socket stays, 0 turns it off",
    async observe(kit) {
      const { client } = await pair(kit);
      const called = new Promise<string>((resolve) => client.setTimeout(30, () => resolve('yes')));
      await once(client, 'timeout');
      const { destroyed, timeout } = client;
      client.setTimeout(0);
      const off = client.timeout;
      let fired = false;
      client.setTimeout(2 ** 31, () => {
        fired = true;
      });
      await sleep(20);
      return { called: await called, destroyed, timeout, off, longest: client.timeout, fired };
    },
  },
  {
    name: 'setTimeout() of anything else',
    async observe(kit) {
      const { client } = await pair(kit);
      return [-1, Number.NaN, Number.POSITIVE_INFINITY, '5', null].map((value) =>
        codeOf(() => client.setTimeout(value as number)),
      );
    },
  },
  {
    name: 'traffic puts the timeout off, both ways',
    async observe(kit) {
      const { client, peer } = await pair(kit);
      peer.pipe(peer);
      client.resume();
      const idleMs = 600;
      let lastMs = performance.now();
      let early = 0;
      // One that is due because this process stood still is none that comes too early.
      client.on('timeout', () => {
        if (performance.now() - lastMs < idleMs - 2) early++;
      });
      client.setTimeout(idleMs);
      for (let i = 0; i < 12; i++) {
        lastMs = performance.now();
        client.write('x');
        await sleep(75);
      }
      return early;
    },
  },
  {
    name: 'ref() and unref() return the socket and the server',
    async observe(kit) {
      const { client, server } = await pair(kit);
      return [
        client.unref() === client,
        client.ref() === client,
        server.unref() === server,
        server.ref() === server,
      ];
    },
  },
  {
    name: 'Symbol.asyncDispose of a socket',
    async observe(kit) {
      const { client } = await pair(kit);
      client.on('error', () => {});
      await (client as unknown as AsyncDisposable)[Symbol.asyncDispose]();
      return client.destroyed;
    },
  },
  // addresses
  {
    name: 'addresses of both ends: their types, and address()',
    async observe(kit) {
      const { client, peer } = await pair(kit);
      return [client, peer].map((s) => ({
        remote: [typeof s.remoteAddress, typeof s.remotePort, typeof s.remoteFamily],
        local: [typeof s.localAddress, typeof s.localPort, typeof s.localFamily],
        address: Object.keys(s.address()).sort(),
      }));
    },
    differences: [
      {
        transports: ['vsock-mux'],
        kind: 'different',
        reason:
          'A multiplexer does not tell the port at this end of a connection that was made, nor at the other end of one that was accepted.',
      },
    ],
  },
  {
    name: 'what remoteAddress and localAddress hold',
    differences: [
      {
        transports: OWN,
        kind: 'different',
        reason:
          'Machines have names such as vm(3) and host(2), and the family is the name of the transport. remoteCid is the number.',
      },
    ],
  },
  {
    name: 'addresses after destroy()',
    async observe(kit) {
      const { client } = await pair(kit);
      client.destroy();
      await closed(client);
      return [typeof client.remoteAddress, typeof client.remotePort];
    },
    differences: [
      {
        transports: OWN,
        kind: 'different',
        reason: 'They stay, so that the end of a connection can be logged with its peer.',
      },
    ],
  },
  // servers
  {
    name: "listen() and close(): 'listening', 'close', listening, the callbacks",
    async observe(kit) {
      const server = keep(kit.createServer());
      const log: string[] = [];
      server.on('listening', () => log.push('listening'));
      server.on('close', () => log.push('close'));
      const before = [server.listening, server.address()];
      kit.listen(server);
      await once(server as net.Server, 'listening');
      const during = server.listening;
      const outcome = await new Promise((resolve) => server.close(resolve));
      return { before, during, after: server.listening, outcome: String(outcome), log };
    },
  },
  {
    name: 'close() waits for connections',
    async observe(kit) {
      const { client, peer, server } = await pair(kit);
      let done = false;
      server.close(() => {
        done = true;
      });
      await sleep(50);
      const early = done;
      client.destroy();
      peer.destroy();
      await eventually(() => done);
      return [early, done, server.listening];
    },
  },
  {
    name: 'close() of a server that does not listen',
    async observe(kit) {
      const server = kit.createServer();
      let closes = 0;
      server.on('close', () => closes++);
      const error = await new Promise<Error | undefined>((resolve) => server.close(resolve));
      return [(error as NodeJS.ErrnoException | undefined)?.code, closes];
    },
  },
  {
    name: 'listen() of a server that listens',
    async observe(kit) {
      const { server, place } = await serve(kit);
      return codeOf(() => place.listenAgain(server));
    },
  },
  {
    name: 'listen() again after close()',
    async observe(kit) {
      const server = keep(kit.createServer());
      for (let round = 0; round < 2; round++) {
        kit.listen(server);
        await once(server as net.Server, 'listening');
        await new Promise((resolve) => server.close(resolve));
      }
      return server.listening;
    },
  },
  {
    name: 'listen() where somebody listens',
    async observe(kit) {
      const { place } = await serve(kit);
      const second = keep(kit.createServer());
      const error = new Promise<NodeJS.ErrnoException>((resolve) => second.once('error', resolve));
      place.listenAgain(second);
      const { code, syscall } = await error;
      return { code, syscall: typeof syscall, listening: second.listening };
    },
  },
  {
    name: 'options of listen(): backlog, and signal closes',
    async observe(kit) {
      const abort = new AbortController();
      const { server } = await serve(kit, {}, { backlog: 5, signal: abort.signal });
      const gone = new Promise<void>((resolve) => server.once('close', resolve));
      abort.abort();
      await gone;
      return server.listening;
    },
  },
  {
    name: 'options of listen() exclusive, ipv6Only, readableAll, writableAll and reusePort',
    differences: [
      {
        transports: ALL,
        kind: 'unsupported',
        reason: 'ERR_OPTION_UNKNOWN. Use node:net where one of them is needed.',
      },
    ],
  },
  {
    name: 'listen(port), listen(path), listen(handle)',
    differences: [
      {
        transports: ALL,
        kind: 'different',
        reason: 'A server listens on an address, such as vsock:any:80 or tcp:127.0.0.1:80.',
      },
    ],
  },
  {
    name: 'address() of a server that listens',
    async observe(kit) {
      const { server } = await serve(kit);
      const address = server.address();
      return typeof address === 'string' ? address : Object.keys(address ?? {}).sort();
    },
    differences: [
      {
        transports: ALL,
        kind: 'different',
        reason: 'It is an address of this library, which connect() and formatAddress() take.',
      },
    ],
  },
  {
    name: 'pauseOnConnect',
    async observe(kit) {
      const { client, peer } = await pair(kit, { pauseOnConnect: true });
      client.write('x');
      await sleep(50);
      const { bytesRead } = peer;
      const paused = peer.isPaused();
      const got = collect(peer);
      peer.resume();
      await eventually(() => got.text === 'x');
      return { bytesRead, paused, text: got.text };
    },
  },
  {
    name: 'getConnections()',
    async observe(kit) {
      const { server } = await pair(kit);
      return new Promise((resolve) =>
        server.getConnections((error, count) => resolve([error, count])),
      );
    },
  },
  {
    name: "maxConnections and 'drop' with its data",
    async observe(kit) {
      const { server, place } = await pair(kit);
      server.maxConnections = 1;
      const dropped = once(server as net.Server, 'drop');
      const extra = keep(place.dial());
      extra.on('error', () => {});
      extra.resume();
      const [data] = await dropped;
      await closed(extra);
      return Object.entries(data ?? {})
        .map(([name, value]) => `${name}: ${typeof value}`)
        .sort();
    },
    differences: [
      {
        transports: ['vsock-mux'],
        kind: 'different',
        reason: 'A multiplexer does not tell the port of the guest: remotePort is absent.',
      },
    ],
  },
  {
    name: 'Symbol.asyncDispose of a server with connections',
    async observe(kit) {
      const { server, client } = await pair(kit);
      client.on('error', () => {});
      const disposed = (server as unknown as AsyncDisposable)[Symbol.asyncDispose]();
      const how = await Promise.race([disposed.then(() => 'at once'), sleep(1000, 'waits')]);
      return how;
    },
    differences: [
      {
        transports: ALL,
        kind: 'different',
        reason: 'It ends the connections, too. node:net waits for them.',
      },
    ],
  },
  {
    name: 'instanceof net.Server, and EventEmitter',
    async observe(kit) {
      const { server } = await serve(kit);
      return server instanceof net.Server;
    },
    differences: [
      {
        transports: ALL,
        kind: 'different',
        reason:
          'A server is an EventEmitter. forward() hands its connections to an http.Server, tls.Server and so on.',
      },
    ],
  },
  {
    name: 'blockList, dropMaxConnection, net.BlockList, net.isIP(), Happy Eyeballs',
    differences: [
      {
        transports: ALL,
        kind: 'unsupported',
        reason: 'They are about IP addresses or clusters. Use node:net.',
      },
    ],
  },
];

/**
 * What a behaviour looked like, as text that can be compared.
 *
 * @param impatient does not wait long for what is not expected to happen
 */
export async function observed(behaviour: Behaviour, kit: Kit, impatient = false): Promise<string> {
  const { observe } = behaviour;
  if (observe === undefined) return '';
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('nothing more happens')), impatient ? 2_000 : 20_000);
  });
  try {
    return JSON.stringify(await Promise.race([observe(kit), late])) ?? 'undefined';
  } catch (error) {
    return `${error}`;
  } finally {
    clearTimeout(timer);
    await closeAll();
  }
}

/** The difference that a behaviour has on a transport with this Node, if any. */
export function differenceHere(
  behaviour: Behaviour,
  transport: TableTransport,
): Difference | undefined {
  const difference = differenceOn(behaviour, transport);
  const [major = 0] = process.versions.node.split('.').map(Number);
  return major < (difference?.equalSinceNode ?? Infinity) ? difference : undefined;
}

/** The difference that a behaviour has on a transport, if any. */
export function differenceOn(
  behaviour: Behaviour,
  transport: TableTransport,
): Difference | undefined {
  return behaviour.differences?.find(({ transports }) => transports.includes(transport));
}
