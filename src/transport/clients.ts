import http from 'node:http';
import https from 'node:https';
import { isIP } from 'node:net';
import type { Duplex } from 'node:stream';
import tls from 'node:tls';
import { type Address, toAddress } from './address.js';
import { createConnection } from './connect.js';
import { type ConnectOptions, checkOptions } from './options.js';
import type { Socket } from './socket.js';

/** How the clients of this file connect. */
export interface ClientOptions {
  /** Options of each connection. */
  connect?: ConnectOptions;
  /** Options of TLS, for `https:` and `wss:`, such as `{ ca, servername }`. */
  tls?: tls.ConnectionOptions;
}

/** Options of {@link agent}: those of `http.Agent` and of its connections. */
export interface AgentOptions extends Omit<http.AgentOptions, 'host' | 'port'>, ClientOptions {}

class PlainAgent extends http.Agent {
  readonly #dial: () => Duplex;

  constructor(dial: () => Duplex, options: http.AgentOptions) {
    super(options);
    this.#dial = dial;
  }

  override createConnection(): Duplex {
    return this.#dial();
  }
}

class SecureAgent extends https.Agent {
  readonly #dial: () => Duplex;

  constructor(dial: () => Duplex, options: https.AgentOptions) {
    super(options);
    this.#dial = dial;
  }

  override createConnection(
    options: tls.ConnectionOptions,
    created?: (error: Error | null, socket: Duplex) => void,
  ): Duplex {
    const socket = this.#dial();
    const secure = super.createConnection({ ...options, socket } as object, created) as Duplex;
    // TLS over a stream that is no net.Socket does not pass on why it could not be connected.
    socket.once('error', (error) => secure.destroy(error));
    return secure;
  }
}

/**
 * Returns a function that makes a client's connections. Throws at once for a wrong address or
 * option.
 */
function dialler(address: string | Address, options: ConnectOptions = {}): () => Socket {
  const target = toAddress(address);
  checkOptions('createConnection()', options);
  return () => createConnection(target, options);
}

/**
 * Returns an agent whose connections all lead to one address, whatever host a request names. With
 * `tls` it is an `https.Agent`, else an `http.Agent`. Connections are kept alive unless
 * `keepAlive` is false; `agent.destroy()` closes them.
 *
 * @example
 * ```ts
 * import http from 'node:http';
 * import https from 'node:https';
 * import { agent } from 'waep/transport';
 *
 * const guest = agent('vsock:3:80');
 * http.get('http://guest/status', { agent: guest }, (response) => response.pipe(process.stdout));
 *
 * const secure = agent('vsock:3:443', { tls: { servername: 'guest.example' } });
 * https.get('https://guest/status', { agent: secure }, (response) => response.resume());
 * ```
 *
 * @throws ERR_ADDRESS_INVALID, ERR_OPTION_INVALID and ERR_OPTION_UNKNOWN
 */
export function agent(
  address: string | Address,
  options: AgentOptions & { tls: tls.ConnectionOptions },
): https.Agent;
export function agent(address: string | Address, options?: AgentOptions): http.Agent;
export function agent(address: string | Address, options: AgentOptions = {}): http.Agent {
  const { connect, tls: secure, ...rest } = options;
  const dial = dialler(address, connect);
  const settings = { keepAlive: true, ...rest };
  if (secure === undefined) return new PlainAgent(dial, settings);
  return new SecureAgent(dial, { ...settings, ...(secure as https.AgentOptions) });
}

/** The function that undici calls to connect. */
export type UndiciConnector = (
  options: { hostname: string; protocol: string; servername?: string },
  callback: (...outcome: [Error, null] | [null, tls.TLSSocket]) => void,
) => void;

/**
 * Returns a dispatcher of undici whose connections all lead to one address, whatever host a URL
 * names. The caller passes undici's class, because this package does not depend on undici: `Agent`,
 * `Pool`, or another one that takes the option `connect`.
 *
 * @example
 * ```ts
 * import { Agent, fetch } from 'undici';
 * import { dispatcher } from 'waep/transport';
 *
 * const guest = dispatcher('vsock:3:80', Agent);
 * const response = await fetch('http://guest/status', { dispatcher: guest });
 * ```
 *
 * @param options goes to the class, with `connect` and `tls` as for {@link agent}: `tls` is for
 *   `https:` URLs
 * @throws as {@link agent} does
 */
export function dispatcher<D>(
  address: string | Address,
  Agent: new (options: { connect: UndiciConnector }) => D,
  options: ClientOptions & Readonly<Record<string, unknown>> = {},
): D {
  const { connect, tls: secure, ...rest } = options;
  const dial = dialler(address, connect);
  return new Agent({
    ...rest,
    connect({ hostname, protocol, servername }, callback) {
      const raw = dial();
      const socket =
        protocol === 'https:'
          ? tls.connect({
              ALPNProtocols: ['http/1.1'],
              servername: servername ?? (isIP(hostname) === 0 ? hostname : ''),
              ...secure,
              socket: raw,
            })
          : raw;
      const fail = (error: Error): void => {
        socket.destroy();
        callback(error, null);
      };
      socket.once('error', fail);
      if (socket !== raw) raw.once('error', (error) => socket.destroy(error));
      socket.once(socket === raw ? 'connect' : 'secureConnect', () => {
        socket.off('error', fail);
        callback(null, socket as tls.TLSSocket);
      });
    },
  });
}

/**
 * Returns the options with which a `WebSocket` of the package `ws` connects to an address. Add
 * other options of `ws` with a spread. Pass `tls` for `wss:` URLs.
 *
 * @example
 * ```ts
 * import { WebSocket } from 'ws';
 * import { webSocketOptions } from 'waep/transport';
 *
 * const socket = new WebSocket('ws://guest/events', webSocketOptions('vsock:3:80'));
 * ```
 *
 * Node's own `WebSocket` takes a {@link dispatcher} instead.
 *
 * @throws as {@link agent} does
 */
export function webSocketOptions(
  address: string | Address,
  options: ClientOptions = {},
): { agent: http.Agent } {
  checkOptions('webSocketOptions()', options);
  return { agent: agent(address, { ...options, keepAlive: false }) };
}
