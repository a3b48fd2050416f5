import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import http from 'node:http';
import net from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { native } from '../../src/native.js';
import {
  connect,
  createConnection,
  createServer,
  Server,
  VsockDevice,
  VsockSocket,
} from '../../src/transport/index.js';
import { bridge, socketFolder, startFakeMux } from '../transport/fake-mux.js';
import { noneStays } from './alive.js';

// Each time is work for several processes, and a machine may be busy.
t.setTimeout(3_600_000);

const folder = socketFolder();
t.teardown(() => rm(folder, { recursive: true, force: true }));

const { Poller, Device } = native;

t.test('sockets of a multiplexer, dialled and accepted', async (t) => {
  await using mux = await startFakeMux(bridge);
  const server = createServer((socket) => socket.pipe(socket));
  server.listen(`vsock-mux:${join(mux.folder, 'guest')}:7`);
  await once(server, 'listening');
  await noneStays(t, { VsockSocket, Poller, 'net.Socket': net.Socket }, 1000, async () => {
    const socket = await connect(`vsock-mux:${mux.path}:7`);
    socket.setTimeout(60_000);
    socket.write('hello');
    await once(socket, 'data');
    socket.destroy();
    await once(socket, 'close');
  });
  await new Promise((resolve) => server.close(resolve));
});

t.test('sockets that could not be connected', async (t) => {
  await using mux = await startFakeMux((socket) => socket.destroy());
  const { signal } = new AbortController();
  await noneStays(t, { VsockSocket, Poller, 'net.Socket': net.Socket }, 1000, async () => {
    await connect(`vsock-mux:${mux.path}:7`, { signal }).catch(() => {});
  });
});

t.test('the pool of a keep-alive agent', async (t) => {
  await using mux = await startFakeMux(bridge);
  const web = http.createServer((_request, response) => response.end('hello'));
  const server = createServer().forward(web);
  server.listen(`vsock-mux:${join(mux.folder, 'guest')}:7`);
  await once(server, 'listening');
  const { Agent, ClientRequest, IncomingMessage } = http;
  const classes = { VsockSocket, Poller, Agent, ClientRequest, IncomingMessage };
  await noneStays(t, classes, 50, async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 4 });
    Object.assign(agent, { createConnection: () => createConnection(`vsock-mux:${mux.path}:7`) });
    const get = async () => {
      const [response] = await once(http.get({ agent, host: 'guest' }), 'response');
      await once(response.resume(), 'end');
    };
    await Promise.all(Array.from({ length: 12 }, get));
    const pooled = Object.values(agent.freeSockets).flat();
    if (pooled.length > 4) throw new Error(`${pooled.length} sockets for a pool of 4`);
    agent.destroy();
  });
  await new Promise((resolve) => server.close(resolve));
});

t.test('servers', async (t) => {
  for (const transport of ['unix', 'vsock-mux']) {
    const address = `${transport}:${join(folder, transport)}${transport === 'unix' ? '' : ':7'}`;
    await noneStays(t, { Server, 'net.Server': net.Server }, 1000, async () => {
      const server = createServer().listen(address);
      await once(server, 'listening');
      server.close();
      await once(server, 'close');
    });
  }
});

t.test('devices, and the servers and multiplexers on them', async (t) => {
  const socket = join(folder, 'device.sock');
  await noneStays(t, { VsockDevice, Device, Server }, 1000, async () => {
    const device = await VsockDevice.open({ socket, path: `${socket}.mux`, multiplexer: true });
    const server = device.listen(80, () => {});
    await once(server, 'listening');
    await connect(device.address(81)).catch(() => {});
    server.on('error', () => {});
    await device.close();
  });
});
