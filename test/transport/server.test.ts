import { once } from 'node:events';
import { existsSync, rmSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { join } from 'node:path';
import tls from 'node:tls';
import t from 'tap';
import {
  connect,
  createConnection,
  createServer,
  formatAddress,
} from '../../src/transport/index.js';
import { until } from '../until.js';
import { makeIdentity } from './certificate.js';
import { socketFolder } from './fake-mux.js';
import { readLine } from './stream-tools.js';

const folder = socketFolder();
t.teardown(() => rmSync(folder, { recursive: true, force: true }));
const path = (name: string): string => join(folder, name);

t.test('listens, says where, counts and closes', async (t) => {
  const server = createServer();
  t.equal(server.listening, false);
  t.equal(server.address(), null);
  server.listen('tcp:127.0.0.1:0');
  t.throws(() => server.listen('tcp:127.0.0.1:0'), { code: 'ERR_SERVER_ALREADY_LISTEN' });
  await once(server, 'listening');
  const address = server.address();
  t.match(address, { transport: 'tcp', host: '127.0.0.1', port: Number });
  if (address === null) return;
  const accepted = once(server, 'connection');
  const client = await connect(address);
  const [socket] = await accepted;
  t.match(socket, { transport: 'tcp', halfClose: true, remote: { host: '127.0.0.1' } });
  const count = (): Promise<number> =>
    new Promise((resolve) => server.getConnections((_error, n) => resolve(n)));
  t.equal(await count(), 1);
  let closed = false;
  server.close(() => {
    closed = true;
  });
  await t.rejects(connect(address), { code: 'ECONNREFUSED' }, 'no new connections');
  t.notOk(closed, 'the open connection is waited for');
  client.end();
  socket.resume();
  await once(server, 'close');
  t.ok(closed);
  t.equal(await count(), 0);
  const late = new Promise((resolve) => server.close(resolve));
  t.match(await late, { code: 'ERR_SERVER_NOT_RUNNING' });
});

t.test('listens again after it has closed', async (t) => {
  const server = createServer();
  for (let round = 0; round < 2; round++) {
    server.listen(`unix:${path('again')}`);
    await once(server, 'listening');
    const client = await connect(`unix:${path('again')}`);
    client.destroy();
    await server[Symbol.asyncDispose]();
    t.notOk(existsSync(path('again')));
  }
  await server[Symbol.asyncDispose]();
});

t.test('close() right after listen()', async (t) => {
  const server = createServer();
  server.on('listening', () => t.fail('it never got to listen'));
  server.listen(`unix:${path('early')}`);
  server.close();
  await once(server, 'close');
  t.notOk(existsSync(path('early')));
});

t.test('a dead listener is replaced, a live one is not', async (t) => {
  // node:net removes the file when it closes, so a hard kill is played by renaming it away.
  const dead = net.createServer().listen(path('dead'));
  await once(dead, 'listening');
  const { linkSync } = await import('node:fs');
  linkSync(path('dead'), path('stale'));
  dead.close();
  await once(dead, 'close');
  await t.rejects(connect(`unix:${path('stale')}`), { code: 'ECONNREFUSED', syscall: 'connect' });
  const server = createServer().listen(`unix:${path('stale')}`);
  await once(server, 'listening');
  const second = createServer().listen(`unix:${path('stale')}`);
  await t.rejects(once(second, 'listening'), { code: 'EADDRINUSE' });
  await server[Symbol.asyncDispose]();
});

t.test('a signal closes it', async (t) => {
  const abort = new AbortController();
  const server = createServer().listen(`unix:${path('signal')}`, { signal: abort.signal });
  await once(server, 'listening');
  abort.abort();
  await once(server, 'close');
  t.notOk(server.listening);
});

t.test('maxConnections', async (t) => {
  const server = createServer().listen(`unix:${path('max')}`);
  await once(server, 'listening');
  server.maxConnections = 1;
  const first = await connect(`unix:${path('max')}`);
  const dropped = once(server, 'drop');
  const second = await connect(`unix:${path('max')}`);
  t.match(await dropped, [{ localAddress: undefined }]);
  second.resume();
  if (!second.closed) await once(second, 'close');
  first.destroy();
  await server[Symbol.asyncDispose]();
  t.pass();
});

t.test('pauseOnConnect and allowHalfOpen reach the sockets', async (t) => {
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true });
  server.listen(`unix:${path('paused')}`);
  await once(server, 'listening');
  const accepted = once(server, 'connection');
  const client = createConnection(`unix:${path('paused')}`);
  client.end('all\n');
  const [socket] = await accepted;
  t.equal(socket.isPaused(), true);
  t.equal(await readLine(socket), 'all');
  socket.resume();
  await once(socket, 'end');
  socket.end('answer\n');
  t.equal(await readLine(client), 'answer');
  await server[Symbol.asyncDispose]();
});

t.test('wrong options are refused by name', (t) => {
  t.throws(() => createServer({ bufferBytes: 1 }), {
    code: 'ERR_OPTION_INVALID',
    detail: { option: 'bufferBytes' },
  });
  t.throws(() => createServer().listen('unix:/x', { backlog: -1 }), { code: 'ERR_OPTION_INVALID' });
  for (const options of [{ timeoutMs: 0 }, { timeoutMs: Number.NaN }, { handshakeTimeoutMs: -1 }]) {
    t.throws(() => createConnection('unix:/x', options), { code: 'ERR_OPTION_INVALID' });
  }
  t.end();
});

t.test(
  'an option that there is not is refused by name, with what was probably meant',
  async (t) => {
    const refused = (option: string, message: RegExp) => ({
      code: 'ERR_OPTION_UNKNOWN',
      detail: { option },
      message,
    });
    const wrong = (options: object) => options as { signal: AbortSignal };
    t.throws(
      () => createConnection('unix:/x', wrong({ allowHalfopen: true })),
      refused(
        'allowHalfopen',
        /createConnection\(\) has no option "allowHalfopen".*allowHalfOpen\?/,
      ),
    );
    t.throws(
      () => createConnection('unix:/x', wrong({ timeout: 10 })),
      refused('timeout', /timeoutMs.*setTimeout/),
    );
    await t.rejects(
      connect('unix:/x', wrong({ retryDelay: 5 })),
      refused('retryDelay', /retryDelayMs/),
    );
    t.throws(
      () => createServer(wrong({ backlog: 5 }) as object),
      refused('backlog', /It has pauseOnConnect/),
    );
    t.throws(
      () => createServer().listen('unix:/x', wrong({ port: 5 })),
      refused('port', /address/),
    );
    t.throws(() => createServer(null as never), { code: 'ERR_OPTION_INVALID' });
    const nothing = createConnection('unix:/nowhere', wrong({ other: undefined }));
    t.match(await new Promise((resolve) => nothing.once('error', resolve)), { code: 'ENOENT' });
  },
);

t.test('the data of drop says who was turned away', async (t) => {
  const server = createServer().listen('tcp:127.0.0.1:0');
  await once(server, 'listening');
  server.maxConnections = 1;
  const address = server.address() ?? '';
  const first = await connect(address);
  const dropped = once(server, 'drop');
  const second = createConnection(address);
  await once(second, 'connect');
  const { localPort } = second;
  const [data] = await dropped;
  t.same(data, {
    localAddress: '127.0.0.1',
    localPort: (address as { port: number }).port,
    localFamily: 'IPv4',
    remoteAddress: '127.0.0.1',
    remotePort: localPort,
    remoteFamily: 'IPv4',
  });
  for (const socket of [first, second]) socket.destroy();
  await server[Symbol.asyncDispose]();
});

t.test(
  'a signal destroys a connected socket of createConnection(), not one of connect()',
  async (t) => {
    const server = createServer((peer) => peer.pipe(peer)).listen(`unix:${path('signalled')}`);
    await once(server, 'listening');
    const abort = new AbortController();
    const { signal } = abort;
    const kept = await connect(`unix:${path('signalled')}`, { signal });
    const socket = createConnection(`unix:${path('signalled')}`, { signal });
    await once(socket, 'connect');
    const failed = new Promise((resolve) => socket.once('error', resolve));
    abort.abort();
    t.match(await failed, { name: 'AbortError', code: 'ABORT_ERR' });
    kept.write('still here\n');
    t.equal(await readLine(kept), 'still here');
    const late = createConnection(`unix:${path('signalled')}`, { signal });
    t.match(await new Promise((resolve) => late.once('error', resolve)), { name: 'AbortError' });
    await server[Symbol.asyncDispose]();
  },
);

t.test('http over any transport, with a server that closes idle connections', async (t) => {
  const web = http.createServer((request, response) => response.end(`hello ${request.url}`));
  const server = createServer()
    .forward(web)
    .listen(`unix:${path('http')}`);
  await once(server, 'listening');
  const agent = new http.Agent({ keepAlive: true });
  agent.createConnection = () => createConnection(`unix:${path('http')}`);
  const text = await new Promise<string>((resolve, reject) => {
    http
      .get({ agent, path: '/world' }, (response) => {
        response.setEncoding('utf8').on('data', resolve);
      })
      .on('error', reject);
  });
  t.equal(text, 'hello /world');
  const count = (): Promise<number> =>
    new Promise((resolve) => server.getConnections((_error, n) => resolve(n)));
  t.equal(await count(), 1, 'the connection is kept alive');
  await until('a connection that is free again', () => Object.keys(agent.freeSockets).length === 1);
  server.close();
  await once(server, 'close');
  agent.destroy();
});

t.test('http with createConnection and no agent', async (t) => {
  const web = http.createServer((_request, response) => response.end('plain'));
  const server = createServer().forward(web).listen('tcp:127.0.0.1:0');
  await once(server, 'listening');
  const address = formatAddress(server.address() ?? { transport: 'unix', path: '/' });
  const text = await new Promise<string>((resolve, reject) => {
    http
      .get({ createConnection: () => createConnection(address), path: '/' }, (response) => {
        response.setEncoding('utf8').on('data', resolve);
      })
      .on('error', reject);
  });
  t.equal(text, 'plain');
  await server[Symbol.asyncDispose]();
});

t.test('tls with a certificate on both sides', async (t) => {
  const guest = makeIdentity('guest.test');
  const host = makeIdentity('host.test');
  const secure = tls.createServer(
    { ...guest, ca: host.cert, requestCert: true, rejectUnauthorized: true },
    (socket) => socket.end(`${socket.getPeerCertificate().subject.CN}\n`),
  );
  const server = createServer()
    .forward(secure)
    .listen(`unix:${path('tls')}`);
  await once(server, 'listening');
  const client = tls.connect({
    ...host,
    socket: createConnection(`unix:${path('tls')}`),
    ca: guest.cert,
    servername: 'guest.test',
  });
  t.equal(await readLine(client), 'host.test');
  client.destroy();

  const stranger = tls.connect({
    ...makeIdentity('host.test'),
    socket: createConnection(`unix:${path('tls')}`),
    ca: guest.cert,
    servername: 'guest.test',
  });
  await t.rejects(readLine(stranger), { message: /alert|ended|reset/i });
  await server[Symbol.asyncDispose]();
});
