import { lstat, rm } from 'node:fs/promises';
import net from 'node:net';
import { failure } from '../errors.js';
import { type Address, describeAddress } from './address.js';
import {
  type ListenOptions,
  type ServerOptions,
  type StreamOptions,
  startDeadline,
  streamOptionsOf,
  tcpOptionsOf,
} from './options.js';
import { reconnect, type Socket, type SocketInfo } from './socket.js';
import type { Acceptor, Listener } from './transport.js';

const DEFAULT_BACKLOG = 1024;

/** Gives a node:net socket the properties that every socket of ours has. */
export function withInfo(
  socket: net.Socket,
  transport: SocketInfo['transport'],
  remote: Address | undefined,
): Socket {
  const info: SocketInfo = { transport, halfClose: true, remote, remoteCid: undefined };
  return Object.assign(socket, info);
}

/** The options of a stream, as node:net takes them. */
export function nodeStreamOptions({ onread, ...rest }: StreamOptions) {
  return onread === undefined ? rest : { ...rest, onread: onread as net.OnReadOpts };
}

/** Keeps a socket connected where it is: see {@link reconnect}. */
export function dialled(socket: Socket): Socket {
  socket.connect = (...args: unknown[]) => reconnect(socket, args);
  return socket;
}

/** Destroys a connecting socket when `timeoutMs` has passed. */
export function boundConnect(socket: net.Socket, address: Address, timeoutMs: number): void {
  const stop = startDeadline(timeoutMs, () =>
    socket.destroy(
      failure('ERR_CONNECT_TIMEOUT', { address: describeAddress(address), timeoutMs }),
    ),
  );
  socket.once('connect', stop);
  socket.once('close', stop);
}

/** The differences between TCP and Unix sockets for {@link listenWithNode}. */
export interface NodeListening {
  where: { host: string; port: number } | { path: string };
  options: ServerOptions & ListenOptions;
  acceptor: Acceptor;
  /** Turns an accepted socket into one of ours; `undefined` if it had to be dropped. */
  adopt(socket: net.Socket): Socket | undefined;
  /** The address listened on, once the kernel has filled in what it chose. */
  bound(server: net.Server): Address;
}

/** Listens with node:net. */
export async function listenWithNode(listening: NodeListening): Promise<Listener> {
  const { where, options, acceptor } = listening;
  const server = net.createServer({
    ...streamOptionsOf(options),
    ...tcpOptionsOf(options),
    pauseOnConnect: options.pauseOnConnect ?? false,
  });
  server.on('connection', (raw) => {
    const socket = listening.adopt(raw);
    if (socket !== undefined) acceptor.accepted(socket);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ ...where, backlog: options.backlog ?? DEFAULT_BACKLOG }, () => {
      server.off('error', reject);
      resolve();
    });
  });
  server.on('error', (error) => {
    server.close();
    acceptor.failed(error);
  });
  return {
    address: listening.bound(server),
    async close() {
      // Node's own callback also waits for the accepted sockets; the listening one is closed at
      // once and, for a Unix socket, its file removed.
      server.close();
    },
    ref: () => void server.ref(),
    unref: () => void server.unref(),
  };
}

/**
 * Removes the file of a Unix socket whose listener is gone. A file that is no socket or that
 * somebody still listens on is left alone: listening will then fail with EADDRINUSE.
 */
export async function removeStaleSocket(path: string): Promise<void> {
  const code = await new Promise<string | undefined>((resolve) => {
    const probe = net.connect({ path });
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code));
    probe.once('connect', () => {
      probe.destroy();
      resolve(undefined);
    });
  });
  if (code !== 'ECONNREFUSED') return;
  // A file of another kind refuses as well.
  const found = await lstat(path).catch(() => undefined);
  if (found?.isSocket()) await rm(path, { force: true });
}
