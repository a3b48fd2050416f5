import { native, PollEvent, type Poller } from '../../src/native.js';
import type { SocketSystem } from '../../src/transport/index.js';

/** A poller that fires when the test says so. */
class FakePoller implements Poller {
  events = 0;
  closed = false;
  refed = true;
  readonly fire: (status: number, events: number) => void;

  constructor(_fd: number, callback: (status: number, events: number) => void) {
    this.fire = callback;
  }

  poll(events: number): number {
    this.events = events;
    return 0;
  }

  ref(): void {
    this.refed = true;
  }

  unref(): void {
    this.refed = false;
  }

  close(): void {
    this.closed = true;
    this.events = 0;
  }
}

/** What a scripted recv returns: bytes, 0 for the end, or a negative errno. */
export type Received = Uint8Array | number;

/**
 * System calls that do what a script says and remember how they were called. When a script has run
 * out, recv and send answer EAGAIN.
 */
export class FakeSystem implements SocketSystem {
  readonly pollers: FakePoller[] = [];
  readonly received: Received[] = [];
  /** How many bytes each send takes, or its negative errno. */
  readonly sends: number[] = [];
  readonly sent: Buffer[] = [];
  readonly closed: number[] = [];
  readonly shutdowns: number[] = [];
  shutdownResult = 0;
  socketErrors: number[] = [];
  readonly Poller: SocketSystem['Poller'];

  constructor() {
    const { pollers } = this;
    this.Poller = class extends FakePoller {
      constructor(fd: number, callback: (status: number, events: number) => void) {
        super(fd, callback);
        pollers.push(this);
      }
    };
  }

  /** The newest poller. */
  get poller(): FakePoller {
    const poller = this.pollers.at(-1);
    if (poller === undefined) throw new Error('no poller has been made');
    return poller;
  }

  /** Fires what the newest poller waits for, or exactly `events`. */
  ready(events = this.poller.events): void {
    this.poller.fire(0, events);
  }

  readable(...received: Received[]): void {
    this.received.push(...received);
    this.poller.fire(0, PollEvent.READABLE);
  }

  recv = (_fd: number, buffer: Uint8Array, offset: number, length: number): number => {
    const next = this.received.shift() ?? -11;
    if (typeof next === 'number') return next;
    const taken = next.subarray(0, length);
    buffer.set(taken, offset);
    if (taken.length < next.length) this.received.unshift(next.subarray(taken.length));
    return taken.length;
  };

  send = (_fd: number, parts: readonly Uint8Array[], offset: number): number => {
    const result = this.sends.shift() ?? -11;
    if (result <= 0) return result;
    const all = Buffer.concat(parts).subarray(offset, offset + result);
    this.sent.push(Buffer.from(all));
    return all.length;
  };

  shutdown = (_fd: number, how: number): number => {
    this.shutdowns.push(how);
    return this.shutdownResult;
  };

  close = (fd: number): number => {
    this.closed.push(fd);
    return 0;
  };

  socketError = (): number => this.socketErrors.shift() ?? 0;
}

/** Two connected, non-blocking descriptors of the real kernel. */
export function descriptorPair(): [number, number] {
  const pair = new Int32Array(2);
  const result = native.socketPair(pair);
  const [a, b] = pair;
  if (result < 0 || a === undefined || b === undefined) throw new Error(`socketpair: ${result}`);
  // libuv makes a descriptor non-blocking when it begins to watch it.
  for (const fd of [a, b]) new native.Poller(fd, () => {}).close();
  return [a, b];
}
