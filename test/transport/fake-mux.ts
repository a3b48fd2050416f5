import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A multiplexer that says and does what a test tells it to. */
export interface FakeMux extends AsyncDisposable {
  /** A folder of its own, removed in the end. */
  readonly folder: string;
  /** The multiplexer's socket. */
  readonly path: string;
  /** What each connection sent in its first write. */
  readonly requests: string[];
  /** Open connections. */
  readonly sockets: Set<net.Socket>;
}

/** Decides what becomes of a connection, given its first write. */
export type MuxBehaviour = (socket: net.Socket, request: string, mux: FakeMux) => void;

/** Makes a folder for sockets; the caller removes it. */
export function socketFolder(): string {
  return mkdtempSync(join(tmpdir(), 'waep-'));
}

/** Starts a multiplexer. */
export async function startFakeMux(behave: MuxBehaviour): Promise<FakeMux> {
  const folder = socketFolder();
  const mux: FakeMux = {
    folder,
    path: join(folder, 'mux.sock'),
    requests: [],
    sockets: new Set(),
    async [Symbol.asyncDispose]() {
      for (const socket of mux.sockets) socket.destroy();
      server.close();
      await once(server, 'close');
      rmSync(folder, { recursive: true, force: true });
    },
  };
  const server = net.createServer((socket) => {
    mux.sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => mux.sockets.delete(socket));
    socket.once('data', (data) => {
      mux.requests.push(data.toString('latin1'));
      behave(socket, data.toString('latin1'), mux);
    });
  });
  server.listen(mux.path);
  await once(server, 'listening');
  return mux;
}

/**
 * Joins the connection to the listener `guest_PORT` in the multiplexer's folder, with the manners
 * of Firecracker: the host's end ends both directions, the guest's half-close is not shown, a
 * missing listener closes the connection.
 */
export const bridge: MuxBehaviour = (host, request, { folder }) => {
  const port = /^CONNECT (\d+)\n$/i.exec(request)?.[1];
  if (port === undefined) {
    host.destroy();
    return;
  }
  host.pause();
  const guest = net.connect({ path: join(folder, `guest_${port}`), allowHalfOpen: true });
  guest.once('error', () => host.destroy());
  guest.once('connect', () => {
    host.write('OK 1073741824\n');
    host.pipe(guest);
    guest.pipe(host, { end: false });
  });
  guest.once('end', () => {
    // Shown only once both directions have ended.
    if (host.readableEnded) host.end();
  });
  guest.once('close', () => host.destroySoon());
  host.once('end', () => {
    // Node ends the connection next: it is not half-open.
    guest.unpipe(host);
    guest.resume();
  });
  host.once('close', () => guest.end());
};
