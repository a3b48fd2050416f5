import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Handle } from '../call.js';
import { type ErrorCode, failure, WaepError } from '../errors.js';

/** The parts of a session that its {@link Lease} needs. */
export interface Leaseholder {
  readonly address: string;
  /** The reason why the session has ended, once it has. */
  readonly closed: Error | undefined;
  /** Whether the session keeps the process from ending. */
  readonly referenced: boolean;
  /** Drops the connection, and rejects all requests on it. */
  disconnect(reason: Error): void;
  /** Makes another connection, and returns it once the agent has joined it to the session. */
  join(): Promise<Duplex>;
  /** Lets a connection carry the session's calls. */
  carry(stream: Duplex): void;
  /** Closes a handle in the guest, whether or not it exists. */
  close(handle: Handle): Promise<void>;
  /** Ends the session. */
  end(cause: Error): void;
}

/** The time between a loss and the moment when the session goes on or ends. */
interface Interruption {
  readonly reason: Error;
  /** Resolves when the session goes on. Rejects when the session ends. */
  readonly over: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
  /** Ends the session when the lease ends. */
  readonly timer: NodeJS.Timeout;
}

const FIRST_RETRY_MS = 50;
const LONGEST_RETRY_MS = 1000;

/** Errors that a further attempt would not change. */
const final: ReadonlySet<string> = new Set<ErrorCode>([
  'ERR_SESSION_UNKNOWN',
  'ERR_PROTOCOL_VERSION',
  'ERR_PROTOCOL_UNEXPECTED',
  'ERR_FRAME_MALFORMED',
  'ERR_NO_AGENT',
]);

/**
 * How a session survives the loss of its connection: how long the guest keeps the session's
 * objects, the attempts to connect again, and the handles with an unknown fate.
 */
export class Lease {
  readonly #session: Leaseholder;
  readonly #lengthMs: number;
  #interruption: Interruption | undefined;
  #resuming: Promise<void> | undefined;
  #resumptions = 0;
  /** Handles that a call on a lost connection may have bound, or may have failed to close. */
  #orphans: Handle[] = [];

  /**
   * @param lengthMs how long the guest keeps the session's objects, in milliseconds; 0: not at all
   */
  constructor(session: Leaseholder, lengthMs: number) {
    this.#session = session;
    this.#lengthMs = lengthMs;
  }

  /** How often the session was resumed on another connection. */
  get resumptions(): number {
    return this.#resumptions;
  }

  /**
   * While the connection is lost: resolves when the session goes on, and rejects when the session
   * ends.
   */
  get over(): Promise<void> | undefined {
    return this.#interruption?.over;
  }

  /** The reason why the connection is lost, while it is lost. */
  get reason(): Error | undefined {
    return this.#interruption?.reason;
  }

  /** Handles the loss of the connection. The lease begins to run. */
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

  /**
   * Records a handle that may be bound in the guest although nobody has learned of it. 0 means no
   * handle.
   */
  orphaned(handle: Handle): void {
    if (handle !== 0) this.#orphans.push(handle);
  }

  /** Moves the session to another connection, even if the present one is not lost. */
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

  /** Handles the end of the session. */
  end(reason: Error): void {
    if (this.#interruption === undefined) return;
    clearTimeout(this.#interruption.timer);
    this.#interruption.reject(reason);
    this.#interruption = undefined;
  }

  /** Tries to connect until the session goes on or ends. */
  async #reconnect(): Promise<void> {
    // The new connection may be lost before the handles are closed.
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

  /**
   * Closes the handles with an unknown fate. The agent answers requests in turn, so the earlier
   * calls are over when this resolves.
   */
  async #closeOrphans(): Promise<void> {
    const closing = this.#orphans.splice(0).map((handle) =>
      this.#session.close(handle).catch((error) => {
        if ((error as Partial<WaepError>).code === 'ERR_SESSION_INTERRUPTED') this.orphaned(handle);
      }),
    );
    await Promise.all(closing);
  }
}
