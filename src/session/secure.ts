import type { Duplex } from 'node:stream';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import { failure } from '../errors.js';

/** How a client proves who it is, and how it knows the agent; each PEM. */
export interface TlsOptions {
  ca: string | Uint8Array;
  cert: string | Uint8Array;
  key: string | Uint8Array;
  /** The name that the agent's certificate must have. Default: any that the authority has signed. */
  servername?: string;
}

/**
 * Secures a stream with mutual TLS. The stream is destroyed when that fails.
 *
 * @throws ERR_HANDSHAKE_TIMEOUT, or Node's own error, such as `DEPTH_ZERO_SELF_SIGNED_CERT`
 */
export function secure(
  stream: Duplex,
  address: string,
  { servername, ...identity }: TlsOptions,
  timeoutMs: number,
): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = tlsConnect({
      socket: stream,
      ...(identity as { ca: Buffer; cert: Buffer; key: Buffer }),
      minVersion: 'TLSv1.3',
      // Guests have no names that anybody could look up.
      ...(servername === undefined ? { checkServerIdentity: () => undefined } : { servername }),
    });
    const fail = (error: Error) => {
      clearTimeout(timer);
      socket.destroy();
      stream.destroy();
      reject(error);
    };
    const timer = setTimeout(
      () => fail(failure('ERR_HANDSHAKE_TIMEOUT', { address, timeoutMs })),
      Math.min(timeoutMs, 2 ** 31 - 1),
    );
    stream.once('error', fail);
    socket.once('error', fail);
    socket.once('secureConnect', () => {
      clearTimeout(timer);
      stream.off('error', fail);
      socket.off('error', fail);
      resolve(socket);
    });
  });
}
