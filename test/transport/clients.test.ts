import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { Agent, fetch } from 'undici';
import { WebSocket, WebSocketServer } from 'ws';
import {
  agent,
  createConnection,
  createServer,
  dispatcher,
  webSocketOptions,
} from '../../src/transport/index.js';
import { makeIdentity } from './certificate.js';
import { socketFolder } from './fake-mux.js';

const folder = socketFolder();
t.teardown(() => rmSync(folder, { recursive: true, force: true }));
const examples = fileURLToPath(new URL('../../../examples/transport/', import.meta.url));
const nobody = `unix:${join(folder, 'nobody')}`;

/** Runs an example as its first line says, and returns what it prints. */
async function example(name: string, ...args: string[]): Promise<string> {
  const run = promisify(execFile)(process.execPath, [join(examples, name), ...args]);
  return (await run).stdout;
}

t.test('the examples', async (t) => {
  const web = http.createServer((request, response) => response.end(`you asked ${request.url}`));
  new WebSocketServer({ server: web }).on('connection', (socket) =>
    socket.on('message', (data) => socket.send(`you said ${data}`)),
  );
  const address = `unix:${join(folder, 'web')}`;
  await using server = createServer().forward(web).listen(address);
  await once(server, 'listening');
  t.equal(await example('http.mjs', address, '/status'), '200\nyou asked /status');
  t.equal(await example('fetch.mjs', address, '/status'), '200\nyou asked /status');
  t.equal(await example('websocket.mjs', address, 'good day'), 'you said good day\n');
  const proxy = promisify(execFile)(process.execPath, [
    join(examples, 'proxy-command.mjs'),
    address,
  ]);
  proxy.child.stdin?.write('GET /through HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n');
  t.match((await proxy).stdout, /you asked \/through/);
  await t.rejects(example('http.mjs', nobody), /ENOENT/);
});

t.test('what is wrong with options is said where they are written', (t) => {
  const connect = { timeout: 5 } as object;
  const refused = { code: 'ERR_OPTION_UNKNOWN', detail: { option: 'timeout' } };
  t.throws(() => agent(nobody, { connect }), refused);
  t.throws(() => dispatcher(nobody, Agent, { connect }), refused);
  t.throws(() => webSocketOptions(nobody, { connect }), refused);
  t.throws(() => createConnection(nobody, connect), refused);
  const misspelt: object = { conect: {} };
  t.throws(() => webSocketOptions(nobody, misspelt), {
    code: 'ERR_OPTION_UNKNOWN',
    message: /webSocketOptions\(\) has no option "conect"\. Did you mean connect/,
  });
  t.throws(() => agent('vsock:3'), { code: 'ERR_ADDRESS_INVALID' });
  t.end();
});

t.test('an agent keeps connections alive, and closes them when it is destroyed', async (t) => {
  const address = `unix:${join(folder, 'alive')}`;
  let connections = 0;
  const web = http.createServer((_request, response) => response.end('hello'));
  await using server = createServer(() => connections++)
    .forward(web)
    .listen(address);
  await once(server, 'listening');
  const guest = agent(address);
  for (const host of ['guest', 'guest', 'other.guest']) {
    const [response] = await once(http.get(`http://${host}/`, { agent: guest }), 'response');
    await response.toArray();
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.equal(connections, 2, 'one for each host');
  guest.destroy();
  await new Promise<void>((resolve) => server.close(() => resolve()));
});

t.test('https takes the names and the authority that it is given', async (t) => {
  const identity = makeIdentity('guest.test');
  const address = `unix:${join(folder, 'secure')}`;
  const web = https.createServer(identity, (_request, response) => response.end('secret'));
  await using server = createServer().forward(web).listen(address);
  await once(server, 'listening');
  const ask = async (pool: https.Agent): Promise<string> => {
    const [response] = await once(https.get('https://guest.test/', { agent: pool }), 'response');
    return Buffer.concat(await response.toArray()).toString();
  };
  const secure = agent(address, { tls: { ca: identity.cert } });
  t.equal(await ask(secure), 'secret');
  secure.destroy();
  await t.rejects(ask(agent(address, { tls: {} })), { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' });
  const guest = dispatcher(address, Agent, { tls: { ca: identity.cert } });
  t.equal(await (await fetch('https://guest.test/', { dispatcher: guest })).text(), 'secret');
  await guest.close();
  const stranger = dispatcher(address, Agent);
  await t.rejects(fetch('https://guest.test/', { dispatcher: stranger }), {
    cause: { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' },
  });
  await stranger.close();
});

t.test('who cannot be reached is told of by the error of the transport', async (t) => {
  const unreachable = {
    unix: [nobody, 'ENOENT'],
    mux: [`vsock-mux:${join(folder, 'nobody')}:5`, 'ENOENT'],
  } as const;
  for (const [address, code] of Object.values(unreachable)) {
    await t.rejects(once(http.get('http://a/', { agent: agent(address) }), 'response'), { code });
    const secure = agent(address, { tls: {} });
    await t.rejects(once(https.get('https://a/', { agent: secure }), 'response'), { code });
    for (const url of ['http://a/', 'https://a/']) {
      const guest = dispatcher(address, Agent);
      await t.rejects(fetch(url, { dispatcher: guest }), { cause: { code } });
      await guest.close();
    }
    for (const [url, options] of [
      ['ws://a/', {}],
      ['wss://a/', { tls: {} }],
    ] as const) {
      const socket = new WebSocket(url, webSocketOptions(address, options));
      t.match(await new Promise((resolve) => socket.once('error', resolve)), { code });
    }
  }
});
