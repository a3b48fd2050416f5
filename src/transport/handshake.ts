import { constants } from 'node:os';
import { failure, systemError } from '../errors.js';
import { PollEvent } from '../native.js';
import { startDeadline } from './options.js';
import type { SocketSystem } from './socket.js';

const { EAGAIN, ECONNRESET, EPIPE } = constants.errno;
// "OK 4294967295\n" has 14 bytes. Twice as many show in an error what came instead.
const LONGEST_LINE_BYTES = 32;
const NEWLINE = 0x0a;
const ANSWER = /^OK \d{1,10}\n$/;

/** What {@link handshake} needs to know. */
export interface Handshake {
  system: SocketSystem;
  /** A non-blocking descriptor connected to the multiplexer. Stays the caller's. */
  fd: number;
  port: number;
  /** The address as errors print it. */
  address: string;
  timeoutMs: number;
  /** Called once, never before {@link handshake} has returned. */
  done(error: Error | undefined): void;
}

/**
 * Asks a "hybrid" multiplexer for a port of its guest: sends `CONNECT <port>\n` and reads the line
 * `OK <number>\n`.
 *
 * The request is one write, because Firecracker reads its first ten bytes at once and gives up on
 * fewer. The answer is read byte by byte, because what follows its newline is the guest's. Its
 * number is the host's port on Firecracker and the guest's on vhost-device-vsock, so it is not
 * looked at. A refusal is a close without an answer.
 *
 * @returns a function that gives up
 */
export function handshake(options: Handshake): () => void {
  const { system, fd, address, timeoutMs } = options;
  const request = [Buffer.from(`CONNECT ${options.port}\n`, 'latin1')];
  const requestBytes = request[0]?.length ?? 0;
  const line = Buffer.alloc(LONGEST_LINE_BYTES);
  let sentBytes = 0;
  let lineBytes = 0;
  let over = false;

  const stop = (): void => {
    over = true;
    stopDeadline();
    poller.close();
  };
  const end = (error: Error | undefined): void => {
    stop();
    options.done(error);
  };
  const received = (): string => line.toString('latin1', 0, lineBytes);
  const refused = (errno: number, syscall: string): Error => {
    const cause = errno === 0 ? undefined : systemError(syscall, errno, { address });
    if (lineBytes > 0) return failure('ERR_MUX_PROTOCOL', { address, received: received() }, cause);
    if (errno === 0 || errno === -ECONNRESET || errno === -EPIPE) {
      return failure('ERR_MUX_REFUSED', { address }, cause);
    }
    return systemError(syscall, errno, { address });
  };

  const send = (): void => {
    while (sentBytes < requestBytes) {
      const sent = system.send(fd, request, sentBytes);
      if (sent === -EAGAIN) return;
      if (sent < 0) {
        end(refused(sent, 'write'));
        return;
      }
      sentBytes += sent;
    }
    poller.poll(PollEvent.READABLE);
    receive();
  };
  const receive = (): void => {
    for (;;) {
      const got = system.recv(fd, line, lineBytes, 1);
      if (got === -EAGAIN) return;
      if (got <= 0) {
        end(refused(got, 'read'));
        return;
      }
      lineBytes += 1;
      if (line[lineBytes - 1] === NEWLINE || lineBytes === LONGEST_LINE_BYTES) break;
    }
    const answer = received();
    end(
      ANSWER.test(answer) ? undefined : failure('ERR_MUX_PROTOCOL', { address, received: answer }),
    );
  };

  const stopDeadline = startDeadline(timeoutMs, () =>
    end(failure('ERR_HANDSHAKE_TIMEOUT', { address, timeoutMs })),
  );
  const poller = new system.Poller(fd, () => (sentBytes < requestBytes ? send() : receive()));
  poller.poll(PollEvent.WRITABLE);
  return () => {
    if (!over) stop();
  };
}
