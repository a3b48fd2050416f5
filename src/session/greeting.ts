import type { Duplex } from 'node:stream';
import { failure, WaepError } from '../errors.js';
import {
  FrameType,
  frameTypeName,
  MAX_FRAME_BYTES,
  messageFrame,
  parseError,
  parseWelcome,
  readFrame,
  type Welcome,
} from '../frame/index.js';

/** Bounds of a greeting. */
export interface GreetingOptions {
  /** How long the agent may take to answer, in milliseconds. Default 5 000. */
  handshakeTimeoutMs?: number;
  signal?: AbortSignal;
}

/**
 * Introduces this client on a fresh connection, by a HELLO or a JOIN, and returns the answer. When
 * that fails the stream is destroyed.
 *
 * @throws what the agent answers; ERR_HANDSHAKE_TIMEOUT, ERR_SESSION_CLOSED
 */
export async function greet(
  stream: Duplex,
  address: string,
  type: number,
  body: unknown,
  options: GreetingOptions,
): Promise<Welcome> {
  const { handshakeTimeoutMs: timeoutMs = 5_000, signal } = options;
  // Not AbortSignal.any(): on Node 20 a signal keeps a trace of each that was made of it.
  const bound = new AbortController();
  const timer = setTimeout(
    () => bound.abort(failure('ERR_HANDSHAKE_TIMEOUT', { address, timeoutMs })),
    Math.min(timeoutMs, 2 ** 31 - 1),
  );
  const abort = () => bound.abort(signal?.reason);
  signal?.addEventListener('abort', abort);
  if (signal?.aborted) abort();
  const ignore = () => {};
  stream.on('error', ignore);
  try {
    stream.write(messageFrame(type, 0, body));
    const frame = await readFrame(stream, MAX_FRAME_BYTES, bound.signal);
    if (frame.type === FrameType.ERROR) throw parseError(frame.body);
    if (frame.type !== FrameType.WELCOME) {
      throw failure('ERR_PROTOCOL_UNEXPECTED', {
        received: frameTypeName(frame.type),
        expected: 'WELCOME',
      });
    }
    return parseWelcome(frame.body);
  } catch (cause) {
    stream.destroy();
    if (cause instanceof WaepError && cause.code === 'ERR_FRAME_TRUNCATED') {
      throw failure(
        'ERR_SESSION_CLOSED',
        { address, why: 'the peer closed the connection before it introduced itself' },
        cause,
      );
    }
    throw cause;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', abort);
  }
}
