import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import tls from 'node:tls';
import grpc from '@grpc/grpc-js';
import fastify from 'fastify';
import pg from 'pg';
import { Agent, fetch, request } from 'undici';
import { WebSocket, WebSocketServer } from 'ws';
import {
  agent,
  connect,
  createConnection,
  createServer,
  dispatcher,
  type Server,
  webSocketOptions,
} from '../../src/transport/index.js';
import type { TestIdentity } from '../transport/certificate.js';
import { TLS_NAME } from '../transport/peer.js';
import { CHUNK_BYTES, exchangePattern, pattern, patternHash } from '../transport/stream-tools.js';

/** What the programs' servers need. */
export interface ServerContext {
  readonly identity: TestIdentity;
  /** Addresses of servers that are no libraries and run elsewhere. */
  readonly upstream: Readonly<Partial<Record<'pg' | 'ssh', string>>>;
}

/** What the programs' clients need. */
export interface ClientContext {
  /** The servers' certificate. */
  readonly certificate: string;
  /** How to run ssh: its arguments, but for the ProxyCommand and the command. */
  readonly ssh?: readonly string[] | undefined;
  /** The command, and its arguments, that connects its standard input and output to an address. */
  readonly proxyCommand?: string | undefined;
}

/** A client and a server of the ecosystem. */
export interface Program {
  readonly name: string;
  /** What else there is to know about how it is run. */
  readonly note?: string;
  /** Makes a server that is yet to listen. */
  serve(context: ServerContext): Server | Promise<Server>;
  /** Talks to it, and throws when anything is not as it should be. */
  use(address: string, context: ClientContext): Promise<void>;
}

const MIB = 1024 * 1024;
const AT_ONCE = 8;
const body = (): Buffer => Buffer.concat([...pattern(MIB)]);

/** Sends what comes to another address, and its answers back. */
export function relay(to: string | undefined): Server {
  return createServer({ allowHalfOpen: true }, (peer) => {
    if (to === undefined) {
      peer.destroy();
      return;
    }
    const next = createConnection(to, { allowHalfOpen: true });
    const done = (): void => {};
    pipeline(peer, next, done);
    pipeline(next, peer, done);
  });
}

// A client that was kept waiting asks by a connection that it kept. Had the server closed that after
// Node's 5 s, undici could not tell whether the request had been served: "fetch failed".
const PATIENT = { keepAliveTimeout: 600_000 };

function answer(request: http.IncomingMessage, response: http.ServerResponse): void {
  buffer(request).then(
    (received) => response.end(`${request.method} ${request.url} ${received.length}`),
    () => response.destroy(),
  );
}

async function ask(
  how: http.RequestOptions | https.RequestOptions,
  module: Pick<typeof http, 'request'>,
  sent?: Buffer,
): Promise<string> {
  const out = module.request({ ...how, host: TLS_NAME });
  out.end(sent);
  const [response] = (await once(out, 'response')) as [http.IncomingMessage];
  return `${response.statusCode} ${await text(response)}`;
}

async function askThrough(pool: http.Agent, module: Pick<typeof http, 'request'>): Promise<void> {
  try {
    assert.equal(await ask({ agent: pool, path: '/a' }, module), '200 GET /a 0');
    const post = { agent: pool, path: '/b', method: 'POST' };
    assert.equal(await ask(post, module, body()), `200 POST /b ${MIB}`);
    const all = Array.from({ length: AT_ONCE }, (_, i) =>
      ask({ agent: pool, path: `/${i}` }, module),
    );
    for (const [i, one] of (await Promise.all(all)).entries()) assert.equal(one, `200 GET /${i} 0`);
  } finally {
    pool.destroy();
  }
}

const echo: grpc.MethodDefinition<Buffer, Buffer> = {
  path: '/waep.Test/Echo',
  requestStream: false,
  responseStream: false,
  requestSerialize: (value) => value,
  requestDeserialize: (value) => value,
  responseSerialize: (value) => value,
  responseDeserialize: (value) => value,
};
const parts: grpc.MethodDefinition<Buffer, Buffer> = {
  ...echo,
  path: '/waep.Test/Parts',
  responseStream: true,
};

async function echoSocket(url: string, options: WebSocket.ClientOptions): Promise<void> {
  const socket = new WebSocket(url, options);
  await once(socket, 'open');
  for (const message of [Buffer.from('hello'), body()]) {
    socket.send(message);
    const [received] = (await once(socket, 'message')) as [Buffer];
    assert.ok(message.equals(received), 'the echo is the same');
  }
  socket.close(1000, 'done');
  assert.equal((await once(socket, 'close'))[0], 1000);
}

function webSockets(server: http.Server | https.Server): void {
  new WebSocketServer({ server, maxPayload: 2 * MIB }).on('connection', (socket) =>
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary })),
  );
}

export const programs: readonly Program[] = [
  {
    name: 'http',
    serve: () => createServer().forward(http.createServer(PATIENT, answer)),
    async use(address) {
      await askThrough(agent(address, { maxSockets: 4 }), http);
      const plain = { createConnection: () => createConnection(address), path: '/c' };
      assert.equal(await ask(plain, http), '200 GET /c 0');
    },
  },
  {
    name: 'https',
    serve: ({ identity }) =>
      createServer().forward(https.createServer({ ...identity, ...PATIENT }, answer)),
    async use(address, { certificate: ca }) {
      await askThrough(agent(address, { tls: { ca }, maxSockets: 4 }), https);
    },
  },
  {
    name: 'tls',
    serve: ({ identity }) =>
      createServer().forward(
        tls.createServer(identity, (peer) => {
          peer.on('error', () => peer.destroy());
          peer.pipe(peer);
        }),
      ),
    async use(address, { certificate: ca }) {
      const socket = tls.connect({ socket: createConnection(address), ca, servername: TLS_NAME });
      await once(socket, 'secureConnect');
      assert.equal(socket.authorized, true);
      await exchangePattern(socket, MIB);
      socket.end();
      socket.resume();
      if (!socket.closed) await once(socket, 'close');
    },
  },
  {
    name: 'ws',
    serve() {
      const server = http.createServer();
      webSockets(server);
      return createServer().forward(server);
    },
    async use(address) {
      await echoSocket('ws://guest/', webSocketOptions(address));
    },
  },
  {
    name: 'wss',
    serve({ identity }) {
      const server = https.createServer(identity);
      webSockets(server);
      return createServer().forward(server);
    },
    async use(address, { certificate: ca }) {
      await echoSocket(`wss://${TLS_NAME}/`, webSocketOptions(address, { tls: { ca } }));
    },
  },
  {
    name: 'http2',
    serve() {
      const server = http2.createServer();
      server.on('stream', (stream) => {
        stream.respond({ ':status': 200 });
        stream.pipe(stream);
      });
      return createServer().forward(server);
    },
    async use(address) {
      const session = http2.connect('http://guest', {
        createConnection: () => createConnection(address),
      });
      try {
        const sent = body().subarray(0, 2 * CHUNK_BYTES);
        const streams = Array.from({ length: AT_ONCE }, async () => {
          const stream = session.request({ ':method': 'POST', ':path': '/' });
          stream.end(sent);
          assert.ok((await buffer(stream)).equals(sent), 'the echo is the same');
        });
        await Promise.all(streams);
      } finally {
        session.close();
      }
      if (!session.closed) await once(session, 'close');
    },
  },
  {
    name: 'grpc-js',
    note: 'The client goes through a Unix socket of the test: grpc-js 1.14 has no hook for the connections of a client. The server takes connections by its connection injector.',
    serve() {
      const server = new grpc.Server({ 'grpc.max_receive_message_length': 2 * MIB });
      server.addService(
        { echo, parts },
        {
          echo: ((call, done) => done(null, call.request)) satisfies grpc.handleUnaryCall<
            Buffer,
            Buffer
          >,
          parts: ((call) => {
            for (let i = 0; i < 100; i++) call.write(call.request);
            call.end();
          }) satisfies grpc.handleServerStreamingCall<Buffer, Buffer>,
        },
      );
      const injector = server.createConnectionInjector(grpc.ServerCredentials.createInsecure());
      return createServer((socket) => injector.injectConnection(socket));
    },
    async use(address) {
      const folder = mkdtempSync(join(tmpdir(), 'waep-grpc-'));
      const path = join(folder, 's');
      const entry = relay(address).listen(`unix:${path}`);
      await once(entry, 'listening');
      const credentials = grpc.credentials.createInsecure();
      const client = new grpc.Client(`unix:${path}`, credentials, {
        'grpc.max_receive_message_length': 2 * MIB,
      });
      try {
        const sent = body();
        const received = await new Promise<Buffer | undefined>((resolve, reject) =>
          client.makeUnaryRequest(
            echo.path,
            echo.requestSerialize,
            echo.responseDeserialize,
            sent,
            (error, value) => (error ? reject(error) : resolve(value)),
          ),
        );
        assert.ok(received?.equals(sent), 'the echo is the same');
        const stream = client.makeServerStreamRequest(
          parts.path,
          parts.requestSerialize,
          parts.responseDeserialize,
          sent.subarray(0, 1000),
        );
        let count = 0;
        for await (const _ of stream) count += 1;
        assert.equal(count, 100);
      } finally {
        client.close();
        await entry[Symbol.asyncDispose]();
        rmSync(folder, { recursive: true });
      }
    },
  },
  {
    name: 'undici',
    serve: () => createServer().forward(http.createServer(PATIENT, answer)),
    async use(address) {
      const guest = dispatcher(address, Agent, { connections: 4 });
      try {
        const got = await fetch('http://guest/a', { dispatcher: guest });
        assert.equal(await got.text(), 'GET /a 0');
        const posted = await request('http://guest/b', {
          dispatcher: guest,
          method: 'POST',
          body: body(),
        });
        assert.equal(await posted.body.text(), `POST /b ${MIB}`);
        const all = Array.from({ length: AT_ONCE }, async (_, i) =>
          (await fetch(`http://guest/${i}`, { dispatcher: guest })).text(),
        );
        for (const [i, one] of (await Promise.all(all)).entries()) assert.equal(one, `GET /${i} 0`);
      } finally {
        await guest.close();
      }
    },
  },
  {
    name: 'pg',
    note: 'The server is PostgreSQL itself, behind a listener of the transport.',
    serve: ({ upstream }) => relay(upstream.pg),
    async use(address) {
      const login = { user: 'waep', database: 'postgres' };
      const client = new pg.Client({ ...login, stream: () => createConnection(address) });
      await client.connect();
      const sent = body().toString('base64');
      const { rows } = await client.query('select $1::text as back, 6 * 7 as answer', [sent]);
      assert.equal(rows[0].answer, 42);
      assert.equal(rows[0].back, sent);
      await client.end();
      const connected = await connect(address);
      const second = new pg.Client({ ...login, stream: () => connected });
      await second.connect();
      assert.equal(
        (await second.query('select count(*) from generate_series(1, 5000)')).rowCount,
        1,
      );
      await second.end();
      const pool = new pg.Pool({ ...login, max: 4, stream: () => createConnection(address) });
      const all = Array.from({ length: AT_ONCE }, (_, i) =>
        pool.query('select pg_sleep(0.01), $1::int as i', [i]),
      );
      for (const [i, one] of (await Promise.all(all)).entries()) assert.equal(one.rows[0].i, i);
      await pool.end();
    },
  },
  {
    name: 'Fastify',
    async serve() {
      const app = fastify({ bodyLimit: 4 * MIB, ...PATIENT });
      app.get('/hello/:name', (request) => request.params);
      app.post('/echo', (request) => request.body);
      await app.ready();
      return createServer().forward(app.server);
    },
    async use(address) {
      const guest = dispatcher(address, Agent);
      try {
        const got = await fetch('http://guest/hello/you', { dispatcher: guest });
        assert.deepEqual(await got.json(), { name: 'you' });
        const sent = { list: Array.from({ length: 20_000 }, (_, i) => `entry ${i}`) };
        const posted = await fetch('http://guest/echo', {
          dispatcher: guest,
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify(sent),
        });
        assert.deepEqual(await posted.json(), sent);
      } finally {
        await guest.close();
      }
    },
  },
  {
    name: 'ssh',
    note: 'OpenSSH on both ends, by ProxyCommand; the server is behind a listener of the transport.',
    serve: ({ upstream }) => relay(upstream.ssh),
    async use(address, { ssh, proxyCommand }) {
      assert.ok(ssh !== undefined && proxyCommand !== undefined, 'nothing is known of ssh');
      const proxy = `${proxyCommand} ${address}`;
      const args = ['-o', `ProxyCommand=${proxy}`, ...ssh, 'cat; echo done >&2'];
      const child = spawn('ssh', args, { stdio: ['pipe', 'pipe', 'pipe'] });
      const said = text(child.stderr);
      const received = buffer(child.stdout);
      const ended = once(child, 'close');
      child.stdin.end(body());
      const hash = (await received).equals(body()) ? patternHash(MIB) : 'other bytes';
      const [status] = await ended;
      assert.equal(hash, patternHash(MIB), await said);
      assert.match(await said, /done/);
      assert.equal(status, 0);
    },
  },
];
