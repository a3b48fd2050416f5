import { once } from 'node:events';
import { Socket } from 'node:net';
import type { Handle } from '../call.js';
import { systemError } from '../errors.js';
import { native } from '../native.js';
import type { Session } from '../session.js';

const READ_BYTES = 64 * 1024;
/** How many unread bytes are kept here. The rest stays in the guest. */
const WINDOW_BYTES = 256 * 1024;

/** Fills a pipe until the end of the data, or until the pipe is closed. */
type Source = (socket: Socket, closed: Promise<unknown>) => Promise<void>;

/**
 * Opens a file of the guest that never ends, such as trace_pipe. Returns a descriptor from which it
 * can be read as it grows. The caller closes it. The reading ends when its last copy is closed.
 *
 * @throws the guest's system error, such as ENOENT or EBUSY; ERR_POLICY_REFUSED
 */
export async function openGuestPipe(session: Session, path: string): Promise<number> {
  const handle = await session.open(path);
  return makePipe(
    (socket, closed) => follow(session, handle, socket, closed),
    () => session.release([handle]),
  );
}

/** Callbacks for the contents and the end of a pipe. */
export interface PipeEvents {
  /** Called before the pipe gets bytes, and before it ends. It must not fail. */
  arrived(): Promise<void>;
  /** Called when the last copy of the descriptor is closed. */
  gone(): Promise<void>;
  /** Called with the error of the source, if that ends the pipe early. */
  failed(error: Error): void;
}

/**
 * Returns a descriptor from which an object, such as an iterator, can be read to its end. The
 * caller closes it.
 */
export function readGuestPipe(session: Session, handle: Handle, events: PipeEvents): number {
  const drained = (socket: Socket) =>
    drain(session, handle, socket, () => events.arrived()).catch((error) => {
      events.failed(error);
      throw error;
    });
  return makePipe(drained, () => events.gone());
}

function makePipe(source: Source, gone: () => Promise<void>): number {
  const pair = new Int32Array(2);
  const status = native.socketPair(pair);
  if (status < 0) throw systemError('socketpair', status);
  const [ours = -1, theirs = -1] = pair;
  const socket = new Socket({ fd: ours, readable: true, writable: true, allowHalfOpen: true });
  socket.on('error', () => {});
  const closed = once(socket.resume(), 'end').catch(() => {});
  closed.then(() => socket.destroy());
  void source(socket, closed)
    .then(() => socket.end())
    // The session has ended, and the pipe ends with it.
    .catch(() => socket.destroy())
    .then(() => closed)
    .then(gone)
    .catch(() => {});
  return theirs;
}

/** Sends a file's new bytes as it grows. */
async function follow(
  session: Session,
  file: Handle,
  socket: Socket,
  closed: Promise<unknown>,
): Promise<void> {
  const options = { windowBytes: WINDOW_BYTES, batchBytes: READ_BYTES };
  const stream = await session.subscribe({ source: 'file', file }, options, ({ bytes }) =>
    // The bytes are the stream's own again once this has returned.
    socket.destroyed || socket.write(Buffer.from(bytes)) ? undefined : drained(socket),
  );
  await Promise.race([stream.ended, closed]);
  await stream.close();
}

/** Reads to the end. */
async function drain(
  session: Session,
  handle: Handle,
  socket: Socket,
  arrived: () => Promise<void>,
): Promise<void> {
  while (!socket.destroyed) {
    // Iterators pause after a million elements without output: MAX_ITER_OBJECTS.
    const bytes = await session.read(handle, READ_BYTES);
    if (bytes === undefined) continue;
    await arrived();
    if (bytes.length === 0) return;
    if (!socket.write(bytes)) await drained(socket);
  }
}

/** Resolves when there is room again, or when the pipe has no reader. */
function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const settle = () => {
      socket.off('drain', settle).off('close', settle);
      resolve();
    };
    socket.on('drain', settle).on('close', settle);
    if (socket.destroyed) settle();
  });
}
