/*
 * The ring buffers and perf buffers that the program has mapped. They receive the records of the
 * guest's buffers.
 */
import { constants } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { enums, type MapSpec } from '../bpf/index.js';
import { type Handle, Relocation } from '../call.js';
import { viewOf } from '../codec/index.js';
import { failure, systemError } from '../errors.js';
import { native } from '../native.js';
import type { EventBatch, EventStream, StreamOrigin } from '../session/index.js';
import type { Session } from '../session.js';
import { type EventMemory, lostRecord, PerfMemory, RingbufMemory } from './event-memory.js';
import type { Notification } from './notification.js';
import type { Placeholders } from './placeholders.js';

const PAGE_BYTES = 4096;
const MAX_BYTES = 256 * 1024 * 1024;
const PROT_WRITE = 2;
/** How long to wait before looking again at a full buffer. */
const FULL_MS = 2;
/** How often a reader is woken again while it has unread records. */
const REPEAT_MS = 20;
const { errno } = constants;

interface Mapped {
  readonly buffer: EventMemory;
  readonly stream: Promise<EventStream>;
}

/**
 * Event buffers on both sides. The agent empties the kernel's buffer in the guest. Its records fill
 * memory that the program has mapped in place of that buffer. While this memory is full, the agent
 * gets no credit, so the kernel's buffer fills, and programs in the guest see a slow reader.
 *
 * epoll is edge-triggered (EPOLLET): the program is woken for each batch. If the program waits by
 * level, it is woken again every 20 ms while records are left. Each poll(2) checks what is left.
 */
export class MappedEvents {
  readonly #session: Session;
  readonly #placeholders: Placeholders;
  readonly #onDropped: (records: number) => void;
  readonly #mapped = new Map<Handle, Mapped>();
  readonly #events = new Map<Handle, number>();
  /** The perf event into whose buffer the records of another perf event go. */
  readonly #outputs = new Map<Handle, Handle>();
  /** The objects that the program waits for by level. */
  readonly #levels = new Set<Handle>();
  #repeating: NodeJS.Timeout | undefined;
  #dropped = 0;
  #closed = false;
  #over = false;

  /**
   * @param onDropped called once, with the number of dropped records, when the agent first drops
   *   some
   */
  constructor(
    session: Session,
    placeholders: Placeholders,
    onDropped: (records: number) => void = () => {},
  ) {
    this.#session = session;
    this.#placeholders = placeholders;
    this.#onDropped = onDropped;
  }

  /**
   * The number of records that the agent has dropped because the guest's policy limits the rate.
   */
  get droppedRecords(): number {
    return this.#dropped;
  }

  /** Answers mmap(2) of a BPF_MAP_TYPE_RINGBUF: ringbuf_map_mmap_kern() in kernel/bpf/ringbuf.c. */
  async mapRing(call: Notification, handle: Handle, { maxEntries }: MapSpec): Promise<void> {
    const [lengthBytes, offset] = [Number(call.word(1)), Number(call.word(5))];
    const writable = (call.argument(2) & PROT_WRITE) !== 0;
    // The kernel writes its own counter and the data. The program may write only to the page with
    // the reader's counter.
    if (writable && (offset !== 0 || lengthBytes !== PAGE_BYTES)) return call.fail(errno.EPERM);
    if (offset + lengthBytes > 2 * PAGE_BYTES + 2 * maxEntries) return call.fail(errno.EINVAL);
    await this.#map(call, handle, () => this.#ring(handle, maxEntries));
  }

  /** Begins to receive the events of a ring buffer that the program waits for before it maps it. */
  async beginRing(handle: Handle, { maxEntries }: MapSpec): Promise<void> {
    await (this.#mapped.get(handle) ?? this.#ring(handle, maxEntries)).stream;
  }

  /**
   * Answers mmap(2) of a perf event: perf_mmap() in kernel/events/core.c.
   *
   * @param sampleIdBytes the length of the `struct sample_id` at the end of the kernel's own
   *   records
   */
  async mapPerf(call: Notification, handle: Handle, sampleIdBytes: number): Promise<void> {
    const pages = Number(call.word(1)) / PAGE_BYTES - 1;
    const known = this.#mapped.get(handle)?.buffer;
    const wrong = !Number.isInteger(pages) || pages < 1 || (pages & (pages - 1)) !== 0;
    const other = known instanceof PerfMemory && known.pages !== pages;
    if (wrong || other || call.word(5) !== 0n) return call.fail(errno.EINVAL);
    if ((call.argument(2) & PROT_WRITE) === 0) {
      throw failure('ERR_RUN_REFUSED', {
        call: 'mmap(2) of a perf event without PROT_WRITE',
        why: 'the kernel overwrites such a buffer, and what is overwritten cannot be copied in time',
        instead: 'Map it to be written to, and read it as it fills.',
      });
    }
    const origin = { source: 'perf', events: [handle], pages } as const;
    let id: Promise<bigint> | undefined;
    const lost = async (records: number) => {
      id ??= this.#perfIdOf(handle);
      return lostRecord(await id, records, sampleIdBytes);
    };
    await this.#map(call, handle, () => this.#begin(handle, origin, new PerfMemory(pages), lost));
  }

  /** Returns whether an object has a buffer here. */
  isMapped(handle: Handle): boolean {
    return this.#mapped.has(handle);
  }

  /** Notes that the records of a perf event go to the buffer of another one; 0 ends this. */
  redirect(handle: Handle, output: Handle): void {
    if (output === 0) this.#outputs.delete(handle);
    else this.#outputs.set(handle, output);
  }

  /** Returns whether the records of a perf event go to the buffer of another. */
  isRedirected(handle: Handle): boolean {
    return this.#outputs.has(handle);
  }

  /**
   * Wakes the program every {@link REPEAT_MS} while it has unread records, like level-triggered
   * waiting.
   */
  repeat(handle: Handle): void {
    this.#levels.add(handle);
    this.#again();
  }

  /** Returns the eventfd that stands for an object when the program waits for the object. */
  eventOf(handle: Handle): number {
    const known = this.#events.get(handle);
    if (known !== undefined) return known;
    const event = native.makeEvent();
    if (event < 0) throw systemError('eventfd', event);
    this.#placeholders.add(handle, event);
    this.#events.set(handle, event);
    return event;
  }

  /**
   * Makes the eventfd of a buffer readable exactly if the program has unread records or no more will
   * come, and returns the eventfd. Returns undefined for an object without a buffer.
   */
  settle(handle: Handle): number | undefined {
    const buffer = this.#bufferOf(handle);
    if (buffer === undefined && !this.isRedirected(handle)) return undefined;
    const event = this.eventOf(handle);
    if (buffer === undefined) return event;
    native.setEvent(event, this.#over || buffer.writtenBytes !== buffer.readBytes);
    return event;
  }

  /** Wakes programs that wait for an object to be writable. */
  pulse(handle: Handle): void {
    const event = this.#events.get(handle);
    if (event === undefined) return;
    // An eventfd wakes its writers only when somebody reads from it.
    native.setEvent(event, true);
    native.setEvent(event, false);
  }

  /**
   * Wakes every thread that waits for an object, because no more events will come. Later waits end
   * at once.
   */
  wakeAll(): void {
    this.#over = true;
    for (const handle of this.#events.keys()) this.#wake(handle);
  }

  /** Ends all streams. Resolves once the agent has reported how many records it has dropped. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#repeating);
    for (const event of this.#events.values()) native.close(event);
    this.#events.clear();
    const streams = [...this.#mapped.values()].map(({ buffer, stream }) => {
      buffer.close();
      return stream.then((open) => open.close());
    });
    this.#mapped.clear();
    await Promise.allSettled(streams);
  }

  async #map(call: Notification, handle: Handle, begin: () => Mapped): Promise<void> {
    const bytes = Number(call.word(1));
    if (bytes > MAX_BYTES) {
      throw failure('ERR_RUN_REFUSED', {
        call: `mmap(2) of a buffer of ${bytes} bytes`,
        why: `no more than ${MAX_BYTES} are copied`,
        instead: 'Use a smaller buffer.',
      });
    }
    const mapped = this.#mapped.get(handle) ?? begin();
    // An error of the guest's kernel, such as EBUSY, becomes the error of the program's call.
    await mapped.stream;
    call.mapMemory(mapped.buffer.memory.fd);
  }

  #ring(handle: Handle, sizeBytes: number): Mapped {
    const origin = { source: 'ring', map: handle, sizeBytes } as const;
    return this.#begin(handle, origin, new RingbufMemory(sizeBytes));
  }

  /**
   * @param lost returns a record that reports lost records to the reader; absent if the buffer has
   *   no such record
   */
  #begin(
    handle: Handle,
    origin: StreamOrigin,
    buffer: EventMemory,
    lost?: (records: number) => Promise<Uint8Array>,
  ): Mapped {
    this.eventOf(handle);
    const forget = this.#placeholders.add(handle, buffer.memory.fd);
    // A whole batch must fit into the program's buffer.
    const batchBytes = Math.min(63 * 1024, buffer.capacityBytes / 2);
    const windowBytes = Math.max(64 * 1024, 4 * batchBytes);
    const options = { batchBytes, windowBytes, borrow: true };
    const put = (bytes: Uint8Array) => {
      if (bytes.length > buffer.roomBytes) return this.#whenRoom(handle, buffer, bytes.slice());
      if (bytes.length > 0) this.#deliver(handle, buffer, bytes);
      return undefined;
    };
    let droppedBefore = 0;
    const take = ({ bytes, dropped }: EventBatch) => {
      const records = dropped - droppedBefore;
      if (records === 0) return put(bytes);
      droppedBefore = dropped;
      this.#drop(records);
      if (this.#closed || lost === undefined) return put(bytes);
      const after = bytes.slice();
      return lost(records)
        .then(put)
        .then(() => put(after));
    };
    const stream = this.#session.subscribe(origin, options, take);
    const mapped = { buffer, stream };
    this.#mapped.set(handle, mapped);
    stream.catch(() => {
      if (!this.#mapped.delete(handle)) return;
      forget();
      buffer.close();
    });
    return mapped;
  }

  #drop(records: number): void {
    const isFirst = this.#dropped === 0;
    this.#dropped += records;
    if (isFirst) this.#onDropped(records);
  }

  /**
   * Returns the id of a perf event in the kernel's own records, or 0 if the guest does not report
   * the id.
   */
  async #perfIdOf(handle: Handle): Promise<bigint> {
    const buffers = [new Uint8Array(8), 8];
    const relocations = [0, 0, Relocation.POINTER, 1];
    const request = enums.PerfIoctl.PERF_EVENT_IOC_ID;
    const asked = this.#session.ioctl({ handle, request, buffers, relocations });
    const { result, outputs } = await asked.catch(() => ({ result: -1, outputs: [] }));
    const id = outputs[0];
    return result < 0 || id === undefined ? 0n : viewOf(id).getBigUint64(0, true);
  }

  async #whenRoom(handle: Handle, buffer: EventMemory, bytes: Uint8Array): Promise<void> {
    while (!this.#closed && bytes.length > buffer.roomBytes) await sleep(FULL_MS);
    if (!this.#closed) this.#deliver(handle, buffer, bytes);
  }

  #deliver(handle: Handle, buffer: EventMemory, bytes: Uint8Array): void {
    buffer.write(bytes);
    this.#wake(handle);
    for (const [event, output] of this.#outputs) if (output === handle) this.#wake(event);
    if (this.#levels.size > 0) this.#again();
  }

  #wake(handle: Handle): void {
    const event = this.#events.get(handle);
    if (event !== undefined) native.setEvent(event, true);
  }

  #bufferOf(handle: Handle): EventMemory | undefined {
    return this.#mapped.get(this.#outputs.get(handle) ?? handle)?.buffer;
  }

  #again(): void {
    if (this.#closed) return;
    this.#repeating ??= setTimeout(() => {
      this.#repeating = undefined;
      const unread = [...this.#levels].filter((handle) => {
        const buffer = this.#bufferOf(handle);
        return buffer !== undefined && buffer.writtenBytes !== buffer.readBytes;
      });
      for (const handle of unread) this.#wake(handle);
      if (unread.length > 0) this.#again();
    }, REPEAT_MS).unref();
  }
}
