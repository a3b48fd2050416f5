import net from 'node:net';
import { text } from 'node:stream/consumers';
import { setImmediate as nextTurn } from 'node:timers/promises';
import t from 'tap';
import { boot } from '../../guest/index.js';
import { type DeviceAddress, parseAddress } from '../../src/transport/index.js';
import { startRole } from '../transport/conformance-run.js';
import { fromHost, inGuest, suiteFiles, workerUrl } from './conformance-guest.js';

const PEER_PORT = 7000;
const CLOSED_PORT = 7001;

// An emulated guest takes a minute for a thousand connections, and more on a busy machine.
t.setTimeout(900_000);

const files = await suiteFiles(t);
// By the device in the process on every host, also where the kernel has one.
const guest = await boot({ agent: false, exec: true, vsock: 'device', files });
t.teardown(() => guest.stop());

t.test('AF_VSOCK between two processes of the guest', { timeout: 400_000 }, async (t) => {
  await inGuest(t, guest, [
    ...['--listen', `vsock:any:${PEER_PORT}`],
    ...['--connect', `vsock:local:${PEER_PORT}`],
    ...['--refused', `vsock:local:${CLOSED_PORT}=ECONNRESET`],
    // The host's end drops what is addressed to another machine, so nobody answers.
    ...['--silent', `vsock:99:${PEER_PORT}=ERR_CONNECT_TIMEOUT`],
  ]);
});

t.test('AF_VSOCK from the host, by its own transport', { timeout: 400_000 }, async (t) => {
  const address = guest.vsock(PEER_PORT + 10);
  await fromHost(t, guest, `vsock:any:${PEER_PORT + 10}`, {
    peer: address,
    halfClose: true,
    refused: { address: guest.vsock(CLOSED_PORT), code: 'ECONNRESET' },
    workerUrl,
  });
});

t.test('AF_VSOCK from the guest, to a listener of the host', async (t) => {
  const port = PEER_PORT + 20;
  const peer = await startRole('listen', guest.vsock(port));
  t.teardown(() => peer[Symbol.asyncDispose]());
  const refused = `vsock:host:${CLOSED_PORT}=ECONNRESET`;
  return inGuest(t, guest, [
    ...['--connect', `vsock:host:${port}`, '--refused', refused],
    ...['--only', 'http'],
  ]);
});

t.test('the multiplexer of an in-process device keeps what others lose', async (t) => {
  const { path } = parseAddress(guest.vsock(1)) as DeviceAddress;
  const port = PEER_PORT + 10;
  const dial = async (...pieces: string[]) => {
    const client = net.connect({ path, allowHalfOpen: true });
    client.setEncoding('latin1');
    for (const piece of pieces) {
      client.write(piece);
      // Both ends have one event loop: it sees that there is something, and then reads it.
      await nextTurn();
      await nextTurn();
    }
    return client;
  };
  await t.test('bytes behind the handshake line, however it is split', async (t) => {
    for (const pieces of [
      [`CONNECT ${port}\necho\nhello\n`],
      ['CON', `NECT ${port}`, '\nec', 'ho\nhello\n'],
    ]) {
      const client = await dial(...pieces);
      client.end();
      t.match(await text(client), /^OK \d+\nhello\n$/);
    }
  });
  await t.test('a half-close, both ways', async (t) => {
    const client = await dial(`CONNECT ${port}\nuntil-end\n`, 'abc');
    client.end();
    t.match(await text(client), /^OK \d+\n3 [0-9a-f]{64}\n$/, 'the answer comes after our end');
    const other = await dial(`CONNECT ${port}\nclose\n`);
    t.match(await text(other), /^OK \d+\n$/, 'and the end of the guest is seen');
    other.destroy();
  });
});

t.test('AF_VSOCK to an absent machine', async (t) => {
  // With a vsock device, the host would swallow the attempt.
  const lonely = await boot({ agent: false, exec: true, network: 'user', vsock: 'none', files });
  t.teardown(() => lonely.stop());
  const refused = `vsock:local:${CLOSED_PORT}=ECONNRESET`;
  const absent = `vsock:99:${PEER_PORT}=ENODEV`;
  const connect = `vsock:local:${PEER_PORT}`;
  await inGuest(t, lonely, [
    ...['--connect', connect, '--refused', refused, '--absent', absent],
    ...['--only', 'an absent machine'],
  ]);
});
