import type { Duplex } from 'node:stream';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import { failure } from '../errors.js';
import { MAX_TIMER_MS } from '../timer.js';
import { isVerdict, otherRole, roleProblem, verdictText } from '../tls-role.js';
import type { Secure } from './handshake.js';

/** How a client proves its identity, and how it recognises the agent. Each field is PEM. */
export interface TlsOptions {
  /** The certificate of the authority that has signed the agent's certificate. */
  ca: string | Uint8Array;
  /** The client's certificate. */
  cert: string | Uint8Array;
  /** The key of the client's certificate. */
  key: string | Uint8Array;
  /** The list of certificates that the authority has revoked. */
  crl?: string | Uint8Array;
  /**
   * The name that the agent's certificate must have. Default: any name that the authority has
   * signed.
   */
  servername?: string;
}

/** Returns what secures the connections of a session with these options. */
export function securing(tls: TlsOptions | undefined): Secure | undefined {
  return tls && ((...connection) => startTls(tls, ...connection));
}

/**
 * Secures a stream with mutual TLS. Destroys the stream when that fails.
 *
 * @throws ERR_HANDSHAKE_TIMEOUT, ERR_TLS_CERTIFICATE, ERR_TLS_ROLE, ERR_TLS_PLAIN, or Node's own
 *   error
 */
function startTls(
  { servername, ...identity }: TlsOptions,
  stream: Duplex,
  address: string,
  timeoutMs: number,
): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = tlsConnect({
      socket: stream,
      ...(identity as { ca: Buffer; cert: Buffer; key: Buffer }),
      minVersion: 'TLSv1.3',
      // Guests have no names that could be looked up.
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
      Math.min(timeoutMs, MAX_TIMER_MS),
    );
    const failed = (error: NodeJS.ErrnoException) => {
      const { code } = error;
      if (code === 'INVALID_PURPOSE') {
        fail(failure('ERR_TLS_ROLE', { address, why: otherRole('agent') }, error));
      } else if (isVerdict(code)) {
        // Node keeps the certificate that it has rejected.
        const why = verdictText(code, 'this client', socket.getPeerCertificate() ?? {});
        fail(failure('ERR_TLS_CERTIFICATE', { address, why }, error));
      } else if (code === 'ERR_SSL_WRONG_VERSION_NUMBER') {
        fail(failure('ERR_TLS_PLAIN', { address }, error));
      } else fail(error);
    };
    stream.once('error', fail);
    socket.once('error', failed);
    socket.once('secureConnect', () => {
      const why = roleProblem(socket.getPeerCertificate(), 'agent');
      if (why !== undefined) return fail(failure('ERR_TLS_ROLE', { address, why }));
      clearTimeout(timer);
      stream.off('error', fail);
      socket.off('error', failed);
      holdTogether(socket, stream);
      resolve(socket);
    });
  });
}

/** Lets a TLS socket keep the process from ending, or not, together with the stream below it. */
function holdTogether(
  socket: TLSSocket,
  stream: Duplex & Partial<Pick<TLSSocket, 'ref' | 'unref'>>,
): void {
  const [ref, unref] = [socket.ref.bind(socket), socket.unref.bind(socket)];
  socket.ref = () => {
    stream.ref?.();
    return ref();
  };
  socket.unref = () => {
    stream.unref?.();
    return unref();
  };
}
