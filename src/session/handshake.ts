import { Duplex } from 'node:stream';
import { TLSSocket, connect as tlsConnect } from 'node:tls';
import { failure, WaepError } from '../errors.js';
import {
  FrameType,
  frameTypeName,
  type JoinPurpose,
  MAX_FRAME_BYTES,
  messageFrame,
  PROTOCOL_VERSION,
  parseError,
  parseWelcome,
  readFrame,
  type Welcome,
} from '../frame/index.js';
import { isVerdict, otherRole, roleProblem, verdictText } from '../tls-role.js';
import { type ConnectOptions, connect, parseAddress } from '../transport/index.js';

/** How a client proves who it is, and how it knows the agent; each PEM. */
export interface TlsOptions {
  ca: string | Uint8Array;
  cert: string | Uint8Array;
  key: string | Uint8Array;
  /** Which certificates the authority has revoked. */
  crl?: string | Uint8Array;
  /** The name that the agent's certificate must have. Default: any that the authority has signed. */
  servername?: string;
}

/** How an agent is reached. */
export interface DialOptions extends ConnectOptions {
  /**
   * A certificate with its key, and the authority that signed the agent's, for agents that ask for
   * mutual TLS; each PEM.
   */
  tls?: TlsOptions;
}

/** Makes a further connection to the agent. */
type Opener = () => Duplex | Promise<Duplex>;

/** How a session is begun. */
export interface HelloOptions extends DialOptions {
  /** How the guest's audit log should name this client. Default: the program's name and pid. */
  client?: string;
  /**
   * How long the guest should keep what the session holds when the connection is lost, in
   * milliseconds. Default 0: everything goes with the connection. The agent's maximum applies;
   * {@link Session.leaseMs} is what it granted. {@link Session.close} ends a session at once all
   * the same.
   */
  leaseMs?: number;
  /**
   * How a session with a lease goes on when its connection is lost: `true`, the default, connects to
   * its address again by itself for as long as the lease lasts; `false` waits for
   * {@link Session.resume}. A function is called for each connection that is needed, for a session
   * that was given a stream.
   */
  reconnect?: boolean | (() => Duplex | Promise<Duplex>);
}

/** A connection whose agent has said WELCOME to a new session. */
export interface Welcomed {
  readonly stream: Duplex;
  /** The address as it was given, or `stream`. */
  readonly address: string;
  readonly welcome: Welcome;
  /** Makes further connections of the session. */
  readonly rejoin: Rejoin;
}

/** Connects to an agent and has it begin a session; see {@link Session.connect}. */
export async function hello(target: string | Duplex, options: HelloOptions): Promise<Welcomed> {
  const { reconnect, leaseMs = 0, client, ...how } = options;
  const { handshakeTimeoutMs, signal } = how;
  const address = typeof target === 'string' ? target : 'stream';
  let open: Opener | undefined;
  if (typeof reconnect === 'function') open = reconnect;
  else if (typeof target === 'string') {
    // The signal is for the first connection only.
    const { signal: _, ...again } = how;
    open = () => dial(target, again);
  }
  if (leaseMs > 0 && open === undefined) {
    throw failure('ERR_OPTION_INVALID', {
      option: 'leaseMs',
      value: leaseMs,
      expected: 'no lease with a stream, unless reconnect is a function that makes another one',
    });
  }
  checkMilliseconds('leaseMs', leaseMs);
  checkMilliseconds('handshakeTimeoutMs', handshakeTimeoutMs);
  const stream = await dial(target, how);
  const name = client ?? `${process.title} ${process.pid}`;
  const lease = leaseMs > 0 ? { leaseMs } : {};
  const body = { protocol: PROTOCOL_VERSION, client: name, ...lease };
  const bounds = { handshakeTimeoutMs, signal };
  const welcome = await handshake(stream, address, FrameType.HELLO, body, bounds);
  const rejoin = new Rejoin(address, open, welcome.session.token, handshakeTimeoutMs);
  return { stream, address, welcome, rejoin };
}

function checkMilliseconds(option: string, value: number | undefined): void {
  if (value === undefined || (typeof value === 'number' && value >= 0)) return;
  throw failure('ERR_OPTION_INVALID', { option, value, expected: 'milliseconds, 0 or more' });
}

/** What further connections of a session are made with. */
export class Rejoin {
  readonly #address: string;
  readonly #open: Opener | undefined;
  readonly #token: Uint8Array;
  readonly #handshakeTimeoutMs: number | undefined;

  /** @param open makes connections; a session that was given its stream may have none */
  constructor(
    address: string,
    open: Opener | undefined,
    token: Uint8Array,
    handshakeTimeoutMs: number | undefined,
  ) {
    this.#address = address;
    this.#open = open;
    this.#token = token;
    this.#handshakeTimeoutMs = handshakeTimeoutMs;
  }

  /** Whether there can be further connections. */
  get possible(): boolean {
    return this.#open !== undefined;
  }

  /**
   * Makes a further connection of the session, and returns it once the agent has joined it.
   *
   * @throws ERR_OPTION_INVALID when there can be none; what connecting and the handshake throw
   */
  async join(purpose: JoinPurpose, call?: number): Promise<Duplex> {
    if (this.#open === undefined) {
      throw failure('ERR_OPTION_INVALID', {
        option: 'reconnect',
        value: 'undefined',
        expected: `a function that makes another connection, which a session over a stream needs for ${purpose}`,
      });
    }
    const stream = await this.#open();
    const join = {
      protocol: PROTOCOL_VERSION,
      token: this.#token,
      purpose,
      ...(call === undefined ? {} : { call }),
    };
    await handshake(stream, this.#address, FrameType.JOIN, join, {
      handshakeTimeoutMs: this.#handshakeTimeoutMs,
    });
    return stream;
  }
}

/** Connects to an agent, from a port that only root gets where that is possible, and secures it. */
async function dial(target: string | Duplex, options: DialOptions): Promise<Duplex> {
  const { tls, ...socketOptions } = options;
  const address = typeof target === 'string' ? target : 'stream';
  const { handshakeTimeoutMs = 5_000, signal } = options;
  try {
    let stream: Duplex;
    if (target instanceof Duplex) stream = target;
    else {
      const onVsock = parseAddress(target).transport === 'vsock' && process.geteuid?.() === 0;
      stream = await connect(
        target,
        onVsock ? { localPort: 'privileged', ...socketOptions } : socketOptions,
      );
    }
    return tls === undefined ? stream : await startTls(stream, address, tls, handshakeTimeoutMs);
  } catch (cause) {
    throw cause === signal?.reason ? cause : placed(address, cause as Error);
  }
}

/** Has an error say at which address it was met with, where it does not. */
function placed(address: string, error: Error): Error {
  if (address !== 'stream' && !error.message.includes(address)) {
    error.message = `${address}: ${error.message}`;
  }
  return error;
}

/**
 * Secures a stream with mutual TLS. The stream is destroyed when that fails.
 *
 * @throws ERR_HANDSHAKE_TIMEOUT, ERR_TLS_CERTIFICATE, ERR_TLS_ROLE, ERR_TLS_PLAIN, or Node's own error
 */
function startTls(
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
    const failed = (error: NodeJS.ErrnoException) => {
      const { code } = error;
      if (code === 'INVALID_PURPOSE') {
        fail(failure('ERR_TLS_ROLE', { address, why: otherRole('agent') }, error));
      } else if (isVerdict(code)) {
        // Node keeps the certificate that it refuses.
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
      resolve(socket);
    });
  });
}

/** Bounds of a handshake. */
interface HandshakeOptions {
  /** How long the agent may take to answer, in milliseconds. Default 5 000. */
  handshakeTimeoutMs?: number | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Introduces this client on a fresh connection, by a HELLO or a JOIN, and returns the answer. When
 * that fails the stream is destroyed.
 *
 * @throws what the agent answers; ERR_HANDSHAKE_TIMEOUT, ERR_SESSION_CLOSED, ERR_NO_AGENT
 */
async function handshake(
  stream: Duplex,
  address: string,
  type: number,
  body: unknown,
  options: HandshakeOptions,
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
  const secured = stream instanceof TLSSocket;
  try {
    stream.write(messageFrame(type, 0, body));
    const frame = await readFrame(stream, MAX_FRAME_BYTES, bound.signal).catch((cause) => {
      const noFrame = /^ERR_FRAME_(MALFORMED|TOO_LARGE)$/.test(cause.code);
      throw noFrame ? failure('ERR_NO_AGENT', { address, why: cause.message }, cause) : cause;
    });
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
        {
          address,
          why: `the peer closed the connection before it introduced itself${secured ? '' : '; if its agent asks for certificates, give --keys (tls in the library)'}`,
        },
        cause,
      );
    }
    throw cause === signal?.reason ? cause : placed(address, cause as Error);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', abort);
  }
}
