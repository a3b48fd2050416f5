import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { WaepError } from '../errors.js';
import { EventConnection } from './event-connection.js';
import {
  type BatchCallback,
  EventStream,
  type StreamOptions,
  type StreamOrigin,
} from './event-stream.js';

/** The delays before the attempts to make a lost connection again, in milliseconds. */
const RETRY_MS = [0, 100, 400, 1600, 3200];

/**
 * The streams of a session and the connection that they share. The first stream makes the
 * connection. When the connection is lost, it is made again, and the streams go on where they were.
 */
export class EventHub {
  readonly #join: () => Promise<Duplex>;
  readonly #address: string;
  readonly #timeoutMs: number;
  readonly #streams = new Map<number, EventStream>();
  #connection: Promise<EventConnection> | undefined;
  #nextId = 1;
  #closed: Error | undefined;

  /**
   * @param timeoutMs the time limit of a request about a stream
   * @param join makes a connection that has joined the session for events
   */
  constructor(address: string, timeoutMs: number, join: () => Promise<Duplex>) {
    this.#address = address;
    this.#timeoutMs = timeoutMs;
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
      // A late guest may still execute the subscription, so the stream is closed.
      if ((error as Partial<WaepError>).code === 'ERR_CALL_TIMEOUT') void stream.close();
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
      if (this.#streams.size > 0) void this.#reconnect(reason);
    });
    if (this.#closed !== undefined) {
      connection.close();
      throw this.#closed;
    }
    connection.hold(this.#streams.size > 0);
    return connection;
  }

  async #reconnect(reason: Error): Promise<void> {
    for (const waitMs of RETRY_MS) {
      await sleep(waitMs);
      if (this.#closed !== undefined) return;
      try {
        const connection = await this.connection();
        await Promise.all([...this.#streams.values()].map((stream) => stream.resume(connection)));
        return;
      } catch {
        // The next attempt follows, or the loop ends with the first reason.
      }
    }
    for (const stream of this.#streams.values()) stream.fail(reason);
  }
}
