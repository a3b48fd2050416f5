import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { Authority } from '../../src/keys.js';
import { Session } from '../../src/session.js';
import { localAgent } from '../agent/local-agent.js';
import { openDescriptors } from '../descriptors.js';
import { until } from '../until.js';

const session = new URL('../../src/session.js', import.meta.url).href;

/** A worker that has a session with calls under way, and ends as `ending` says. */
function worker(address: string, ending: string): Worker {
  return new Worker(
    `import { parentPort, workerData } from 'node:worker_threads';
     const { Session } = await import(workerData.session);
     const session = await Session.connect(workerData.address);
     const map = await session.createMap({ type: 2, keySize: 4, valueSize: 8, maxEntries: 1 });
     const key = Buffer.alloc(4);
     let running = true;
     let calls = 0;
     let begin;
     const begun = new Promise((resolve) => { begin = resolve; });
     const loop = async () => { while (running) { await map.lookup(key); if (++calls === 9) begin(); } };
     const loops = [loop(), loop(), loop()];
     for (const each of loops) each.catch(() => {});
     await Promise.race([begun, ...loops]);
     ${ending}
     parentPort.postMessage(calls);`,
    { eval: true, workerData: { session, address } },
  );
}

/** What a worker ends by, and its exceptions. */
const endings: Record<string, [code: string, errors?: RegExp[]]> = {
  'process.exit()': ['parentPort.postMessage(calls); process.exit(0);'],
  'closing the session': ['running = false; await Promise.all(loops); session.close();'],
  'closing it under the calls': ['session.close(); running = false;'],
  'an exception': ['parentPort.postMessage(calls); throw new Error("on purpose");', [/on purpose/]],
};

t.test('a worker may end with sessions open', async (t) => {
  const local = await localAgent();
  t.teardown(() => local.close());
  const warm = worker(local.address, 'session.close(); running = false;');
  await once(warm, 'exit');
  await until('the end of its session', () => local.agent.sessions === 0);
  const before = openDescriptors();
  for (const [name, [ending, expected = []]] of Object.entries(endings)) {
    const one = worker(local.address, ending);
    const errors: string[] = [];
    one.on('error', (error) => errors.push(error.message));
    // Not once(), which takes an 'error' for its own.
    const exit = new Promise((resolve) => one.on('exit', resolve));
    const calls = await new Promise<number>((resolve) => one.on('message', resolve));
    t.ok(calls > 0, `${name}: after ${calls} calls`);
    await exit;
    t.match({ errors, count: errors.length }, { errors: expected, count: expected.length }, name);
  }
  const killed = worker(
    local.address,
    'parentPort.postMessage(calls); await new Promise(() => {});',
  );
  await once(killed, 'message');
  await killed.terminate();
  await until('the end of all sessions', () => local.agent.sessions === 0);
  const left = () => `no descriptor to stay behind: ${before} and now ${openDescriptors()}`;
  await until(left, () => openDescriptors() <= before);
});

t.test('several workers share an address, not a session', async (t) => {
  const local = await localAgent();
  t.teardown(() => local.close());
  const workers = Array.from({ length: 4 }, () =>
    worker(local.address, 'running = false; await Promise.all(loops); session.close();'),
  );
  const own = await Session.connect(local.address);
  const map = await own.createMap({ type: 2, keySize: 4, valueSize: 8, maxEntries: 1 });
  await Promise.all(workers.map((one) => once(one, 'exit')));
  t.same(await map.lookup(Buffer.alloc(4)), new Uint8Array(8));
  own.close();
});

t.test('an unreferenced session lets the process end', async (t) => {
  const authority = await Authority.create('authority', 2);
  const { cert: ca } = authority;
  const tls = { ...(await authority.issue('client', 'operator', 2)), ca };
  const plain = await localAgent();
  t.teardown(() => plain.close());
  const secured = await localAgent({
    tls: { ...(await authority.issue('agent', 'agent', 2)), ca },
  });
  t.teardown(() => secured.close());
  const bound = await secured.agent.listen('tcp:127.0.0.1:0');
  const { port } = bound.address() as { port: number };
  const connections: Record<string, object> = {
    'without TLS': { address: plain.address },
    'TLS over a Unix socket': { address: secured.address, options: { tls } },
    'TLS over TCP': { address: `tcp:127.0.0.1:${port}`, options: { tls } },
    // The stream is one of ours, which Node's TLS does not know.
    'TLS over a stream': { address: secured.address, options: { tls }, wrapped: true },
  };
  for (const [name, how] of Object.entries(connections)) {
    const one = new Worker(
      `const { workerData } = require('node:worker_threads');
       import(workerData.session).then(async ({ Session }) => {
         const { address, options, wrapped } = workerData;
         let target = address;
         if (wrapped) {
           const { Duplex } = require('node:stream');
           const socket = require('node:net').connect(address.slice('unix:'.length));
           target = Duplex.from({ readable: socket, writable: socket });
           target.ref = () => socket.ref();
           target.unref = () => socket.unref();
         }
         const session = await Session.connect(target, options);
         session.unref();
       });`,
      { eval: true, workerData: { session, ...how } },
    );
    const [code] = (await once(one, 'exit')) as [number];
    t.equal(code, 0, name);
  }
});
