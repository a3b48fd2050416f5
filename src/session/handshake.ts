import { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
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
import { MAX_TIMER_MS } from '../timer.js';
import { type ConnectOptions, connect, parseAddress } from '../transport/index.js';

/** Secures a connection with TLS, within the time of a handshake. */
export type Secure = (stream: Duplex, address: string, timeoutMs: number) => Promise<Duplex>;

/** What {@link hello} does beside the handshake. */
export interface HelloSteps {
  /** Secures each connection, if the agent requires it (start-tls.ts). */
  secure?: Secure | undefined;
  /** Called when the agent has been asked and has not answered yet. */
  sent?: () => void;
}

/** Makes a further connection to the agent. */
type Opener = () => Duplex | Promise<Duplex>;

/** How to begin a session. */
export interface HelloOptions extends ConnectOptions {
  /** The name of this client in the guest's audit log. Default: the program's name and pid. */
  client?: string;
  /**
   * How long the guest should keep the session's objects after a loss of the connection, in
   * milliseconds. Default 0: they end with the connection. The agent limits this value, and
   * {@link Session.leaseMs} has the granted time. {@link Session.close} still ends a session at
   * once.
   */
  leaseMs?: number;
  /**
   * How a session with a lease goes on when its connection is lost. `true`, the default, connects
   * to the address again for as long as the lease lasts. `false` waits for {@link Session.resume}.
   * A function makes each further connection, for a session that was given a stream.
   */
  reconnect?: boolean | (() => Duplex | Promise<Duplex>);
}

/** A connection on which the agent has answered a new session with WELCOME. */
export interface Welcomed {
  readonly stream: Duplex;
  /** The address as it was given, or `stream`. */
  readonly address: string;
  readonly welcome: Welcome;
  /** Makes further connections of the session. */
  readonly rejoin: Rejoin;
}

/** Connects to an agent and begins a session; see {@link Session.connect}. */
export async function hello(
  target: string | Duplex,
  options: HelloOptions,
  { secure, sent = () => {} }: HelloSteps,
): Promise<Welcomed> {
  const { reconnect, leaseMs = 0, client, ...how } = options;
  const { handshakeTimeoutMs, signal } = how;
  const address = typeof target === 'string' ? target : 'stream';
  let open: Opener | undefined;
  if (typeof reconnect === 'function') open = reconnect;
  else if (typeof target === 'string') {
    // The signal applies only to the first connection.
    const { signal: _, ...again } = how;
    open = () => dial(target, again, secure);
  }
  if (leaseMs > 0 && open === undefined) {
    throw failure('ERR_OPTION_INVALID', {
      option: 'leaseMs',
      value: leaseMs,
      expected: 'no lease with a stream, unless reconnect is a function that makes another one',
    });
  }
  const stream = await dial(target, how, secure);
  const name = client ?? `${process.title} ${process.pid}`;
  const lease = leaseMs > 0 ? { leaseMs } : {};
  const body = { protocol: PROTOCOL_VERSION, client: name, ...lease };
  const bounds = { handshakeTimeoutMs, signal, sent };
  const welcome = await handshake(stream, address, FrameType.HELLO, body, bounds);
  const rejoin = new Rejoin(address, open, welcome.session.token, handshakeTimeoutMs);
  return { stream, address, welcome, rejoin };
}

/** The parameters for further connections of a session. */
export class Rejoin {
  readonly #address: string;
  readonly #open: Opener | undefined;
  readonly #token: Uint8Array;
  readonly #handshakeTimeoutMs: number | undefined;

  /**
   * @param open makes connections; absent when a session was given a stream and no way to reconnect
   */
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

  /** Whether further connections can be made. */
  get possible(): boolean {
    return this.#open !== undefined;
  }

  /**
   * Makes a further connection of the session. Returns it after the agent has joined it to the
   * session.
   *
   * @throws ERR_OPTION_INVALID when no further connection can be made; the errors of connecting and
   *   of the handshake
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

/**
 * Connects to an agent and secures the connection. Uses a privileged port, which only root gets,
 * where possible.
 */
async function dial(
  target: string | Duplex,
  options: ConnectOptions,
  secure: Secure | undefined,
): Promise<Duplex> {
  const address = typeof target === 'string' ? target : 'stream';
  const { handshakeTimeoutMs = 5_000, signal } = options;
  try {
    let stream: Duplex;
    if (target instanceof Duplex) stream = target;
    else if (typeof target !== 'string') {
      const why = 'it is neither text nor a connected stream';
      throw failure('ERR_ADDRESS_INVALID', { value: target, why });
    } else {
      const onVsock = parseAddress(target).transport === 'vsock' && process.geteuid?.() === 0;
      stream = await connect(target, onVsock ? { localPort: 'privileged', ...options } : options);
    }
    return secure === undefined ? stream : await secure(stream, address, handshakeTimeoutMs);
  } catch (cause) {
    throw cause === signal?.reason ? cause : placed(address, cause as Error);
  }
}

/** Adds the address to an error that has none. */
function placed(address: string, error: Error): Error {
  if (address !== 'stream' && !error.message.includes(address)) {
    error.message = `${address}: ${error.message}`;
  }
  return error;
}

/** Limits of a handshake. */
interface HandshakeOptions {
  /** The time limit for the agent's answer, in milliseconds. Default 5 000. */
  handshakeTimeoutMs?: number | undefined;
  signal?: AbortSignal | undefined;
  sent?: () => void;
}

/**
 * Introduces this client on a new connection with a HELLO or a JOIN, and returns the answer.
 * Destroys the stream when that fails.
 *
 * @throws the agent's error; ERR_HANDSHAKE_TIMEOUT, ERR_SESSION_CLOSED, ERR_NO_AGENT
 */
async function handshake(
  stream: Duplex,
  address: string,
  type: number,
  body: unknown,
  options: HandshakeOptions,
): Promise<Welcome> {
  const { handshakeTimeoutMs: timeoutMs = 5_000, signal } = options;
  // AbortSignal.any() is not used: on Node 20 the source signal keeps a trace of each derived
  // signal.
  const bound = new AbortController();
  const timer = setTimeout(
    () => bound.abort(failure('ERR_HANDSHAKE_TIMEOUT', { address, timeoutMs })),
    Math.min(timeoutMs, MAX_TIMER_MS),
  );
  const abort = () => bound.abort(signal?.reason);
  signal?.addEventListener('abort', abort);
  if (signal?.aborted) abort();
  const ignore = () => {};
  stream.on('error', ignore);
  const secured = (stream as Partial<TLSSocket>).encrypted === true;
  try {
    stream.write(messageFrame(type, 0, body));
    options.sent?.();
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
