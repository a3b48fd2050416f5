import { once } from 'node:events';
import { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Handle } from '../call.js';
import { systemError } from '../errors.js';
import { native } from '../native.js';
import type { Session } from '../session/index.js';

const READ_BYTES = 64 * 1024;
const POLL_MS = 50;

/**
 * Opens a file of the guest that never ends, such as trace_pipe, and returns a descriptor from
 * which it can be read as it grows. The caller closes it; the reading ends once the last copy of it
 * is closed.
 *
 * @throws the guest's system error, such as ENOENT or EBUSY; ERR_POLICY_REFUSED
 */
export async function openGuestPipe(session: Session, path: string): Promise<number> {
  return readGuestPipe(session, await session.open(path), (handle) => session.release([handle]));
}

/**
 * Returns a descriptor from which what a handle stands for can be read, such as an iterator. The
 * caller closes it.
 *
 * @param gone is told once its last copy is closed
 */
export function readGuestPipe(
  session: Session,
  handle: Handle,
  gone: (handle: Handle) => Promise<void>,
): number {
  const pair = new Int32Array(2);
  const status = native.socketPair(pair);
  if (status < 0) throw systemError('socketpair', status);
  const [ours = -1, theirs = -1] = pair;
  const socket = new Socket({ fd: ours, readable: true, writable: true, allowHalfOpen: true });
  socket.on('error', () => {});
  const closed = once(socket.resume(), 'end').catch(() => {});
  closed.then(() => socket.destroy());
  void pump(session, handle, socket)
    // The session has ended, and the pipe ends with it.
    .catch(() => socket.destroy())
    .then(() => closed)
    .then(() => gone(handle))
    .catch(() => {});
  return theirs;
}

async function pump(session: Session, handle: Handle, socket: Socket): Promise<void> {
  const ended = once(socket, 'close');
  while (!socket.destroyed) {
    const bytes = await session.read(handle, READ_BYTES);
    if (bytes?.length === 0) break;
    if (bytes === undefined) await sleep(POLL_MS, undefined, { ref: false });
    else if (!socket.write(bytes)) await Promise.race([once(socket, 'drain'), ended]);
  }
  socket.end();
}
