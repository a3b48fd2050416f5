import type { Socket as NetSocket } from 'node:net';
import type { Duplex } from 'node:stream';
import { failure, systemError } from '../errors.js';
import { native } from '../native.js';
import {
  type Detached,
  type DetachedStream,
  detachDescriptor,
  detachSource,
  takeUnread,
} from './socket.js';

export type { DetachedStream } from './socket.js';

/** The part of node:net's handles that this folder relies on; it is not documented by Node. */
interface NodeHandle {
  readonly fd?: number;
  readStop?(): number;
}

function handleOf(socket: object): NodeHandle | undefined {
  return (socket as { _handle?: NodeHandle | null })._handle ?? undefined;
}

/** The kernel descriptor of a node:net socket, which stays the socket's. */
export function descriptorOf(socket: NetSocket): number | undefined {
  // The descriptor under TLS would carry ciphertext.
  if ('encrypted' in socket) return undefined;
  const fd = handleOf(socket)?.fd;
  return fd !== undefined && fd >= 0 ? fd : undefined;
}

function stateOf(socket: NetSocket): string | undefined {
  if (socket.connecting) return 'still connecting';
  if (socket.destroyed) return 'destroyed';
  if (socket.writableEnded) return 'ended';
  if (socket.writableLength > 0) return `${socket.writableLength} bytes short of having sent all`;
  return undefined;
}

function isNetLike(socket: Duplex): socket is NetSocket {
  return 'connecting' in socket && 'readyState' in socket;
}

function assertDetachable(socket: NetSocket): void {
  const state = stateOf(socket);
  if (state === undefined) return;
  throw failure('ERR_SOCKET_STATE', {
    operation: 'detach()',
    state,
    cure: "Call it after 'connect' and after 'drain', before end().",
  });
}

/**
 * Like {@link detach}, but also accepts streams of a device inside the process. Until it is used,
 * the caller owns the stream and `close()` closes it.
 *
 * @throws ERR_SOCKET_STATE as {@link detach} does
 */
export function detachStream(socket: Duplex): DetachedStream | undefined {
  const take = (socket as { [detachSource]?: () => DetachedStream | undefined })[detachSource];
  if (take !== undefined && isNetLike(socket)) {
    assertDetachable(socket);
    const taken = take.call(socket);
    if (taken !== undefined) return taken;
  }
  const taken = detach(socket);
  if (taken === undefined) return undefined;
  const { fd, unread } = taken;
  return { source: fd, unread, close: () => void native.close(fd) };
}

/**
 * Takes the kernel's descriptor out of a connected socket, so that native code can own the
 * connection. The descriptor is non-blocking; the caller closes it. `unread` holds what had been
 * received and not been read. The socket object closes, but the connection does not notice.
 *
 * @example
 * ```ts
 * const taken = detach(await connect('vsock:3:7000'));
 * if (taken !== undefined) console.log(`descriptor ${taken.fd}, ${taken.unread.length} bytes`);
 * ```
 *
 * Returns `undefined`, leaving the socket as it was, where there is no descriptor: for TLS, for
 * streams of a device inside the process and for foreign Duplexes.
 *
 * @throws ERR_SOCKET_STATE while the socket connects, once it has ended, and while it holds unsent
 *   bytes
 */
export function detach(socket: Duplex): Detached | undefined {
  if (!isNetLike(socket)) return undefined;
  const take = (socket as { [detachDescriptor]?: () => Detached | undefined })[detachDescriptor];
  const own = take === undefined ? descriptorOf(socket) : undefined;
  if (take !== undefined || own !== undefined || socket.destroyed) assertDetachable(socket);
  if (take !== undefined) return take.call(socket);
  if (own === undefined) return undefined;
  // libuv reads only from the event loop, so once it is stopped here nothing more can be taken
  // from the kernel behind our back.
  handleOf(socket)?.readStop?.();
  const unread = takeUnread(socket);
  handleOf(socket)?.readStop?.();
  const fd = native.duplicate(own);
  if (fd < 0) throw systemError('fcntl', fd);
  socket.destroy();
  return { fd, unread };
}
