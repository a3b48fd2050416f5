import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Socket as NetSocket, type Server } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { AgentOptions } from '../../guest/agent/agent.js';
import { AuditLog } from '../../guest/agent/audit.js';
import { Authority } from '../../src/keys.js';
import { profiles } from '../../src/policy/index.js';
import { Session } from '../../src/session.js';
import type { TlsRole } from '../../src/tls-role.js';
import {
  type Acceptor,
  type Address,
  connect,
  registerTransport,
  type Socket,
  type Transport,
} from '../../src/transport/index.js';
import { makeIdentity } from '../transport/certificate.js';
import { folderOf } from './agent-process.js';
import { type LocalAgent, localAgent } from './local-agent.js';

interface PosingAddress {
  transport: 'posing';
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
      return { transport: 'posing', path, cid: Number(cid), port: Number(port) };
    },
    format: ({ path }: PosingAddress) => path,
    describe: ({ path }: PosingAddress) => path,
  },
  connect: () => {
    throw new Error('nobody connects by this transport');
  },
  listen(address: PosingAddress, _options: object, acceptor: Acceptor) {
    const server: Server = createServer({ allowHalfOpen: true }, (socket: NetSocket) => {
      Object.defineProperties(socket, {
        transport: { value: 'vsock' },
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
registerTransport(posing as unknown as Transport<Address>);

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
  await t.resolves(from(t, 2, 0x40000000, { cids: [2], source_ports: 'any', subjects: [] }));
  await t.rejects(from(t, 1, 1000, { cids: [2], source_ports: 'any', subjects: [] }), {
    code: 'ERR_PEER_REFUSED',
  });
  const any = { cids: [1, 2], source_ports: 'any', subjects: [] } as const;
  await t.resolves(from(t, 1, 1023, any));
  await t.rejects(from(t, 1, 1024, any), {
    code: 'ERR_PEER_REFUSED',
    message: /allows ports below 1024 only to peers of the agent's own machine/,
  });
});

/** The certificates of one authority, for a few days. */
async function certificates() {
  const authority = await Authority.create('authority', 2);
  const { cert: ca } = authority;
  const issue = async (role: TlsRole, name: string) => ({
    ...(await authority.issue(role, name, 2)),
    ca,
  });
  return { ca, issue, agent: await issue('agent', 'agent') };
}

t.test('mutual TLS', async (t) => {
  const { ca, issue, agent: identity } = await certificates();
  const client = await issue('client', 'operator');
  const stranger = await certificates();
  const local = await agent(t, { tls: identity });
  const bound = await local.agent.listen('tcp:127.0.0.1:0');
  const { port } = bound.address() as { port: number };
  const peers: string[] = [];
  local.agent.on('session', ({ peer }) => peers.push(peer));

  for (const address of [local.address, `tcp:127.0.0.1:${port}`]) {
    const session = await Session.connect(address, { tls: client });
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
    const { replies } = await session.chain([
      {
        command: 4,
        args: 1,
        buffers: [Buffer.alloc(32), 4],
        relocations: [0, 0, 1, large.handle, 0, 16, 0, 1],
      },
    ]);
    t.same(replies, [{ result: 0, errno: 0, outputs: [new Uint8Array(4)] }]);
    session.close();
  }
  t.match(peers, [/ as operator$/, / as operator$/]);
  const named = { ...client, servername: 'agent' };
  (await Session.connect(local.address, { tls: named })).close();

  await t.rejects(
    Session.connect(local.address, { tls: { ...(await stranger.issue('client', 'who')), ca } }),
    { code: 'ERR_PEER_REFUSED', message: /its certificate does not hold/ },
    'a certificate that nobody knows',
  );
  await t.rejects(
    Session.connect(local.address, { tls: { ...client, ca: stranger.ca } }),
    { code: 'ERR_TLS_CERTIFICATE' },
    'an agent that nobody knows',
  );
  await t.rejects(
    Session.connect(local.address, { tls: { ...named, servername: 'other' } }),
    { code: 'ERR_TLS_CERT_ALTNAME_INVALID' },
    'an agent of another name',
  );
  await t.rejects(Session.connect(local.address, { handshakeTimeoutMs: 1000 }), 'no TLS at all');
  t.equal(peers.length, 3, 'none of them had a session');
});

t.test('a certificate is for one end only', async (t) => {
  const { issue, agent: identity, ca } = await certificates();
  const local = await agent(t, { tls: identity });
  const client = await issue('client', 'operator');
  await t.rejects(
    Session.connect(local.address, { tls: await issue('agent', 'other-guest') }),
    {
      code: 'ERR_PEER_REFUSED',
      message: /its certificate is one for agent only; that of a client has .* clientAuth/,
    },
    'the certificate of a guest in the place of a client',
  );
  const posing = await agent(t, { tls: await issue('client', 'other-operator') });
  await t.rejects(
    Session.connect(posing.address, { tls: client }),
    {
      code: 'ERR_TLS_ROLE',
      message: /its certificate is one for another role; that of an agent has .* serverAuth/,
    },
    'the certificate of a client in the place of an agent',
  );
  const everything = makeIdentity('everything');
  const lax = await agent(t, { tls: { ...everything, ca: `${ca}${everything.cert}` } });
  await t.rejects(
    Session.connect(local.address, { tls: { ...client, ...everything } }),
    { code: 'ERR_PEER_REFUSED' },
    'a certificate that names no role',
  );
  await t.rejects(
    Session.connect(lax.address, { tls: { ...client, ca: everything.cert } }),
    { code: 'ERR_TLS_ROLE', message: /has no extended key usage/ },
    'an agent whose certificate names no role',
  );
  t.equal(local.agent.sessions + posing.agent.sessions + lax.agent.sessions, 0);
});

t.test('only the clients that the policy names', async (t) => {
  const { issue, agent: identity } = await certificates();
  const accept = { ...profiles.observe.accept, subjects: ['alice'] };
  const local = await agent(t, { tls: identity, accept });
  const as = async (name: string) =>
    (await Session.connect(local.address, { tls: await issue('client', name) })).close();
  await t.resolves(as('alice'));
  await t.rejects(as('mallory'), {
    code: 'ERR_PEER_REFUSED',
    message: /rule accept\.subjects allows alice only, and its certificate has mallory/,
  });
});

t.test('certificates over TCP alone', async (t) => {
  const { issue, agent: identity } = await certificates();
  const local = await agent(t, { tls: { ...identity, on: 'tcp' } });
  const bound = await local.agent.listen('tcp:127.0.0.1:0');
  const { port } = bound.address() as { port: number };
  const tcp = `tcp:127.0.0.1:${port}`;
  (await Session.connect(local.address)).close();
  (await Session.connect(tcp, { tls: await issue('client', 'operator') })).close();
  await t.rejects(Session.connect(tcp, { handshakeTimeoutMs: 1000 }), 'no certificate over TCP');
});

t.test('many who do not prove themselves keep nobody away', async (t) => {
  const { agent: identity, issue } = await certificates();
  const local = await agent(t, { tls: identity, maxSessions: 4, helloTimeoutMs: 60_000 });
  const silent = await Promise.all(Array.from({ length: 100 }, () => connect(local.address)));
  t.teardown(() => {
    for (const one of silent) one.destroy();
  });
  const over = silent.map((one) => once(one.on('error', () => {}).resume(), 'close'));
  (await Session.connect(local.address, { tls: await issue('client', 'operator') })).close();
  await Promise.race(over);
  t.ok(silent.filter((one) => one.destroyed).length >= 1, 'the oldest had to go');
  t.notOk(silent.at(-1)?.destroyed);
});

t.test(
  'who does not prove himself has no share of the log under names that he chooses',
  async (t) => {
    const { agent: identity, ca } = await certificates();
    const stranger = await certificates();
    const local = await agent(t, { tls: identity });
    const target = join(folderOf(t), 'audit.log');
    new AuditLog({ target, maxBytes: 8000, keep: 1 }).follow(local.agent);
    for (let i = 0; i < 20; i++) {
      const tls = { ...(await stranger.issue('client', `${i}`.padStart(64, 'x'))), ca };
      await t.rejects(Session.connect(local.address, { tls }), { code: 'ERR_PEER_REFUSED' });
    }
    const lines = readFileSync(target, 'utf8').trim().split('\n');
    t.ok(lines.length >= 2 && lines.length < 12, `${lines.length} lines`);
  },
);

t.test('a client that does not finish its handshake', async (t) => {
  const { agent: identity } = await certificates();
  const local = await agent(t, { tls: identity, helloTimeoutMs: 200 });
  const refused = new Promise<{ error: Error }>((resolve) => local.agent.once('refused', resolve));
  const silent = await connect(local.address);
  silent.on('error', () => {});
  t.match((await refused).error.message, /no TLS handshake within 200 ms/);
  silent.destroy();
});
