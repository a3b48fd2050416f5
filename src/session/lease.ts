import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Handle } from '../call.js';
import { type ErrorCode, failure, WaepError } from '../errors.js';

/** What a {@link Lease} needs of its session. */
export interface Leaseholder {
  readonly address: string;
  /** Why the session has ended, once it has. */
  readonly closed: Error | undefined;
  /** Whether the session keeps the process from ending. */
  readonly referenced: boolean;
  /** Lets go of the connection, and rejects whatever was asked over it. */
  disconnect(reason: Error): void;
  /** Makes another connection, and returns it once the agent has joined it to the session. */
  join(): Promise<Duplex>;
  /** Has a connection carry the session's calls. */
  carry(stream: Duplex): void;
  /** Closes a handle in the guest, whether there is such a handle or not. */
  close(handle: Handle): Promise<void>;
  /** Ends the session. */
  end(cause: Error): void;
}

/** The time after a loss and before the session goes on, or ends. */
interface Interruption {
  readonly reason: Error;
  /** Settles when the time is over; rejects when the session ends with it. */
  readonly over: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
  /** Ends the session with its lease. */
  readonly timer: NodeJS.Timeout;
}

const FIRST_RETRY_MS = 50;
const LONGEST_RETRY_MS = 1000;

/** What no further attempt would change. */
const final: ReadonlySet<string> = new Set<ErrorCode>([
  'ERR_SESSION_UNKNOWN',
  'ERR_PROTOCOL_VERSION',
  'ERR_PROTOCOL_UNEXPECTED',
  'ERR_FRAME_MALFORMED',
  'ERR_NO_AGENT',
]);

/**
 * How a session survives the loss of its connection: how long the guest keeps what the session
 * holds, the attempts to connect again, and the handles whose fate is unknown.
 */
export class Lease {
  readonly #session: Leaseholder;
  readonly #lengthMs: number;
  #interruption: Interruption | undefined;
  #resuming: Promise<void> | undefined;
  #resumptions = 0;
  /** Handles that a call lost with a connection may have bound, or failed to free. */
  #orphans: Handle[] = [];

  /** @param lengthMs how long the guest keeps what the session holds, in milliseconds; 0: not at all */
  constructor(session: Leaseholder, lengthMs: number) {
    this.#session = session;
    this.#lengthMs = lengthMs;
  }

  /** How often the session was resumed on another connection. */
  get resumptions(): number {
    return this.#resumptions;
  }

  /** While the connection is lost: settles when the session goes on, rejects when it ends. */
  get over(): Promise<void> | undefined {
    return this.#interruption?.over;
  }

  /** Why the connection is lost, while it is. */
  get reason(): Error | undefined {
    return this.#interruption?.reason;
  }

  /** The connection is gone; the lease begins to run. */
  interrupt(reason: Error): void {
    const settle: Pick<Interruption, 'resolve' | 'reject'> = { resolve() {}, reject() {} };
    const over = new Promise<void>((resolve, reject) => {
      Object.assign(settle, { resolve, reject });
    });
    over.catch(() => {});
    const timer = setTimeout(() => this.#session.end(reason), this.#lengthMs);
    if (!this.#session.referenced) timer.unref();
    this.#interruption = { reason, over, timer, ...settle };
    this.#session.disconnect(reason);
  }

  /** Notes down a handle that may be bound in the guest though nobody has learned of it; 0 is none. */
  orphaned(handle: Handle): void {
    if (handle !== 0) this.#orphans.push(handle);
  }

  /** Goes on over another connection, whether or not the one that there is has been lost. */
  resume(): Promise<void> {
    if (this.#resuming !== undefined) return this.#resuming;
    if (this.#interruption === undefined) {
      const { address } = this.#session;
      this.interrupt(failure('ERR_SESSION_CLOSED', { address, why: 'it moves to another one' }));
    }
    this.#resuming = this.#reconnect().finally(() => {
      this.#resuming = undefined;
    });
    return this.#resuming;
  }

  /** The session has ended. */
  end(reason: Error): void {
    if (this.#interruption === undefined) return;
    clearTimeout(this.#interruption.timer);
    this.#interruption.reject(reason);
    this.#interruption = undefined;
  }

  /** Tries until the session goes on or ends. */
  async #reconnect(): Promise<void> {
    // A connection may be lost again before the session is what it was.
    while (this.#interruption !== undefined) {
      const { resolve, timer } = this.#interruption;
      await this.#connect();
      if (this.#session.closed !== undefined) break;
      clearTimeout(timer);
      this.#interruption = undefined;
      this.#resumptions++;
      await this.#closeOrphans();
      resolve();
    }
    if (this.#session.closed !== undefined) throw this.#session.closed;
  }

  async #connect(): Promise<void> {
    for (let delayMs = FIRST_RETRY_MS; ; delayMs = Math.min(2 * delayMs, LONGEST_RETRY_MS)) {
      try {
        const stream = await this.#session.join();
        if (this.#session.closed !== undefined) stream.destroy();
        else this.#session.carry(stream);
        return;
      } catch (error) {
        if (error instanceof WaepError && final.has(error.code)) this.#session.end(error);
        if (this.#session.closed !== undefined) return;
        await sleep(delayMs, undefined, { ref: this.#session.referenced });
      }
    }
  }

  /** Requests are answered in turn, so whatever this finds, those before it are over. */
  async #closeOrphans(): Promise<void> {
    const closing = this.#orphans.splice(0).map((handle) =>
      this.#session.close(handle).catch((error) => {
        if ((error as Partial<WaepError>).code === 'ERR_SESSION_INTERRUPTED') this.orphaned(handle);
      }),
    );
    await Promise.all(closing);
  }
}
