import { failure } from '../errors.js';
import { type Address, type Notation, registerNotation, type TransportName } from './address.js';
import type { ListenOptions, ResolvedConnectOptions, ServerOptions } from './options.js';
import type { Socket } from './socket.js';

/** The functions by which a listening transport calls its server. */
export interface Acceptor {
  /** A connection has been made. */
  accepted(socket: Socket): void;
  /** The listener cannot go on; it has closed itself. */
  failed(error: Error): void;
}

/** A transport that listens. */
export interface Listener {
  /** The address that it listens on, with the kernel's choices filled in. */
  readonly address: Address;
  /** Stops accepting; resolves when the address is free again. Accepted sockets live on. */
  close(): Promise<void>;
  /** Keeps the process from ending while it listens, which is the default. */
  ref(): void;
  /** Lets the process end while it listens. */
  unref(): void;
}

/**
 * One way for bytes to travel.
 *
 * A transport is registered once, by {@link registerTransport}, and is reached through `connect`
 * and `createServer` from then on. Its sockets are either `net.Socket`s with {@link SocketInfo} or
 * `VsockSocket`s; a transport that is neither a kernel descriptor nor node:net gives `VsockSocket`
 * a {@link SocketSystem} of its own.
 */
export interface Transport<A extends Address = Address> {
  /** The name of the transport, which its addresses have. */
  readonly name: A['transport'];
  /** How addresses of the transport are written. */
  readonly notation: Notation<A>;
  /** Whether its sockets have a half-close; see {@link SocketInfo.halfClose}. */
  readonly halfClose: boolean;
  /**
   * Starts to connect and returns the connecting socket at once. It emits 'connect', or 'error'
   * with a specific error at the latest when one of the deadlines in `options` has passed.
   */
  connect(address: A, options: ResolvedConnectOptions): Socket;
  /** Starts to listen; resolves once connections can be made. */
  listen(address: A, options: ServerOptions & ListenOptions, acceptor: Acceptor): Promise<Listener>;
}

const transports = new Map<string, Transport>();

/** Adds a transport. From then on its addresses can be parsed and its sockets can be made. */
export function registerTransport<A extends Address>(transport: Transport<A>): void {
  const erased = transport as unknown as Transport;
  registerNotation(erased.name, erased.notation);
  transports.set(erased.name, erased);
}

/** The transport that `address` names. */
export function transportOf(address: Address): Transport {
  const transport = transports.get(address.transport);
  if (transport !== undefined) return transport;
  throw failure('ERR_ADDRESS_INVALID', {
    value: address,
    why: `its transport is not one of ${[...transports.keys()].join(', ')}`,
  });
}

/** The names of all transports. */
export function transportNames(): TransportName[] {
  return [...transports.keys()] as TransportName[];
}

/** Refuses an option that a transport does not have. */
export function refuseOption(
  transport: TransportName,
  option: string,
  value: unknown,
  cure: string,
): void {
  if (value === undefined) return;
  throw failure('ERR_TRANSPORT_UNSUPPORTED', { operation: `Option ${option}`, transport, cure });
}
