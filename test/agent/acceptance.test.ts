import { createServer, type Socket as NetSocket, type Server } from 'node:net';
import t, { type Test } from 'tap';
import type { AgentOptions } from '../../guest/agent/agent.js';
import { profiles } from '../../src/policy/index.js';
import { Session } from '../../src/session.js';
import {
  type Acceptor,
  type Address,
  connect,
  type Road,
  registerRoad,
  type Socket,
} from '../../src/transport/index.js';
import { makeIdentity } from '../transport/certificate.js';
import { type LocalAgent, localAgent } from './local-agent.js';

interface PosingAddress {
  road: 'posing';
  path: string;
  cid: number;
  port: number;
}

/**
 * Unix sockets whose peers pass for vsock peers: this machine has no vsock to try with, and nobody
 * could be unprivileged in a guest.
 */
const posing = {
  name: 'posing',
  halfClose: true,
  notation: {
    schemes: ['posing'],
    parse: (text: string) => {
      const [path = '', cid, port] = text.split(',');
      return { road: 'posing', path, cid: Number(cid), port: Number(port) };
    },
    format: ({ path }: PosingAddress) => path,
    describe: ({ path }: PosingAddress) => path,
  },
  connect: () => {
    throw new Error('nobody connects by this road');
  },
  listen(address: PosingAddress, _options: object, acceptor: Acceptor) {
    const server: Server = createServer({ allowHalfOpen: true }, (socket: NetSocket) => {
      Object.defineProperties(socket, {
        road: { value: 'vsock' },
        halfClose: { value: true },
        remoteCid: { value: address.cid },
        remoteAddress: { value: `vm(${address.cid})` },
        remotePort: { value: address.port },
      });
      acceptor.accepted(socket as unknown as Socket);
    });
    return new Promise((resolve) =>
      server.listen(address.path, () =>
        resolve({
          address,
          close: () => new Promise<void>((done) => server.close(() => done())),
          ref: () => {},
          unref: () => {},
        }),
      ),
    );
  },
};
registerRoad(posing as unknown as Road<Address>);

async function agent(t: Test, options: Partial<AgentOptions>): Promise<LocalAgent> {
  const local = await localAgent(options);
  t.teardown(() => local.close());
  return local;
}

/** A session with an agent for whom the client comes from a port of a vsock context. */
async function from(t: Test, cid: number, port: number, accept = profiles.observe.accept) {
  const { agent: posed, address } = await agent(t, { accept });
  const path = `${address.slice('unix:'.length)}.posing`;
  await posed.listen(`posing:${path},${cid},${port}`);
  const session = await Session.connect(`unix:${path}`);
  session.close();
}

t.test('vsock peers: the host, from a port that only root gets', async (t) => {
  await t.resolves(from(t, 2, 1023));
  await t.resolves(from(t, 1, 1));
  await t.rejects(from(t, 2, 1024), {
    code: 'ERR_PEER_REFUSED',
    message: /rule accept\.source_ports allows ports below 1024 only/,
  });
  await t.rejects(from(t, 5, 1000), {
    code: 'ERR_PEER_REFUSED',
    message: /rule accept\.cids allows CID 1 and 2 only/,
  });
  await t.resolves(from(t, 2, 0x40000000, { cids: [2], source_ports: 'any' }));
  await t.rejects(from(t, 1, 1000, { cids: [2], source_ports: 'any' }), {
    code: 'ERR_PEER_REFUSED',
  });
  const any = { cids: [1, 2], source_ports: 'any' } as const;
  await t.resolves(from(t, 1, 1023, any));
  await t.rejects(from(t, 1, 1024, any), {
    code: 'ERR_PEER_REFUSED',
    message: /allows ports below 1024 only to peers of the agent's own machine/,
  });
});

t.test('mutual TLS', async (t) => {
  const server = makeIdentity('agent');
  const client = makeIdentity('operator');
  const stranger = makeIdentity('stranger');
  const local = await agent(t, { tls: { ...server, ca: client.cert } });
  const bound = await local.agent.listen('tcp:127.0.0.1:0');
  const { port } = bound.address() as { port: number };
  const peers: string[] = [];
  const refused: string[] = [];
  local.agent.on('session', ({ peer }) => peers.push(peer));
  local.agent.on('refused', ({ error }) => refused.push(error.message));

  for (const address of [local.address, `tcp:127.0.0.1:${port}`]) {
    const session = await Session.connect(address, { tls: { ...client, ca: server.cert } });
    t.equal((await session.open('/proc/version')) > 0, true);
    const clock = await session.readClock(1);
    const { hostMs } = clock.place(process.hrtime.bigint(), performance.now());
    t.ok(Math.abs(hostMs - performance.now()) < 60_000, 'the clock is that of this machine');
    const large = await session.createMap({
      type: 2,
      keySize: 4,
      valueSize: 200_000,
      maxEntries: 1,
    });
    const value = Buffer.alloc(200_000, 7);
    await large.update(Buffer.alloc(4), value);
    t.ok(value.equals((await large.lookup(Buffer.alloc(4))) ?? Buffer.alloc(0)), 'many records');
    session.close();
  }
  t.match(peers, [/ as operator$/, / as operator$/]);
  const named = { ...client, ca: server.cert, servername: 'agent' };
  (await Session.connect(local.address, { tls: named })).close();

  await t.rejects(
    Session.connect(local.address, { tls: { ...stranger, ca: server.cert } }),
    'a certificate that nobody knows',
  );
  t.match(refused.at(-1), /refuses connections/);
  await t.rejects(
    Session.connect(local.address, { tls: { ...client, ca: stranger.cert } }),
    { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' },
    'an agent that nobody knows',
  );
  await t.rejects(
    Session.connect(local.address, { tls: { ...named, servername: 'other' } }),
    { code: 'ERR_TLS_CERT_ALTNAME_INVALID' },
    'an agent of another name',
  );
  await t.rejects(Session.connect(local.address, { handshakeTimeoutMs: 1000 }), 'no TLS at all');
  t.equal(local.agent.sessions, 0);
});

t.test('a client that does not finish its handshake', async (t) => {
  const identity = makeIdentity('agent');
  const local = await agent(t, { tls: { ...identity, ca: identity.cert }, helloTimeoutMs: 200 });
  const refused = new Promise<{ error: Error }>((resolve) => local.agent.once('refused', resolve));
  const silent = await connect(local.address);
  silent.on('error', () => {});
  t.match((await refused).error.message, /no TLS handshake within 200 ms/);
  silent.destroy();
});
