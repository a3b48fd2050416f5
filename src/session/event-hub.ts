import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { EventConnection } from './event-connection.js';
import {
  type BatchCallback,
  EventStream,
  type StreamOptions,
  type StreamOrigin,
} from './event-stream.js';

/** The delays before the attempts to make a lost connection again, in milliseconds. */
const FIRST_RETRY_MS = 100;
const LONGEST_RETRY_MS = 3200;
/** How long attempts are made at least, whatever the session's lease. */
const LEAST_PATIENCE_MS = 6000;
/** Refusals of a subscription that a later attempt may not get, because others have the room now. */
const passing: ReadonlySet<string> = new Set(['ERR_STREAM_LIMIT', 'EBUSY', 'ENOMEM', 'EAGAIN']);

type Refusal = Error & { code?: string };

/**
 * The streams of a session and the connection that they share. The first stream makes the
 * connection. When the connection is lost, it is made again, and the streams go on where they were.
 */
export class EventHub {
  readonly #join: () => Promise<Duplex>;
  readonly #address: string;
  readonly #timeoutMs: number;
  readonly #patienceMs: number;
  readonly #streams = new Map<number, EventStream>();
  #connection: Promise<EventConnection> | undefined;
  #reconnecting = false;
  #nextId = 1;
  #closed: Error | undefined;

  /**
   * @param timeoutMs the time limit of a request about a stream
   * @param leaseMs how long the session itself survives the loss of a connection
   * @param join makes a connection that has joined the session for events
   */
  constructor(address: string, timeoutMs: number, leaseMs: number, join: () => Promise<Duplex>) {
    this.#address = address;
    this.#timeoutMs = timeoutMs;
    this.#patienceMs = Math.max(LEAST_PATIENCE_MS, leaseMs);
    this.#join = join;
  }

  /** How many streams and writers there have been. */
  get subscribed(): number {
    return this.#nextId - 1;
  }

  /** See {@link Session.subscribe}. */
  async subscribe(
    origin: StreamOrigin,
    options: StreamOptions,
    callback: BatchCallback,
  ): Promise<EventStream> {
    options.signal?.throwIfAborted();
    const connection = await this.connection();
    const id = this.#nextId++;
    const stream = new EventStream(id, origin, options, callback, () => this.#forget(id));
    this.#streams.set(id, stream);
    connection.hold(true);
    try {
      await stream.open(connection);
    } catch (error) {
      stream.fail(error as Error);
      throw error;
    }
    const { signal } = options;
    if (signal !== undefined) {
      const close = () => void stream.close();
      // A signal may live longer than many streams.
      const forget = () => signal.removeEventListener('abort', close);
      signal.addEventListener('abort', close);
      stream.ended.then(forget, forget);
      if (signal.aborted) await stream.close();
    }
    return stream;
  }

  /** Returns the connection, and makes it if there is none. */
  connection(): Promise<EventConnection> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    this.#connection ??= this.#connect().catch((error: unknown) => {
      this.#connection = undefined;
      throw error;
    });
    return this.#connection;
  }

  /** Returns a number for something other than a stream of events. */
  newId(): number {
    return this.#nextId++;
  }

  #forget(id: number): void {
    this.#streams.delete(id);
    if (this.#streams.size === 0) {
      this.#connection?.then((connection) => connection.hold(false)).catch(() => {});
    }
  }

  /** Ends every stream with a reason. */
  close(reason: Error): void {
    this.#closed = reason;
    this.#connection?.then((connection) => connection.close()).catch(() => {});
    for (const stream of this.#streams.values()) stream.fail(reason);
  }

  async #connect(): Promise<EventConnection> {
    const stream = await this.#join();
    const connection = new EventConnection(stream, this.#address, this.#timeoutMs, (reason) => {
      this.#connection = undefined;
      void this.#reconnect(reason);
    });
    if (this.#closed !== undefined) {
      connection.close();
      throw this.#closed;
    }
    connection.hold(this.#streams.size > 0);
    return connection;
  }

  /** Lets the streams go on over another connection. Another loss meanwhile is part of it. */
  async #reconnect(reason: Error): Promise<void> {
    if (this.#reconnecting) return;
    this.#reconnecting = true;
    const untilMs = performance.now() + this.#patienceMs;
    let waitMs = 0;
    for (;;) {
      await sleep(waitMs);
      const failed = await this.#resume();
      if (failed.size === 0) break;
      const isLate = performance.now() > untilMs;
      for (const [stream, refusal] of failed) {
        const isFinal = refusal !== undefined && !passing.has(refusal.code ?? '');
        if (isLate || isFinal) stream.fail(refusal ?? reason);
      }
      if (isLate) break;
      waitMs = Math.min(Math.max(2 * waitMs, FIRST_RETRY_MS), LONGEST_RETRY_MS);
    }
    this.#reconnecting = false;
  }

  /**
   * Resumes each stream that lacks a connection. Returns the streams that do not go on, with the
   * guest's refusals.
   */
  async #resume(): Promise<Map<EventStream, Refusal | undefined>> {
    const failed = new Map<EventStream, Refusal | undefined>();
    const streams = [...this.#streams.values()];
    let connection: EventConnection;
    try {
      connection = await this.connection();
    } catch {
      for (const stream of streams) failed.set(stream, undefined);
      return failed;
    }
    const resumed = streams.map((stream) =>
      stream.resume(connection).catch((error: Refusal) => {
        failed.set(stream, connection.closed ? undefined : error);
      }),
    );
    await Promise.all(resumed);
    return failed;
  }
}
