/* Memory that a program maps in place of the kernel's event buffers. It has the same layout. */
import { systemError } from '../errors.js';
import { native, type SharedMemory } from '../native.js';

const PAGE_BYTES = 4096;

/**
 * A buffer with the kernel's layout. This process writes records, and the program reads them.
 *
 * Each side has a counter of bytes since the beginning: the bytes that are written, and the bytes
 * that are read. A record exists for the reader once the writer's counter includes it.
 */
abstract class EventMemory {
  /** The memory that the program maps. */
  readonly memory: SharedMemory;
  /** The bytes of records that the buffer holds, a power of two. */
  readonly capacityBytes: number;
  readonly #words: BigUint64Array;
  readonly #writtenAt: number;
  readonly #readAt: number;

  /**
   * @param writtenAt the byte offset of the count of written bytes
   * @param readAt the byte offset of the count of read bytes
   */
  protected constructor(
    totalBytes: number,
    capacityBytes: number,
    writtenAt: number,
    readAt: number,
  ) {
    const memory = native.shareMemory(totalBytes);
    if (typeof memory === 'number') throw systemError('memfd_create', memory);
    this.memory = memory;
    this.capacityBytes = capacityBytes;
    this.#words = new BigUint64Array(memory.buffer, 0, totalBytes / 8);
    this.#writtenAt = writtenAt / 8;
    this.#readAt = readAt / 8;
  }

  /**
   * The bytes that the program has read. The program may write anything there, so the value is used
   * only as a number.
   */
  get readBytes(): bigint {
    return Atomics.load(this.#words, this.#readAt);
  }

  get writtenBytes(): bigint {
    return Atomics.load(this.#words, this.#writtenAt);
  }

  /** The bytes of records for which there is room now. */
  get roomBytes(): number {
    const used = this.writtenBytes - this.readBytes;
    // If the program claims to have read more than was written, it only harms itself.
    return used < 0n ? this.capacityBytes : Math.max(0, this.capacityBytes - Number(used));
  }

  /** Adds whole records, for which there is room. */
  write(records: Uint8Array): void {
    const written = this.writtenBytes;
    this.place(records, Number(written % BigInt(this.capacityBytes)));
    Atomics.store(this.#words, this.#writtenAt, written + BigInt(records.length));
  }

  /**
   * Writes bytes at a position of the buffer. At the end of the buffer, goes on at its beginning.
   */
  protected abstract place(bytes: Uint8Array, position: number): void;

  close(): void {
    native.close(this.memory.fd);
  }
}

/**
 * A BPF_MAP_TYPE_RINGBUF: a page for the reader's count, one for the writer's, and the data twice.
 *
 * Kernel source: bpf_ringbuf_area_alloc() in kernel/bpf/ringbuf.c, which maps the same pages twice.
 * Here they are different pages, so bytes beyond the end of the first half are written to both.
 */
export class RingbufMemory extends EventMemory {
  /** @param capacityBytes the map's max_entries */
  constructor(capacityBytes: number) {
    super(2 * PAGE_BYTES + 2 * capacityBytes, capacityBytes, PAGE_BYTES, 0);
  }

  protected place(bytes: Uint8Array, position: number): void {
    this.memory.set(bytes, 2 * PAGE_BYTES + position);
    const first = this.capacityBytes - position;
    if (bytes.length > first) this.memory.set(bytes.subarray(first), 2 * PAGE_BYTES);
  }
}

/** Byte offsets in `struct perf_event_mmap_page`. */
const PerfPage = { DATA_HEAD: 1024, DATA_TAIL: 1032, DATA_OFFSET: 1040, DATA_SIZE: 1048 } as const;

const PERF_RECORD_LOST = 2;
const LOST_BYTES = 24;

/**
 * Returns the record that the kernel writes into the buffer of a perf event in place of lost
 * records.
 *
 * @param id the id of the event
 * @param count the number of lost records
 * @param sampleIdBytes the length of the `struct sample_id` that follows; its bytes are zero
 */
export function lostRecord(id: bigint, count: number, sampleIdBytes: number): Uint8Array {
  const bytes = new Uint8Array(LOST_BYTES + sampleIdBytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, PERF_RECORD_LOST, true);
  view.setUint16(6, bytes.length, true);
  view.setBigUint64(8, id, true);
  view.setBigUint64(16, BigInt(count), true);
  return bytes;
}

/** The buffer of a perf event: one page with the counters, then the data. */
export class PerfMemory extends EventMemory {
  /** The number of data pages. */
  readonly pages: number;

  /** @param pages the number of data pages, a power of two */
  constructor(pages: number) {
    const bytes = pages * PAGE_BYTES;
    super(PAGE_BYTES + bytes, bytes, PerfPage.DATA_HEAD, PerfPage.DATA_TAIL);
    this.pages = pages;
    const words = new BigUint64Array(this.memory.buffer);
    words[PerfPage.DATA_OFFSET / 8] = BigInt(PAGE_BYTES);
    words[PerfPage.DATA_SIZE / 8] = BigInt(bytes);
  }

  protected place(bytes: Uint8Array, position: number): void {
    const first = Math.min(bytes.length, this.capacityBytes - position);
    this.memory.set(bytes.subarray(0, first), PAGE_BYTES + position);
    this.memory.set(bytes.subarray(first), PAGE_BYTES);
  }
}

export type { EventMemory };
