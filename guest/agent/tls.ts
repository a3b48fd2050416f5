import type { Duplex } from 'node:stream';
import { createSecureContext, createServer, type PeerCertificate, type TLSSocket } from 'node:tls';
import { roleProblem, verdictText } from '../../src/tls-role.js';

/** The certificates of this agent and of the authority of its clients, each as PEM. */
export interface TlsIdentity {
  cert: string | Uint8Array;
  key: string | Uint8Array;
  /** The certificate of the authority that must have signed a client's certificate. */
  ca: string | Uint8Array;
  /** The authority's revocation list. */
  crl?: string | Uint8Array;
}

/** A TLS stream, and what its peer's certificate says. */
export interface Secured {
  stream: Duplex;
  /** The common name of the client's certificate. */
  name: string;
  /** Why the certificate is not accepted; undefined if it is. */
  problem: string | undefined;
}

/** Mutual TLS on streams that were accepted elsewhere. */
export class TlsGate {
  readonly #identity: TlsIdentity;

  /** @throws Node's own error when the certificates and the key do not go together */
  constructor(identity: TlsIdentity) {
    const { cert, key, ca, crl } = identity;
    this.#identity = { cert, key, ca, ...(crl === undefined ? {} : { crl }) };
    createSecureContext(this.#identity as Parameters<typeof createSecureContext>[0]);
  }

  /** Resolves with the TLS stream. The caller must check `problem` before it serves the peer. */
  handshake(stream: Duplex, timeoutMs: number): Promise<Secured> {
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
      // A server that never listens makes Node itself check a client's certificate. A refused
      // client must learn the reason, so this code reads the verdict.
      createServer({
        ...(this.#identity as { cert: Buffer; key: Buffer; ca: Buffer }),
        requestCert: true,
        rejectUnauthorized: false,
        minVersion: 'TLSv1.3',
      })
        .once('tlsClientError', (error) => fail(explained(error)))
        .once('secureConnection', (socket: TLSSocket) => {
          clearTimeout(timer);
          stream.off('close', ended);
          const certificate = socket.getPeerCertificate();
          const { CN = 'nobody' } = certificate.subject ?? {};
          const name = [CN].flat().join(' ');
          resolve({ stream: socket, name, problem: problemOf(socket, certificate) });
        })
        .emit('connection', stream);
    });
  }
}

function problemOf(socket: TLSSocket, certificate: PeerCertificate): string | undefined {
  if (Object.keys(certificate).length === 0) return 'it shows no certificate';
  const { authorizationError: verdict } = socket;
  // If the certificate has the wrong role, the first reason that OpenSSL finds does not help.
  if (socket.authorized || String(verdict) === 'INVALID_PURPOSE') {
    return roleProblem(certificate, 'client');
  }
  return verdictText(String(verdict), 'the agent', certificate);
}

/** Explains a TLS error, because Node's own message is only OpenSSL's file and line. */
function explained(error: Error & { code?: string }): Error {
  const { code } = error;
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER' || code === 'ERR_SSL_HTTP_REQUEST') {
    return new Error('it does not speak TLS, which --keys of the agent asks for', { cause: error });
  }
  return new Error(`its TLS handshake failed (${code ?? error.message})`, { cause: error });
}
