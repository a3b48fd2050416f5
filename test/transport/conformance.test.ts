import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { createServer as createNetServer } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { conformanceCases, type TransportUnderTest } from './conformance.js';
import { startRole } from './conformance-run.js';
import { bridge, socketFolder, startFakeMux } from './fake-mux.js';

const workerUrl = new URL('conformance-run.js', import.meta.url);

async function closedTcpPort(): Promise<number> {
  const server = createNetServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' ? (address?.port ?? 0) : 0;
}

function runCases(t: Test, transport: TransportUnderTest): void {
  for (const { name, inapplicable, run } of conformanceCases) {
    const why = inapplicable?.(transport);
    t.test(name, why === undefined ? {} : { skip: why }, () => run(transport));
  }
}

t.test('unix', async (t) => {
  const folder = socketFolder();
  const peer = await startRole('listen', `unix:${join(folder, 'peer.sock')}`);
  t.teardown(async () => {
    await peer[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  });
  runCases(t, {
    peer: peer.address,
    halfClose: true,
    refused: { address: `unix:${join(folder, 'none.sock')}`, code: 'ENOENT' },
    workerUrl,
  });
});

t.test('tcp', async (t) => {
  const peer = await startRole('listen', 'tcp:127.0.0.1:0');
  const mute = await startRole('mute', 'tcp:127.0.0.1:0');
  t.teardown(async () => {
    await peer[Symbol.asyncDispose]();
    await mute[Symbol.asyncDispose]();
  });
  runCases(t, {
    peer: peer.address,
    halfClose: true,
    refused: { address: `tcp:127.0.0.1:${await closedTcpPort()}`, code: 'ECONNREFUSED' },
    silent: { address: mute.address, code: 'ERR_CONNECT_TIMEOUT' },
    workerUrl,
  });
});

t.test('vsock-mux, over a multiplexer of the test', async (t) => {
  const mux = await startFakeMux(bridge);
  const silent = await startFakeMux(() => {});
  const peer = await startRole('listen', `unix:${join(mux.folder, 'guest_7000')}`);
  t.teardown(async () => {
    await peer[Symbol.asyncDispose]();
    await mux[Symbol.asyncDispose]();
    await silent[Symbol.asyncDispose]();
  });
  runCases(t, {
    peer: `vsock-mux:${mux.path}:7000`,
    halfClose: false,
    refused: { address: `vsock-mux:${mux.path}:9`, code: 'ERR_MUX_REFUSED' },
    silent: { address: `vsock-mux:${silent.path}:7000`, code: 'ERR_HANDSHAKE_TIMEOUT' },
    workerUrl,
  });
});
