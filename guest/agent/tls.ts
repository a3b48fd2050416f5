import type { Duplex } from 'node:stream';
import { createSecureContext, createServer, type TLSSocket } from 'node:tls';

/** Who this agent is, and whose word it takes for who a client is; each PEM. */
export interface TlsIdentity {
  cert: string | Uint8Array;
  key: string | Uint8Array;
  /** The authority that has to have signed a client's certificate. */
  ca: string | Uint8Array;
}

/** Mutual TLS on streams that somebody else has accepted. */
export class TlsGate {
  readonly #identity: TlsIdentity;

  /** @throws Node's own error when the certificates and the key do not go together */
  constructor(identity: TlsIdentity) {
    createSecureContext({ ...identity } as Parameters<typeof createSecureContext>[0]);
    this.#identity = identity;
  }

  /** Resolves with the secured stream and the name that the client's certificate has. */
  handshake(stream: Duplex, timeoutMs: number): Promise<{ stream: Duplex; name: string }> {
    return new Promise((resolve, reject) => {
      const fail = (error: Error) => {
        clearTimeout(timer);
        reject(error);
      };
      const timer = setTimeout(
        () => fail(new Error(`no TLS handshake within ${timeoutMs} ms`)),
        timeoutMs,
      );
      const ended = () => fail(new Error('it ended during the TLS handshake'));
      stream.once('close', ended);
      // A server that never listens: the way to have Node itself check a client's certificate.
      createServer({
        ...(this.#identity as { cert: Buffer; key: Buffer; ca: Buffer }),
        requestCert: true,
        rejectUnauthorized: true,
        minVersion: 'TLSv1.3',
      })
        .once('tlsClientError', fail)
        .once('secureConnection', (socket: TLSSocket) => {
          clearTimeout(timer);
          stream.off('close', ended);
          const { CN = 'nobody' } = socket.getPeerCertificate().subject;
          resolve({ stream: socket, name: [CN].flat().join(' ') });
        })
        .emit('connection', stream);
    });
  }
}
