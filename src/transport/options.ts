import { failure } from '../errors.js';

/** Options of `connect` and `createConnection`. */
export interface ConnectOptions {
  /**
   * How long the kernel may take to connect, in milliseconds; `Infinity` for no deadline. Default
   * 10 000. With `retryDelayMs` it bounds all attempts together.
   */
  timeoutMs?: number;
  /**
   * How long a multiplexer may take to answer once it has accepted, in milliseconds; `Infinity` for
   * no deadline. Default 5 000. Other roads have no handshake.
   */
  handshakeTimeoutMs?: number;
  /** Gives up connecting. Once the socket is connected, the signal has no effect on it. */
  signal?: AbortSignal;
  /**
   * The receive buffer in bytes (SO_VM_SOCKETS_BUFFER_SIZE, by default 262 144), which is also the
   * credit the peer gets. On `vsock` only; other roads keep their kernel's own sizing.
   */
  bufferBytes?: number;
  /** As in node:net: whether to stay writable when the peer has ended. Default false. */
  allowHalfOpen?: boolean;
  /**
   * The port to connect from. `'privileged'` takes a free one below 1024, which on a host only a
   * privileged process can do; a guest may take it for proof of that. On `vsock` only.
   */
  localPort?: number | 'privileged';
}

/** Connect options with their defaults filled in and checked. */
export interface ResolvedConnectOptions {
  readonly timeoutMs: number;
  readonly handshakeTimeoutMs: number;
  readonly bufferBytes: number | undefined;
  readonly allowHalfOpen: boolean;
  readonly localPort: number | 'privileged' | undefined;
}

/** Options of `createServer`. */
export interface ServerOptions {
  /** As in node:net: whether sockets stay writable when the peer has ended. Default false. */
  allowHalfOpen?: boolean;
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
  spinUs: {
    expected: 'microseconds, from 0 to 1 000 000',
    holds: (value) => wholeNumber(value, 0, 1_000_000),
  },
  backlog: {
    expected: 'a whole number from 0 to 65535',
    holds: (value) => wholeNumber(value, 0, 65535),
  },
  allowHalfOpen: { expected: 'a boolean', holds: (value) => typeof value === 'boolean' },
  pauseOnConnect: { expected: 'a boolean', holds: (value) => typeof value === 'boolean' },
  signal: { expected: 'an AbortSignal', holds: (value) => value instanceof AbortSignal },
};

/**
 * Checks every option that this folder knows; absent and unknown ones pass.
 *
 * @throws ERR_OPTION_INVALID
 */
export function checkOptions(options: object): void {
  for (const [option, value] of Object.entries(options)) {
    const rule = rules[option];
    if (rule === undefined || value === undefined || rule.holds(value)) continue;
    throw failure('ERR_OPTION_INVALID', { option, value, expected: rule.expected });
  }
}

/**
 * Fills in the defaults.
 *
 * @throws ERR_OPTION_INVALID
 */
export function resolveConnectOptions(options: ConnectOptions): ResolvedConnectOptions {
  checkOptions(options);
  return {
    timeoutMs: options.timeoutMs ?? 10_000,
    handshakeTimeoutMs: options.handshakeTimeoutMs ?? 5_000,
    bufferBytes: options.bufferBytes,
    allowHalfOpen: options.allowHalfOpen ?? false,
    localPort: options.localPort,
  };
}

/** The error of an operation that its signal ended: named and coded as Node's own. */
export function abortError(signal: AbortSignal): Error {
  const error = new Error('The operation was aborted', { cause: signal.reason });
  return Object.assign(error, { name: 'AbortError', code: 'ABORT_ERR' });
}

/** Calls `expired` after `timeoutMs`, unless the function it returns is called first. */
export function startDeadline(timeoutMs: number, expired: () => void): () => void {
  // A longer delay than this would overflow to 1 ms in setTimeout.
  if (timeoutMs > 2 ** 31 - 1) return () => {};
  const timer = setTimeout(expired, timeoutMs);
  return () => clearTimeout(timer);
}
