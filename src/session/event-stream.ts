import type { Handle, Reply } from '../call.js';
import { failure, systemError, type WaepError } from '../errors.js';
import { type Events, FrameType, StreamSource } from '../frame/index.js';
import type { OptionNames } from '../known-options.js';
import { withTimeout } from '../with-timeout.js';
import type { EventConnection } from './event-connection.js';

/** Options of a stream. */
export interface StreamOptions {
  /** The maximum size of a batch in bytes. Default 63 KiB; the guest caps it at 1 MiB. */
  batchBytes?: number;
  /**
   * The minimum time between a batch and the next one if that is not half full, in microseconds.
   * The first record after a pause is sent at once. The wait is shorter if the buffer could fill
   * meanwhile at one byte per nanosecond. Default 1000.
   */
  batchMicroseconds?: number;
  /**
   * How many bytes may be under way or wait for the consumer. This is all the memory that a stream
   * takes on this side. When the window is used up, the guest stops reading, and the kernel's
   * buffer fills. Default 1 MiB; the guest caps it at 64 MiB.
   */
  windowBytes?: number;
  /**
   * Whether the callback only borrows the bytes. They are overwritten once the callback has
   * returned or its promise has settled, so the callback copies the bytes that it keeps. This saves
   * a copy of all bytes. Default `false`.
   */
  borrow?: boolean;
  /** Ends the stream. */
  signal?: AbortSignal;
}

export const streamNames: OptionNames<StreamOptions> = {
  ...{ batchBytes: true, batchMicroseconds: true, windowBytes: true, borrow: true, signal: true },
};

/** The source of a stream. */
export type StreamOrigin =
  /** A BPF_MAP_TYPE_RINGBUF and its `max_entries`. */
  | { readonly source: 'ring'; readonly map: Handle; readonly sizeBytes: number }
  /** The buffers of perf events, each with `pages` pages of data, a power of two. */
  | { readonly source: 'perf'; readonly events: readonly Handle[]; readonly pages: number }
  /** A file or an iterator. */
  | { readonly source: 'file'; readonly file: Handle };

/**
 * A stretch of whole records of one part of a stream, with the layout of the kernel's buffer.
 * {@link eachRingRecord} and {@link eachPerfRecord} split it into records. For a file, the bytes
 * are the contents. The bytes are empty if the batch only reports further dropped records.
 */
export interface EventBatch extends Events {
  /** The time of arrival here: `performance.now()`. */
  receivedMs: number;
}

/**
 * Called for each batch, one after the other. The bytes belong to the callback, unless the callback
 * borrows them. They count against the window until the callback returns or its promise settles.
 */
export type BatchCallback = (batch: EventBatch) => void | Promise<void>;

/** Counters of a stream, since it was opened. */
export interface StreamStatistics {
  /** Records delivered to the consumer. */
  delivered: number;
  /** Bytes delivered, including the bytes between records. */
  bytes: number;
  /** Frames that brought them. */
  batches: number;
  /**
   * Records for which the kernel had no room, as far as the kernel has reported: the LOST records
   * of perf buffers. For a ring buffer the kernel counts nothing. The program learns of a loss from
   * the result of bpf_ringbuf_reserve().
   */
  lost: number;
  /** Records dropped because the guest's policy limits their rate. */
  dropped: number;
  /** Records that were under way when a connection was lost. */
  lostInTransit: number;
  /** Bytes in the kernel's buffers, as of the last message from the guest. */
  lagBytes: number;
  /** How often the stream has gone on over a new connection. */
  resumed: number;
}

// With its counters, a batch of this size fits the 64 KiB receive buffer of a channel. Larger
// batches cost more.
const DEFAULT_BATCH_BYTES = 63 * 1024;
const DEFAULT_BATCH_US = 1000;
const CREDIT_MS = 5;
/** The time limit for the guest to report how a stream has ended. */
const GOODBYE_MS = 2000;
const DEFAULT_WINDOW_BYTES = 1024 * 1024;

interface Part {
  /** The number of records that were sent up to the last batch. */
  sequence: number;
  lost: number;
  dropped: number;
  lag: number;
}

/** A subscription to events of the guest. It ends with {@link close}, or when its source ends. */
export class EventStream {
  /** Resolves when the stream has ended. Rejects when something went wrong. */
  readonly ended: Promise<void>;
  readonly #id: number;
  readonly #origin: StreamOrigin;
  readonly #options: Required<Omit<StreamOptions, 'signal'>>;
  readonly #callback: BatchCallback;
  readonly #onEnd: () => void;
  readonly #parts: Part[] = [];
  readonly #counts = { delivered: 0, bytes: 0, batches: 0, lostInTransit: 0, resumed: 0 };
  #connection: EventConnection | undefined;
  /**
   * Whether the stream began with the counters of an earlier one. Undefined until the stream has
   * begun.
   */
  #inherits: boolean | undefined;
  #credit = 0;
  /** The bytes that came over this connection and that no credit was sent for. */
  #outstandingBytes = 0;
  /**
   * By part, a batch without bytes that waits for the callback. It takes in those that come behind
   * it, so that they take no memory.
   */
  readonly #reports = new Map<number, EventBatch>();
  #timer: NodeJS.Timeout | undefined;
  #settled = false;
  #resolve: () => void = () => {};
  #reject: (error: Error) => void = () => {};
  #running: Promise<void> | undefined;

  /** Use {@link Session.subscribe}. */
  constructor(
    id: number,
    origin: StreamOrigin,
    options: StreamOptions,
    callback: BatchCallback,
    onEnd: () => void,
  ) {
    this.#onEnd = onEnd;
    this.#id = id;
    this.#origin = origin;
    this.#callback = callback;
    this.#options = {
      batchBytes: options.batchBytes ?? DEFAULT_BATCH_BYTES,
      batchMicroseconds: options.batchMicroseconds ?? DEFAULT_BATCH_US,
      windowBytes: options.windowBytes ?? DEFAULT_WINDOW_BYTES,
      borrow: options.borrow ?? false,
    };
    this.ended = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // A caller that ignores `ended` must not get an unhandled rejection.
    this.ended.catch(() => {});
  }

  /** The counters of this stream. */
  get statistics(): StreamStatistics {
    const sum = (key: keyof Part) => this.#parts.reduce((total, part) => total + part[key], 0);
    return {
      ...this.#counts,
      lost: sum('lost'),
      dropped: sum('dropped'),
      lagBytes: sum('lag'),
    };
  }

  /** Subscribes over a connection: the first one, or the next one after a loss. */
  async open(connection: EventConnection): Promise<void> {
    if (this.#settled) return;
    this.#connection = connection;
    this.#credit = 0;
    this.#outstandingBytes = 0;
    connection.deliver(this.#id, (events, lent) => this.#receive(events, lent));
    const { batchBytes, batchMicroseconds, windowBytes } = this.#options;
    const body = [
      this.#id,
      ...origins[this.#origin.source](this.#origin as never),
      batchBytes,
      batchMicroseconds,
      windowBytes,
    ];
    const inherit = ({ result }: Reply) => {
      if (result >= 0) this.#inherits ??= result > 0;
    };
    try {
      check(await connection.request(FrameType.SUBSCRIBE, body, undefined, inherit), 'SUBSCRIBE');
    } catch (error) {
      this.#connection = undefined;
      // A late guest may still execute it.
      if ((error as Partial<WaepError>).code === 'ERR_CALL_TIMEOUT') this.#unsubscribe(connection);
      throw error;
    }
  }

  /** Continues over another connection, unless it is the one that the stream has. */
  async resume(connection: EventConnection): Promise<void> {
    if (this.#connection === connection) return;
    await this.open(connection);
    this.#counts.resumed++;
  }

  /**
   * Ends the stream. Resolves when the last callback has returned and the counters are final.
   * Records that the guest has read by then are delivered. A silent guest, such as a paused one,
   * gets two seconds. After that, the counters are the last ones that it sent. May be called again.
   * A callback must not wait for it, because it waits for the callback.
   */
  async close(): Promise<void> {
    const connection = this.#connection;
    if (!this.#settled && connection !== undefined && !connection.closed) {
      const unsubscribed = connection.request(FrameType.UNSUBSCRIBE, [this.#id]);
      await withTimeout(unsubscribed, GOODBYE_MS).catch(() => {});
    }
    await this.#running;
    this.fail(undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Ends the stream on this side, with or without a reason. */
  fail(reason: Error | undefined): void {
    if (this.#settled) return;
    this.#settled = true;
    clearTimeout(this.#timer);
    this.#connection?.deliver(this.#id, undefined);
    this.#onEnd();
    if (reason === undefined) this.#resolve();
    else this.#reject(reason);
  }

  #receive(events: Events, lent: boolean): void {
    const parts = this.#origin.source === 'perf' ? this.#origin.events.length : 1;
    if (events.part >= parts) {
      const received = `EVENTS of part ${events.part}`;
      this.#abandon(failure('ERR_PROTOCOL_UNEXPECTED', { received, expected: `one of ${parts}` }));
      return;
    }
    const sizeBytes = events.bytes.length;
    const { windowBytes } = this.#options;
    if (this.#outstandingBytes > 0 && this.#outstandingBytes + sizeBytes > windowBytes) {
      const received = `EVENTS of ${sizeBytes} bytes after ${this.#outstandingBytes} without credit`;
      const expected = `at most the window of ${windowBytes} bytes together`;
      this.#abandon(failure('ERR_PROTOCOL_UNEXPECTED', { received, expected }));
      return;
    }
    this.#outstandingBytes += sizeBytes;
    const part = this.#part(events);
    const isNews = events.bytes.length > 0 || events.dropped > part.dropped;
    part.lost = events.lost;
    part.dropped = events.dropped;
    part.lag = events.written - events.position - events.bytes.length;
    // Records that were sent and did not arrive were lost with an earlier connection.
    const missing = events.sequence - part.sequence;
    if (missing > 0) this.#counts.lostInTransit += missing;
    part.sequence = events.sequence + events.records;
    if (isNews) this.#deliver(events, lent);
    if (events.end !== 0) this.#finish(events.end - 1);
  }

  #deliver(events: Events, lent: boolean): void {
    const now = this.#options.borrow && this.#running === undefined;
    if (lent && !now) events.bytes = events.bytes.slice();
    const batch: EventBatch = Object.assign(events, { receivedMs: performance.now() });
    const run = () => {
      this.#counts.delivered += batch.records;
      this.#counts.bytes += batch.bytes.length;
      this.#counts.batches++;
      return this.#callback(batch);
    };
    const size = batch.bytes.length;
    const waiting = this.#running;
    if (waiting === undefined) {
      let result: void | Promise<void>;
      try {
        result = run();
      } catch (error) {
        this.#abandon(error as Error);
        return;
      }
      if (result === undefined) {
        this.#grant(size);
        return;
      }
      this.#chain(result, size);
      return;
    }
    if (size === 0) {
      const report = this.#reports.get(batch.part);
      if (report !== undefined) {
        Object.assign(report, batch);
        return;
      }
      this.#reports.set(batch.part, batch);
    }
    this.#chain(
      waiting.then(() => {
        if (size === 0) this.#reports.delete(batch.part);
        if (!this.#settled) return run();
      }),
      size,
    );
  }

  #chain(work: Promise<void>, size: number): void {
    const running = work
      .then(
        () => this.#grant(size),
        (error: Error) => this.#abandon(error),
      )
      .finally(() => {
        if (this.#running === running) this.#running = undefined;
      });
    this.#running = running;
  }

  #abandon(error: Error): void {
    this.#unsubscribe(this.#connection);
    this.fail(error);
  }

  #unsubscribe(connection: EventConnection | undefined): void {
    connection?.request(FrameType.UNSUBSCRIBE, [this.#id]).catch(() => {});
  }

  /**
   * Returns credit to the guest: a quarter of the window at a time, or after a pause all that there
   * is.
   */
  #grant(size: number): void {
    this.#credit += size;
    if (this.#credit >= this.#options.windowBytes / 4) this.#sendCredit();
    // A record that is larger than the remaining window waits for the whole window.
    else this.#timer ??= setTimeout(() => this.#sendCredit(), CREDIT_MS).unref();
  }

  #sendCredit(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#settled || this.#credit === 0) return;
    this.#connection?.notify(FrameType.CREDIT, [this.#id, this.#credit]);
    this.#outstandingBytes = Math.max(0, this.#outstandingBytes - this.#credit);
    this.#credit = 0;
  }

  #finish(errno: number): void {
    const end = () =>
      this.fail(errno === 0 ? undefined : systemError('read', errno, { side: 'guest' }));
    this.#unsubscribe(this.#connection);
    if (this.#running === undefined) end();
    else void this.#running.then(end);
  }

  #part({ part, sequence }: Events): Part {
    const known = this.#parts[part];
    if (known !== undefined) return known;
    // Records that were sent before the first batch here are lost, unless they went to an earlier
    // stream.
    const added = {
      sequence: this.#inherits === false ? 0 : sequence,
      lost: 0,
      dropped: 0,
      lag: 0,
    };
    this.#parts[part] = added;
    return added;
  }
}

/** The items of a SUBSCRIBE that describe the source: its kind, its handles, its size. */
const origins: {
  [S in StreamOrigin['source']]: (origin: Extract<StreamOrigin, { source: S }>) => unknown[];
} = {
  ring: ({ map, sizeBytes }) => [StreamSource.RING, [map], sizeBytes],
  perf: ({ events, pages }) => [StreamSource.PERF, events, pages],
  file: ({ file }) => [StreamSource.FILE, [file], 0],
};

/** Returns a reply, or throws its error if the guest's kernel refused the request. */
export function check(reply: Reply, what: string): Reply {
  if (reply.result >= 0) return reply;
  throw systemError('mmap', reply.errno, { side: 'guest', object: what });
}
