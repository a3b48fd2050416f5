import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import t from 'tap';
import { native } from '../../src/native.js';
import {
  connect,
  createServer,
  detach,
  type Socket,
  VsockSocket,
} from '../../src/transport/index.js';
import { openDescriptors } from '../descriptors.js';
import { until } from '../until.js';
import { socketFolder } from './fake-mux.js';
import { descriptorPair } from './fake-system.js';
import { pattern, patternHash, readPattern } from './stream-tools.js';

const EAGAIN = -11;
const folder = socketFolder();
t.teardown(() => rmSync(folder, { recursive: true, force: true }));
const address = `unix:${join(folder, 'peer')}`;

/** Reads from a descriptor until `sizeBytes` have come or it ends. */
async function drain(fd: number, sizeBytes: number): Promise<Buffer> {
  const buffer = Buffer.alloc(65536);
  const chunks: Buffer[] = [];
  let readBytes = 0;
  await until(`${sizeBytes} bytes, or an end`, () => {
    for (;;) {
      const count = native.recv(fd, buffer, 0, buffer.length);
      if (count === EAGAIN) return readBytes >= sizeBytes;
      if (count <= 0) return true;
      chunks.push(Buffer.from(buffer.subarray(0, count)));
      readBytes += count;
    }
  });
  return Buffer.concat(chunks);
}

/** A socket of ours over a real descriptor, and the descriptor at its other end. */
function pair(): { socket: VsockSocket; other: number } {
  const [source, other] = descriptorPair();
  const socket = new VsockSocket({
    transport: 'vsock',
    halfClose: true,
    source,
    remoteEndpoint: { address: 'vm(3)' },
  });
  return { socket, other };
}

t.test('a socket of ours over the real system calls', async (t) => {
  const { socket, other } = pair();
  const theirs = new VsockSocket({
    transport: 'vsock',
    halfClose: true,
    source: other,
    remoteEndpoint: { address: 'host(2)' },
  });
  for (const chunk of pattern(300_000)) socket.write(chunk);
  socket.end();
  t.equal((await readPattern(theirs)).hash, patternHash(300_000));
  socket.resume();
  if (!socket.closed) await once(socket, 'close');
});

t.test('loses no byte while the other side keeps sending', async (t) => {
  const before = openDescriptors();
  const sizeBytes = 4 * 1024 * 1024;
  const server = createServer(async (socket) => {
    for (const chunk of pattern(sizeBytes)) {
      if (!socket.write(chunk)) await once(socket, 'drain');
    }
    socket.end();
  });
  server.listen(address);
  await once(server, 'listening');
  for (const readsFirst of [0, 1, 5]) {
    const socket = await connect(address);
    const hash = createHash('sha256');
    let reads = 0;
    if (readsFirst > 0) {
      await new Promise<void>((resolve) => {
        socket.on('data', (data) => {
          hash.update(data);
          reads += 1;
          if (reads === readsFirst) {
            socket.pause();
            resolve();
          }
        });
      });
    } else {
      await until('bytes that nobody has read', () => socket.readableLength > 0);
    }
    const taken = detach(socket);
    t.ok(taken);
    if (taken === undefined) return;
    hash.update(taken.unread);
    hash.update(await drain(taken.fd, sizeBytes));
    t.equal(hash.digest('hex'), patternHash(sizeBytes), `after ${readsFirst} reads`);
    native.close(taken.fd);
  }
  await server[Symbol.asyncDispose]();
  await until('the end of every descriptor', () => openDescriptors() <= before);
});

t.test('the connection does not notice', async (t) => {
  const server = createServer();
  server.listen(address);
  await once(server, 'listening');
  const accepted = once(server, 'connection');
  const client = await connect(address);
  const [socket] = (await accepted) as [Socket];
  socket.on('end', () => t.fail('the other side sees no end'));
  const taken = detach(client);
  if (!client.closed) await once(client, 'close');
  socket.write('still here');
  t.equal((await drain(taken?.fd ?? -1, 10)).toString(), 'still here');
  socket.removeAllListeners('end');
  native.close(taken?.fd ?? -1);
  socket.resume();
  if (!socket.closed) await once(socket, 'close');
  await server[Symbol.asyncDispose]();
});

t.test('keeps bytes that were decoded or put back', async (t) => {
  const { socket, other } = pair();
  socket.setEncoding('utf8');
  native.send(other, [Buffer.from('grüße')], 0);
  await until('bytes that nobody has read', () => socket.readableLength > 0);
  t.equal(Buffer.from(detach(socket)?.unread ?? []).toString(), 'grüße');

  const second = pair();
  second.socket.pause();
  second.socket.unshift(Buffer.from('put back'));
  t.equal(Buffer.from(detach(second.socket)?.unread ?? []).toString(), 'put back');
});

t.test('refuses while it would lose something', async (t) => {
  const { socket, other } = pair();
  const large = Buffer.alloc(4 * 1024 * 1024);
  socket.write(large);
  t.throws(() => detach(socket), { code: 'ERR_SOCKET_STATE', message: /short of having sent/ });
  t.equal((await drain(other, large.length)).length, large.length);
  socket.end();
  t.throws(() => detach(socket), { code: 'ERR_SOCKET_STATE', message: /ended/ });
  socket.destroy();
  t.throws(() => detach(socket), { code: 'ERR_SOCKET_STATE', message: /destroyed/ });
  native.close(other);
});

t.test('has nothing to take from what has no descriptor', (t) => {
  t.equal(detach(new PassThrough()), undefined);
  t.end();
});
