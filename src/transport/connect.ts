import { setTimeout as sleep } from 'node:timers/promises';
import { type Address, toAddress } from './address.js';
import { abortError, type ConnectOptions, checkOptions, resolveConnectOptions } from './options.js';
import type { Socket } from './socket.js';
import { transportOf } from './transport.js';
import './transports.js';

/** The errors of a peer that is not up yet, on any transport. */
const NOT_YET = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENODEV',
  'ENOENT',
  'ETIMEDOUT',
  'ERR_CONNECT_TIMEOUT',
  'ERR_HANDSHAKE_TIMEOUT',
  'ERR_MUX_REFUSED',
]);

/**
 * Starts to connect and returns the socket at once, as `net.createConnection` does.
 *
 * Errors are emitted as 'error'; only an invalid address or option is thrown. `signal`
 * destroys the socket with an AbortError whenever it aborts, connected or not.
 *
 * @example
 * ```ts
 * import { request } from 'node:http';
 *
 * request({ createConnection: () => createConnection('vsock:3:80') }).end();
 * ```
 *
 * @param onConnect is called once, on 'connect'
 */
export function createConnection(
  address: string | Address,
  options?: ConnectOptions | (() => void),
  onConnect?: () => void,
): Socket {
  const [settings, callback] =
    typeof options === 'function' ? [{}, options] : [options ?? {}, onConnect];
  checkOptions('createConnection()', settings);
  const socket = dial(toAddress(address), settings);
  if (callback !== undefined) socket.once('connect', callback);
  heed(settings.signal, socket, ['close']);
  return socket;
}

function dial(address: Address, options: ConnectOptions): Socket {
  return transportOf(address).connect(address, resolveConnectOptions(options));
}

/** Destroys the socket when `signal` aborts before one of these events. */
function heed(signal: AbortSignal | undefined, socket: Socket, until: readonly string[]): void {
  if (signal === undefined) return;
  const abort = (): void => void socket.destroy(abortError(signal));
  if (signal.aborted) {
    abort();
    return;
  }
  const forget = (): void => signal.removeEventListener('abort', abort);
  signal.addEventListener('abort', abort);
  for (const event of until) socket.once(event, forget);
}

function attempt(address: Address, options: ConnectOptions): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = dial(address, options);
    heed(options.signal, socket, ['connect', 'close']);
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      resolve(socket);
    });
  });
}

/**
 * Connects and resolves with the connected socket.
 *
 * Rejects with the kernel's error (`code`, `errno`, `syscall`, `address`: a refusal is ECONNREFUSED
 * on TCP and ECONNRESET on vsock, an absent machine ENODEV), with ERR_CONNECT_TIMEOUT,
 * ERR_HANDSHAKE_TIMEOUT, ERR_MUX_REFUSED or ERR_MUX_PROTOCOL, with ERR_ADDRESS_INVALID,
 * ERR_OPTION_INVALID or ERR_OPTION_UNKNOWN, or with an AbortError. Once it has resolved, `signal`
 * has no effect on the socket.
 *
 * @example
 * ```ts
 * const socket = await connect('vsock:3:7000', { timeoutMs: 2000, retryDelayMs: 50 });
 * socket.end('hello');
 * for await (const chunk of socket) process.stdout.write(chunk);
 * ```
 *
 * @param options.retryDelayMs tries again after this time while the peer is not up yet, until
 *   `timeoutMs` has passed; it then rejects with the error of the last attempt
 */
export async function connect(
  address: string | Address,
  options: ConnectOptions & { retryDelayMs?: number } = {},
): Promise<Socket> {
  const { retryDelayMs, ...rest } = options;
  checkOptions('connect()', options);
  const target = toAddress(address);
  const { signal } = options;
  if (signal?.aborted) throw abortError(signal);
  if (retryDelayMs === undefined) return attempt(target, rest);

  const deadline = performance.now() + resolveConnectOptions(rest).timeoutMs;
  for (;;) {
    const timeoutMs = Math.max(1, deadline - performance.now());
    try {
      return await attempt(target, { ...rest, timeoutMs });
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      const out = performance.now() + retryDelayMs >= deadline;
      if (out || code === undefined || !NOT_YET.has(code)) throw error;
    }
    await sleep(retryDelayMs, undefined, signal === undefined ? {} : { signal });
  }
}
