/*
 * The user ring buffers that the program has mapped. The records that the program submits go to the
 * guest's buffers.
 */
import { constants } from 'node:os';
import { setImmediate } from 'node:timers/promises';
import type { MapSpec } from '../bpf/index.js';
import type { Handle } from '../call.js';
import { systemError } from '../errors.js';
import { native, type SharedMemory } from '../native.js';
import type { RingWriter } from '../session/index.js';
import type { Session } from '../session.js';
import type { MappedEvents } from './mapped-events.js';
import type { Notification } from './notification.js';
import type { Placeholders } from './placeholders.js';

const PAGE_BYTES = 4096;
const PROT_WRITE = 2;
const HEADER_BYTES = 8;
/**
 * BPF_RINGBUF_BUSY_BIT and BPF_RINGBUF_DISCARD_BIT of linux/bpf.h. The remaining bits are the
 * length.
 */
const BUSY = 2 ** 31;
const DISCARDED = 2 ** 30;
/** How often to look for submitted records, because a program does not announce them. */
const LOOK_MS = 10;
/**
 * How long a call waits for earlier records. It is bounded, because the records may wait for the
 * call.
 */
const PATIENCE_MS = 50;
const { errno } = constants;

interface Ring {
  readonly handle: Handle;
  readonly memory: SharedMemory;
  /** The counters: bytes taken in the first word, bytes submitted one page later. */
  readonly words: BigUint64Array;
  /** The bytes of records that the buffer holds. */
  readonly capacityBytes: number;
  readonly writer: RingWriter;
  /** The bytes that were taken. */
  taken: bigint;
  flushing: boolean;
}

/**
 * User ring buffers on both sides. Every {@link LOOK_MS}, and before each bpf(2) call, this class
 * takes the records that the program has submitted, and submits them in the guest. While the
 * guest's buffer is full they stay here, and the program sees a full buffer.
 */
export class MappedUserRings {
  readonly #session: Session;
  readonly #placeholders: Placeholders;
  readonly #events: MappedEvents;
  readonly #rings = new Map<Handle, Ring>();
  readonly #over = new AbortController();
  /** Functions to call when all submitted records have been sent. */
  readonly #waiting = new Set<() => void>();
  #timer: NodeJS.Timeout | undefined;

  constructor(session: Session, placeholders: Placeholders, events: MappedEvents) {
    this.#session = session;
    this.#placeholders = placeholders;
    this.#events = events;
  }

  /**
   * Answers mmap(2) of a BPF_MAP_TYPE_USER_RINGBUF: ringbuf_map_mmap_user() in
   * kernel/bpf/ringbuf.c.
   */
  async map(call: Notification, handle: Handle, { maxEntries }: MapSpec): Promise<void> {
    const [lengthBytes, offset] = [Number(call.word(1)), Number(call.word(5))];
    const bytes = 2 * PAGE_BYTES + 2 * maxEntries;
    // The kernel owns the counter of taken bytes. The program may only read it.
    if ((call.argument(2) & PROT_WRITE) !== 0 && offset === 0) return call.fail(errno.EPERM);
    if (offset + lengthBytes > bytes) return call.fail(errno.EINVAL);
    const { memory } = this.#rings.get(handle) ?? this.#begin(handle, maxEntries, bytes);
    call.mapMemory(memory.fd);
  }

  /** Sends the submitted records, before a call that may depend on them. */
  async push(): Promise<void> {
    if (this.#rings.size === 0) return;
    for (const ring of this.#rings.values()) this.#flush(ring);
    // A ring may stay full for hours, so a caller whose time is up removes itself from the waiting
    // ones.
    await new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, PATIENCE_MS);
      this.#waiting.add(done);
    });
  }

  close(): void {
    clearInterval(this.#timer);
    this.#over.abort();
    for (const { memory } of this.#rings.values()) native.close(memory.fd);
    this.#rings.clear();
  }

  #begin(handle: Handle, capacityBytes: number, bytes: number): Ring {
    const memory = native.shareMemory(bytes);
    if (typeof memory === 'number') throw systemError('memfd_create', memory);
    this.#placeholders.add(handle, memory.fd);
    const words = new BigUint64Array(memory.buffer, 0, bytes / 8);
    const writer = this.#session.ringWriter(handle, capacityBytes);
    const fresh = { handle, memory, words, capacityBytes, writer };
    const ring: Ring = { ...fresh, taken: 0n, flushing: false };
    this.#rings.set(handle, ring);
    this.#timer ??= setInterval(() => void this.push(), LOOK_MS);
    return ring;
  }

  #flush(ring: Ring): void {
    if (ring.flushing) return;
    ring.flushing = true;
    void this.#send(ring)
      // The session has ended or the program is gone: nobody needs the records.
      .catch(() => {})
      .then(() => {
        ring.flushing = false;
        if ([...this.#rings.values()].some(({ flushing }) => flushing)) return;
        for (const done of this.#waiting) done();
      });
  }

  async #send(ring: Ring): Promise<void> {
    for (;;) {
      const { records, position } = submitted(ring);
      if (position === ring.taken) return;
      await ring.writer.write(records, this.#over.signal);
      // A program can claim to have submitted any number of records, which may all be discarded.
      await setImmediate();
      ring.taken = position;
      Atomics.store(ring.words, 0, position);
      this.#events.pulse(ring.handle);
    }
  }
}

/**
 * Returns records that were submitted and not yet taken, and the position behind them. They are at
 * most as many as the buffer holds.
 */
function submitted({ memory, words, capacityBytes, taken }: Ring): {
  records: Uint8Array[];
  position: bigint;
} {
  const most = taken + BigInt(capacityBytes);
  const claimed = Atomics.load(words, PAGE_BYTES / 8);
  const end = claimed < most ? claimed : most;
  const headers = new Uint32Array(memory.buffer, 2 * PAGE_BYTES);
  const records: Uint8Array[] = [];
  let position = taken;
  while (position < end) {
    const at = Number(position % BigInt(capacityBytes));
    const header = Atomics.load(headers, at / 4);
    if (header >= BUSY) break;
    const length = header % DISCARDED;
    const total = HEADER_BYTES + Math.ceil(length / 8) * 8;
    // The kernel stops at an impossible record, too.
    if (total > capacityBytes || BigInt(total) > end - position) break;
    const start = 2 * PAGE_BYTES + at + HEADER_BYTES;
    if (header < DISCARDED) records.push(memory.slice(start, start + length));
    position += BigInt(total);
  }
  return { records, position };
}
