import { setTimeout as sleep } from 'node:timers/promises';
import { type Address, toAddress } from './address.js';
import { abortError, type ConnectOptions, checkOptions, resolveConnectOptions } from './options.js';
import { roadOf } from './road.js';
import type { Socket } from './socket.js';
import './roads.js';

/** What a peer that is not up yet answers on one road or another. */
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
 * Starts to connect and returns the socket at once, as `net.createConnection` does: usable as
 * `http.request({ createConnection: () => createConnection('vsock:3:80') })`.
 *
 * What goes wrong is emitted as 'error'; only an invalid address or option is thrown.
 *
 * @param onConnect is called once, on 'connect'
 */
export function createConnection(
  address: string | Address,
  options: ConnectOptions = {},
  onConnect?: () => void,
): Socket {
  const target = toAddress(address);
  const socket = roadOf(target).connect(target, resolveConnectOptions(options));
  if (onConnect !== undefined) socket.once('connect', onConnect);
  const { signal } = options;
  if (signal?.aborted) return socket.destroy(abortError(signal));
  if (signal !== undefined) {
    const abort = (): void => void socket.destroy(abortError(signal));
    const forget = (): void => signal.removeEventListener('abort', abort);
    signal.addEventListener('abort', abort);
    socket.once('connect', forget);
    socket.once('close', forget);
  }
  return socket;
}

function attempt(address: Address, options: ConnectOptions): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(address, options);
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
 * ERR_HANDSHAKE_TIMEOUT, ERR_MUX_REFUSED or ERR_MUX_PROTOCOL, with ERR_ADDRESS_INVALID or
 * ERR_OPTION_INVALID, or with an AbortError.
 *
 * @param options.retryDelayMs keeps trying, at this distance, while the peer is not up yet and
 *   until `timeoutMs` has passed; the last attempt's error is the one it rejects with
 */
export async function connect(
  address: string | Address,
  options: ConnectOptions & { retryDelayMs?: number } = {},
): Promise<Socket> {
  const { retryDelayMs, ...rest } = options;
  checkOptions(options);
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
