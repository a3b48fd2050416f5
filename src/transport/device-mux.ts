import net from 'node:net';
import { pipeline } from 'node:stream';
import type { DeviceStreams } from './device-streams.js';
import { removeStaleSocket } from './node-socket.js';
import { startDeadline } from './options.js';

/** A running multiplexer. */
export interface Multiplexer {
  /** Ends it and every connection through it. */
  close(): Promise<void>;
}

// "CONNECT 4294967295\r\n" has 20 bytes.
const LONGEST_LINE_BYTES = 32;
const REQUEST = /^CONNECT (\d{1,10})\r?$/i;
const HANDSHAKE_TIMEOUT_MS = 10_000;
const NEWLINE = 0x0a;
/**
 * How long a guest may take to answer; the kernel allows it the same time. A client gets no reason.
 */
const CONNECT = {
  timeoutMs: 10_000,
  localPort: undefined,
  stream: { allowHalfOpen: true },
};

/** Passes bytes and ends in both directions. An error of one side ends the other. */
function relay(a: net.Socket, b: net.Socket): void {
  const done = (): void => {};
  pipeline(a, b, done);
  pipeline(b, a, done);
}

/**
 * Reads the line by which a client asks for a port. Bytes after the line belong to the stream and
 * stay in `client`, even if they arrived together with the line.
 */
function readRequest(client: net.Socket, asked: (port: number | undefined) => void): void {
  let line = Buffer.alloc(0);
  const finish = (port: number | undefined): void => {
    stopDeadline();
    client.off('readable', read);
    client.off('close', gone);
    asked(port);
  };
  const gone = (): void => finish(undefined);
  const read = (): void => {
    const chunk: Buffer | null = client.read();
    if (chunk === null) return;
    const end = chunk.indexOf(NEWLINE);
    line = Buffer.concat([line, end < 0 ? chunk : chunk.subarray(0, end)]);
    if (end < 0 && line.length <= LONGEST_LINE_BYTES) return;
    const rest = end < 0 ? Buffer.alloc(0) : chunk.subarray(end + 1);
    const port = Number(REQUEST.exec(line.toString('latin1'))?.[1]);
    finish(end >= 0 && port >= 1 && port <= 0xfffffffe ? port : undefined);
    if (rest.length > 0 && !client.destroyed) client.unshift(rest);
  };
  const stopDeadline = startDeadline(HANDSHAKE_TIMEOUT_MS, () => client.destroy());
  client.on('readable', read);
  client.once('close', gone);
}

/**
 * Serves a device's guest to other processes by the "hybrid" convention of Firecracker and
 * vhost-device-vsock. A client connects to `path` and sends `CONNECT <port>\n`. It gets the answer
 * `OK <host port>\n` and is then connected to the guest's port, or its connection is closed. A
 * server that listens on `path_PORT` gets the guest's connections to that port of the host. A
 * half-close is passed on in both directions.
 */
export async function serveMultiplexer(device: DeviceStreams): Promise<Multiplexer> {
  const { path } = device;
  await removeStaleSocket(path);
  const clients = new Set<net.Socket>();
  const keep = (client: net.Socket): void => {
    clients.add(client);
    client.on('error', () => client.destroy());
    client.once('close', () => clients.delete(client));
  };
  const server = net.createServer({ allowHalfOpen: true }, (client) => {
    keep(client);
    readRequest(client, (port) => {
      if (port === undefined) {
        client.destroy();
        return;
      }
      const guest = device.connect(port, CONNECT);
      const forget = (): void => void guest.destroy();
      client.once('close', forget);
      guest.once('error', () => client.destroy());
      guest.once('connect', () => {
        client.off('close', forget);
        client.write(`OK ${guest.localPort}\n`);
        relay(client, guest);
      });
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ path, backlog: 1024 }, () => {
      server.off('error', reject);
      resolve();
    });
  });
  server.unref();
  const stopListening = device.listenToAll((port, answer) => {
    const client = net.connect({ path: `${path}_${port}`, allowHalfOpen: true });
    keep(client);
    const refuse = (): void => void answer(false);
    client.once('error', refuse);
    client.once('connect', () => {
      client.off('error', refuse);
      const guest = answer(true);
      if (guest === undefined) client.destroy();
      else relay(client, guest);
    });
  });
  return {
    async close() {
      stopListening();
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const client of clients) client.destroy();
      await closed;
    },
  };
}
