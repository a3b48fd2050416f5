import { Duplex } from 'node:stream';
import { failure } from '../errors.js';
import { FrameType, type JoinPurpose, PROTOCOL_VERSION } from '../frame/index.js';
import { type ConnectOptions, connect, parseAddress } from '../transport/index.js';
import { greet } from './greeting.js';
import { secure, type TlsOptions } from './secure.js';

/** How an agent is reached. */
export interface DialOptions extends ConnectOptions {
  /**
   * A certificate with its key, and the authority that signed the agent's, for agents that ask for
   * mutual TLS; each PEM.
   */
  tls?: TlsOptions;
}

/** Makes a further connection to the agent. */
export type Opener = () => Duplex | Promise<Duplex>;

/** Connects to an agent, from a port that only root gets where that is possible, and secures it. */
export async function dial(target: string | Duplex, options: DialOptions): Promise<Duplex> {
  const { tls, ...socketOptions } = options;
  const address = typeof target === 'string' ? target : 'stream';
  let stream: Duplex;
  if (target instanceof Duplex) stream = target;
  else {
    const onVsock = parseAddress(target).road === 'vsock' && process.geteuid?.() === 0;
    stream = await connect(
      target,
      onVsock ? { localPort: 'privileged', ...socketOptions } : socketOptions,
    );
  }
  const { handshakeTimeoutMs = 5_000 } = options;
  return tls === undefined ? stream : secure(stream, address, tls, handshakeTimeoutMs);
}

/** What further connections of a session are made with. */
export class Admission {
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
   * @throws ERR_OPTION_INVALID when there can be none; what connecting and greeting throw
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
    await greet(stream, this.#address, FrameType.JOIN, join, {
      handshakeTimeoutMs: this.#handshakeTimeoutMs,
    });
    return stream;
  }
}
