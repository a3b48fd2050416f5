import { failure } from '../errors.js';
import { type AnyOptionNames, type OptionNames, refuseUnknownOptions } from '../known-options.js';
import { MAX_TIMER_MS } from '../timer.js';

/** Receives bytes in place of the stream; see {@link StreamOptions.onread}. */
export interface OnRead {
  /** The buffer for received bytes, or a function that returns one for every read. */
  buffer: Uint8Array | (() => Uint8Array);
  /** Called with the number of received bytes and their buffer; `false` pauses the socket. */
  callback(sizeBytes: number, buffer: Uint8Array): boolean;
}

/** Options of a socket as a stream, as in node:net. */
export interface StreamOptions {
  /** Whether to stay writable when the peer has ended. Default false. */
  allowHalfOpen?: boolean;
  /** How many bytes may wait in either direction before the socket asks for a pause. */
  highWaterMark?: number;
  /** Reads into one buffer and calls a function; no 'data' is emitted. For clients only. */
  onread?: OnRead;
}

/** Options of TCP, as in node:net. Other transports accept and ignore them. */
export interface TcpOptions {
  /** Whether small writes leave at once. Default true, where node:net has false. */
  noDelay?: boolean;
  /** Whether the kernel asks an idle peer if it is still there. Default false. */
  keepAlive?: boolean;
  /** The idle time in milliseconds before the kernel asks for the first time. */
  keepAliveInitialDelay?: number;
}

/** Options of `connect` and `createConnection`. */
export interface ConnectOptions extends StreamOptions, TcpOptions {
  /**
   * How long the kernel may take to connect, in milliseconds; `Infinity` for no deadline. Default
   * 10 000. With `retryDelayMs` it bounds all attempts together.
   */
  timeoutMs?: number;
  /**
   * How long a multiplexer may take to answer once it has accepted, in milliseconds; `Infinity` for
   * no deadline. Default 5 000. Other transports have no handshake.
   */
  handshakeTimeoutMs?: number;
  /**
   * For `createConnection`, the signal destroys the socket at any time, as in node:net. For
   * `connect`, the signal ends the attempt, and has no effect once the promise has resolved.
   */
  signal?: AbortSignal;
  /**
   * The receive buffer in bytes (SO_VM_SOCKETS_BUFFER_SIZE, by default 262 144), which is also the
   * credit the peer gets. On `vsock` only; other transports keep their kernel's own sizing.
   */
  bufferBytes?: number;
  /**
   * The port to connect from. `'privileged'` takes a free port below 1024. On a host only a
   * privileged process can do that, so such a port proves privilege to a guest. On `vsock` only.
   */
  localPort?: number | 'privileged';
}

/** Connect options with their defaults filled in and checked. */
export interface ResolvedConnectOptions {
  readonly timeoutMs: number;
  readonly handshakeTimeoutMs: number;
  readonly bufferBytes: number | undefined;
  readonly localPort: number | 'privileged' | undefined;
  /** As given; what is absent has the stream's own default. */
  readonly stream: StreamOptions;
  readonly tcp: TcpOptions;
}

/** Options of `createServer`. */
export interface ServerOptions extends Omit<StreamOptions, 'onread'>, TcpOptions {
  /** As in node:net: whether sockets start paused, with nothing read from them. Default false. */
  pauseOnConnect?: boolean;
  /** The receive buffer of accepted sockets in bytes. On `vsock` only. */
  bufferBytes?: number;
}

/** Options of `Server.listen`. */
export interface ListenOptions {
  /**
   * How many connections may wait to be accepted. Default 1 024. A full queue refuses at once on
   * vsock, where TCP would retry, so it should be generous.
   */
  backlog?: number;
  /** Closes the server when it aborts. */
  signal?: AbortSignal;
}

interface Rule {
  readonly expected: string;
  readonly holds: (value: unknown) => boolean;
}

function wholeNumber(value: unknown, minimum: number, maximum: number): boolean {
  return Number.isInteger(value) && Number(value) >= minimum && Number(value) <= maximum;
}

const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null;

const milliseconds: Rule = {
  expected: 'a positive number of milliseconds, or Infinity',
  holds: (value) => typeof value === 'number' && value > 0,
};

const rules: Readonly<Record<string, Rule>> = {
  timeoutMs: milliseconds,
  handshakeTimeoutMs: milliseconds,
  retryDelayMs: milliseconds,
  bufferBytes: {
    expected: 'a whole number of bytes from 128 to 2^31 − 1',
    // 128 is the kernel's own default minimum (VSOCK_BUFFER_MIN_SIZE).
    holds: (value) => wholeNumber(value, 128, 2 ** 31 - 1),
  },
  localPort: {
    expected: '"privileged" or a port from 1 to 2^32 − 2',
    holds: (value) => value === 'privileged' || wholeNumber(value, 1, 2 ** 32 - 2),
  },
  guestCid: {
    expected: 'a context identifier from 3 to 2^32 − 2',
    holds: (value) => wholeNumber(value, 3, 2 ** 32 - 2),
  },
  maxConnections: {
    expected: 'a whole number from 1 to 2^20',
    holds: (value) => wholeNumber(value, 1, 2 ** 20),
  },
  backlog: {
    expected: 'a whole number from 0 to 65535',
    holds: (value) => wholeNumber(value, 0, 65535),
  },
  allowHalfOpen: { expected: 'a boolean', holds: (value) => typeof value === 'boolean' },
  pauseOnConnect: { expected: 'a boolean', holds: (value) => typeof value === 'boolean' },
  multiplexer: { expected: 'a boolean', holds: (value) => typeof value === 'boolean' },
  noDelay: { expected: 'a boolean', holds: (value) => typeof value === 'boolean' },
  keepAlive: { expected: 'a boolean', holds: (value) => typeof value === 'boolean' },
  keepAliveInitialDelay: {
    expected: 'milliseconds, 0 or more',
    holds: (value) => wholeNumber(value, 0, 2 ** 31 - 1),
  },
  highWaterMark: {
    expected: 'a whole number of bytes from 0 to 2^31 − 1',
    holds: (value) => wholeNumber(value, 0, 2 ** 31 - 1),
  },
  onread: {
    expected: '{ buffer: a Uint8Array or a function that returns one, callback: a function }',
    holds(value) {
      const { buffer, callback } = (value ?? {}) as Partial<OnRead>;
      const place =
        typeof buffer === 'function' || (buffer instanceof Uint8Array && buffer.length > 0);
      return place && typeof callback === 'function';
    },
  },
  connect: { expected: 'an object with options of createConnection()', holds: isObject },
  tls: { expected: 'an object with options of tls.connect()', holds: isObject },
  signal: { expected: 'an AbortSignal', holds: (value) => value instanceof AbortSignal },
};

const tcpNames: OptionNames<TcpOptions> = {
  ...{ noDelay: true, keepAlive: true, keepAliveInitialDelay: true },
};
const connectNames: OptionNames<ConnectOptions> = {
  ...{ timeoutMs: true, handshakeTimeoutMs: true, signal: true, bufferBytes: true },
  ...{ localPort: true, onread: true, allowHalfOpen: true, highWaterMark: true },
  ...tcpNames,
};
const serverNames: OptionNames<ServerOptions> = {
  ...{ pauseOnConnect: true, bufferBytes: true, allowHalfOpen: true, highWaterMark: true },
  ...tcpNames,
};
const listenNames: OptionNames<ListenOptions> = { backlog: true, signal: true };

/** The functions that take options, with the names of their options. */
const known = {
  'createConnection()': connectNames,
  'connect()': { ...connectNames, retryDelayMs: true },
  'webSocketOptions()': { connect: true, tls: true },
  'createServer()': serverNames,
  'listen()': listenNames,
  'VsockDevice.open()': {
    ...{ socket: true, path: true, multiplexer: true, guestCid: true },
    ...{ bufferBytes: true, maxConnections: true },
  },
} as const satisfies Readonly<Record<string, AnyOptionNames>>;

/** Options of node:net that have another name here, or do not exist here. */
const elsewhere: Readonly<Record<string, string>> = {
  timeout: 'Use timeoutMs to bound connecting, and socket.setTimeout() to notice an idle socket.',
  host: 'The address has it: tcp:HOST:PORT.',
  port: 'The address has it, such as vsock:CID:PORT.',
  fd: 'A socket of this library is made from an address.',
};

/**
 * Checks the options of an operation; those that are undefined pass.
 *
 * @throws ERR_OPTION_INVALID, and ERR_OPTION_UNKNOWN for a name that the operation does not have
 */
export function checkOptions(operation: keyof typeof known, options: object): void {
  refuseUnknownOptions(operation, options, known[operation], elsewhere);
  for (const [option, value] of Object.entries(options)) {
    if (value === undefined) continue;
    const rule = rules[option];
    if (rule === undefined || rule.holds(value)) continue;
    throw failure('ERR_OPTION_INVALID', { option, value, expected: rule.expected });
  }
}

/** The options of the stream among others; what is absent or undefined is left out. */
export function streamOptionsOf(options: StreamOptions): StreamOptions {
  const { allowHalfOpen, highWaterMark, onread } = options;
  return {
    allowHalfOpen: allowHalfOpen ?? false,
    ...(highWaterMark === undefined ? {} : { highWaterMark }),
    ...(onread === undefined ? {} : { onread }),
  };
}

/** The options of TCP among others, with their defaults filled in. */
export function tcpOptionsOf({ noDelay, keepAlive, keepAliveInitialDelay }: TcpOptions) {
  return {
    noDelay: noDelay ?? true,
    keepAlive: keepAlive ?? false,
    ...(keepAliveInitialDelay === undefined ? {} : { keepAliveInitialDelay }),
  };
}

/** Fills in the defaults of options that have been checked. */
export function resolveConnectOptions(options: ConnectOptions): ResolvedConnectOptions {
  return {
    timeoutMs: options.timeoutMs ?? 10_000,
    handshakeTimeoutMs: options.handshakeTimeoutMs ?? 5_000,
    bufferBytes: options.bufferBytes,
    localPort: options.localPort,
    stream: streamOptionsOf(options),
    tcp: tcpOptionsOf(options),
  };
}

/** The error of an operation that its signal ended, with the name and code of Node's own. */
export function abortError(signal: AbortSignal): Error {
  const error = new Error('The operation was aborted', { cause: signal.reason });
  return Object.assign(error, { name: 'AbortError', code: 'ABORT_ERR' });
}

/** Calls `expired` after `timeoutMs`, unless the function it returns is called first. */
export function startDeadline(timeoutMs: number, expired: () => void): () => void {
  if (timeoutMs > MAX_TIMER_MS) return () => {};
  const timer = setTimeout(expired, timeoutMs);
  return () => clearTimeout(timer);
}
