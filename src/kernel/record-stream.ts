import { enums, rows } from '../bpf/index.js';
import type { Codec } from '../codec/index.js';
import { failure, type SystemError } from '../errors.js';
import { type OptionNames, refuseUnknownOptions } from '../known-options.js';
import type {
  BatchCallback,
  EventStream,
  StreamOptions,
  StreamOrigin,
  StreamStatistics,
} from '../session/caller.js';
import { withTimeout } from '../with-timeout.js';
import { readText } from './guest-file.js';
import type { GuestKernel } from './guest-kernel.js';
import { checkOperation } from './map-operations.js';
import type { CodedMap } from './map-options.js';
import { openPerfEvent, type PerfEvent } from './perf-event.js';
import { eachPerfRecord, eachRingRecord, type RecordCallback } from './ring-records.js';

const { MapType } = enums;

/** Options of {@link BpfMap.records}. */
export interface RecordOptions<T> extends Omit<StreamOptions, 'borrow'> {
  /** Decodes the bytes of a record, such as `types.codec('struct event')`. */
  codec?: Codec<T, never>;
  /** Of a perf buffer: pages for data on each CPU, a power of two. Default 64. */
  pages?: number;
  /** Of a perf buffer: after how many records the reader in the guest is woken up. Default 1. */
  wakeupEvents?: number;
}

const optionNames: OptionNames<RecordOptions<unknown>> = {
  codec: true,
  pages: true,
  wakeupEvents: true,
  batchBytes: true,
  batchMicroseconds: true,
  windowBytes: true,
  signal: true,
};

/**
 * Called for each record. Without a codec the record's bytes are overwritten after the callback has
 * returned; keep a copy with `slice()`.
 */
export type RecordConsumer<T> = (record: T) => void;

const PERF_TYPE_SOFTWARE = 1;
const PERF_COUNT_SW_BPF_OUTPUT = 10;
const PERF_SAMPLE_RAW = 1 << 10;
const PERF_FORMAT_LOST = 16;
const DEFAULT_PAGES = 64;
/** How long a guest may take to say what it has lost. */
const GOODBYE_MS = 2000;

type AnyMap = CodedMap<never, never, never, never>;
type Each = (bytes: Uint8Array, each: RecordCallback) => void;

/**
 * The records that programs of the guest write to a map: a ring buffer, or the perf buffers of an
 * array of perf events. Reading begins with the first iteration, or with {@link consume}.
 *
 * @example
 * ```ts
 * const events = map.records({ codec: struct({ pid: u32, comm: text(16) }) });
 * for await (const { pid, comm } of events) console.log(pid, comm, events.statistics.lost);
 * ```
 */
export class RecordStream<T = Uint8Array> implements AsyncIterable<T> {
  readonly #map: AnyMap;
  readonly #codec: Codec<T, never> | undefined;
  readonly #pages: number;
  readonly #wakeupEvents: number;
  readonly #options: StreamOptions;
  readonly #each: Each;
  readonly #outputs: { cpu: number; event: PerfEvent }[] = [];
  #stream: EventStream | undefined;
  #lostByCounters: number | undefined;
  /** Lets the stream go on while a loop has a batch. */
  #letGo = () => {};
  #closing = false;

  /** Use {@link BpfMap.records}. */
  constructor(map: AnyMap, options: RecordOptions<T>) {
    checkOperation(map, 'records');
    refuseUnknownOptions('records()', options, optionNames);
    this.#each = map.spec.type === MapType.BPF_MAP_TYPE_RINGBUF ? eachRingRecord : eachPerfRecord;
    this.#map = map;
    const { codec, pages = DEFAULT_PAGES, wakeupEvents = 1, ...rest } = options;
    this.#codec = codec;
    this.#pages = pages;
    this.#wakeupEvents = wakeupEvents;
    this.#options = rest;
  }

  /** Counts so far. Those of losses are exact once the stream is closed. */
  get statistics(): StreamStatistics {
    const counts = this.#stream?.statistics ?? noStatistics;
    return this.#lostByCounters === undefined
      ? counts
      : { ...counts, lost: Math.max(counts.lost, this.#lostByCounters) };
  }

  /**
   * Starts reading, and calls back for each record: the fastest way. Resolves once the guest reads
   * the map; {@link ended} resolves at the end.
   *
   * @throws ERR_STREAM_LIMIT, the guest's system error
   */
  async consume(callback: RecordConsumer<T>): Promise<void> {
    const deliver = this.#reader(callback);
    await this.#open({ ...this.#options, borrow: true }, (batch) =>
      this.#each(batch.bytes, deliver),
    );
  }

  /** Resolves when the stream has ended; rejects when a codec, or the connection, has failed. */
  get ended(): Promise<void> {
    return this.#stream?.ended ?? Promise.resolve();
  }

  /** Yields the records. Leaving the loop ends the stream. */
  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    let records: T[] = [];
    this.#closing = false;
    let wake = () => {};
    const read = this.#reader((record) => records.push(record));
    await this.#open(this.#options, (batch) => {
      this.#each(batch.bytes, read);
      if (records.length === 0) return;
      wake();
      if (this.#closing) return;
      return new Promise((resolve) => {
        this.#letGo = resolve;
      });
    });
    const stream = this.#stream as EventStream;
    let over = false;
    const finished = stream.ended.finally(() => {
      over = true;
      wake();
    });
    finished.catch(() => {});
    try {
      for (;;) {
        if (records.length === 0) {
          if (over) break;
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
          continue;
        }
        const batch = records;
        records = [];
        yield* batch;
        this.#letGo();
      }
      await finished;
    } finally {
      await this.close();
    }
  }

  /**
   * Ends the stream. What has been read in the guest by then is delivered. May be called again, and
   * within a loop over the records, which then ends after these.
   */
  async close(): Promise<void> {
    // A loop that waits for this must not be waited for.
    this.#closing = true;
    this.#letGo();
    await this.#stream?.close();
    await withTimeout(this.#closeOutputs(), GOODBYE_MS);
  }

  async #closeOutputs(): Promise<void> {
    // Only the counters show records that were lost after the last delivered one.
    const outputs = this.#outputs.splice(0);
    const counters = await Promise.all(outputs.map(({ event }) => event.read().catch(() => [])));
    if (counters.length > 0 && counters.every(({ length }) => length > 1)) {
      this.#lostByCounters = counters.reduce((sum, [, lost]) => sum + Number(lost), 0);
    }
    await Promise.all(outputs.map(({ event }) => event.close()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #open(options: StreamOptions, callback: BatchCallback): Promise<void> {
    const { session } = this.#map;
    try {
      this.#stream = await session.subscribe(await this.#origin(), options, callback);
      // Programs find the events once their buffers are mapped.
      for (const { cpu, event } of this.#outputs) {
        const values = { map_fd: this.#map, key: word(cpu), value: word(event.handle) };
        await session.bpf(rows.MAP_UPDATE_ELEM, values);
      }
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  #reader(callback: RecordConsumer<T>): RecordCallback {
    const codec = this.#codec;
    if (codec === undefined) return callback as RecordConsumer<unknown> as RecordCallback;
    return (record) => {
      if (record.length < codec.sizeBytes) {
        throw failure('ERR_CODEC_VALUE', {
          where: `a record of ${this.#map}`,
          value: `${record.length} bytes`,
          expected: `the ${codec.sizeBytes} bytes of a ${codec.name}`,
        });
      }
      // Of the whole memory, so that no codec takes its part for its own.
      callback(codec.read(new DataView(record.buffer), record.byteOffset));
    };
  }

  async #origin(): Promise<StreamOrigin> {
    const { handle, spec, session } = this.#map;
    if (spec.type === MapType.BPF_MAP_TYPE_RINGBUF) {
      return { source: 'ring', map: handle, sizeBytes: spec.maxEntries };
    }
    for (const cpu of await onlineCpus(session)) {
      if (cpu >= spec.maxEntries) continue;
      this.#outputs.push({ cpu, event: await this.#openOutput(cpu) });
    }
    const events = this.#outputs.map(({ event }) => event.handle);
    return { source: 'perf', events, pages: this.#pages };
  }

  #openOutput(cpu: number): Promise<PerfEvent> {
    const { session } = this.#map;
    const options = {
      type: PERF_TYPE_SOFTWARE,
      config: PERF_COUNT_SW_BPF_OUTPUT,
      sampleType: PERF_SAMPLE_RAW,
      samplePeriod: 1,
      wakeupEvents: this.#wakeupEvents,
      cpu,
      name: `bpf output on CPU ${cpu}`,
    };
    return openPerfEvent(session, { ...options, readFormat: PERF_FORMAT_LOST }).catch(
      (error: SystemError) => {
        // Before 6.0 there is no count of what was lost.
        if (error.code !== 'EINVAL') throw error;
        return openPerfEvent(session, options);
      },
    );
  }
}

const noStatistics: StreamStatistics = {
  delivered: 0,
  bytes: 0,
  batches: 0,
  lost: 0,
  dropped: 0,
  lostInTransit: 0,
  lagBytes: 0,
  resumed: 0,
};

function word(value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(value).buffer);
}

async function onlineCpus(session: GuestKernel): Promise<number[]> {
  const list = await readText(session, '/sys/devices/system/cpu/online');
  return list
    .trim()
    .split(',')
    .flatMap((range) => {
      const [first = 0, last = first] = range.split('-').map(Number);
      return Array.from({ length: last - first + 1 }, (_, at) => first + at);
    });
}
