import { failure } from '../errors.js';
import { type Address, type Notation, type RoadName, registerNotation } from './address.js';
import type { ListenOptions, ResolvedConnectOptions, ServerOptions } from './options.js';
import type { Socket } from './socket.js';

/** What a listening road tells its server. */
export interface Acceptor {
  /** A connection has been made. */
  accepted(socket: Socket): void;
  /** The listener cannot go on; it has closed itself. */
  failed(error: Error): void;
}

/** A road that listens. */
export interface Listener {
  /** Where it listens, with what the kernel chose filled in. */
  readonly address: Address;
  /** Stops accepting; resolves when the address is free again. Accepted sockets live on. */
  close(): Promise<void>;
  ref(): void;
  unref(): void;
}

/**
 * One way for bytes to travel.
 *
 * A road is registered once, by {@link registerRoad}, and is reached through `connect` and
 * `createServer` from then on. Its sockets are either `net.Socket`s with {@link SocketFacts} or
 * `VsockSocket`s; a road that is neither a kernel descriptor nor node:net gives `VsockSocket` a
 * {@link SocketSystem} of its own.
 */
export interface Road<A extends Address = Address> {
  readonly name: A['road'];
  readonly notation: Notation<A>;
  /** Whether its sockets have a half-close; see {@link SocketFacts.halfClose}. */
  readonly halfClose: boolean;
  /**
   * Starts to connect and returns the connecting socket at once. It emits 'connect', or 'error'
   * with a specific error at the latest when one of the deadlines in `options` has passed.
   */
  connect(address: A, options: ResolvedConnectOptions): Socket;
  /** Starts to listen; resolves once connections can be made. */
  listen(address: A, options: ServerOptions & ListenOptions, acceptor: Acceptor): Promise<Listener>;
}

const roads = new Map<string, Road>();

/** Adds a road: its addresses are understood and its sockets can be made from here on. */
export function registerRoad<A extends Address>(road: Road<A>): void {
  const erased = road as unknown as Road;
  registerNotation(erased.name, erased.notation);
  roads.set(erased.name, erased);
}

/** The road that `address` names. */
export function roadOf(address: Address): Road {
  const road = roads.get(address.road);
  if (road !== undefined) return road;
  throw failure('ERR_ADDRESS_INVALID', {
    value: address,
    why: `its road is not one of ${[...roads.keys()].join(', ')}`,
  });
}

/** The names of the roads there are. */
export function roadNames(): RoadName[] {
  return [...roads.keys()] as RoadName[];
}

/** Refuses an option that a road does not have. */
export function refuseOption(road: RoadName, option: string, value: unknown, cure: string): void {
  if (value === undefined) return;
  throw failure('ERR_TRANSPORT_UNSUPPORTED', { operation: `Option ${option}`, road, cure });
}
