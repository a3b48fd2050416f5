/*
 * The maps that the program has mapped into memory, such as .rodata, .data and .bss of skeletons.
 */
import { fstatSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { type Command, encode, enums, type MapSpec, rows } from '../bpf/index.js';
import type { Handle, Reply } from '../call.js';
import { failure, systemError } from '../errors.js';
import { native, type SharedMemory } from '../native.js';
import type { Session } from '../session.js';
import type { Notification } from './notification.js';
import type { Objects } from './objects.js';
import type { Placeholders } from './placeholders.js';

/** The time between two comparisons. The program's copy is at most this old, plus a round trip. */
const STALE_MS = 50;
const PAGE_BYTES = 4096;
/** The largest map that can be mapped, because each comparison reads the whole map. */
const MAX_MAPPED_BYTES = 16 * 1024 * 1024;
const PROT_WRITE = 2;
const ENOTSUPP = 524;
const { errno } = constants;
const { BPF_F_MMAPABLE, BPF_F_RDONLY_PROG } = enums.ObjectFlag;

interface Mapped {
  readonly handle: Handle;
  readonly spec: MapSpec;
  readonly memory: SharedMemory;
  /** The contents of both sides after the last comparison. */
  readonly agreed: Uint8Array;
  /** Whether programs in the guest may write to it. */
  readonly changes: boolean;
}

/**
 * A copy of a map in the guest, which the program maps in place of the map. It is compared with the
 * map every {@link STALE_MS}, and before and after calls that depend on it.
 *
 * The guest has the program's writes before the program's next bpf(2) call. The program has the
 * guest's writes after {@link STALE_MS} and a round trip, and at once after a test run and with the
 * output of an iterator from BPF_ITER_CREATE. If both write to one element meanwhile, the program's
 * bytes win. A change that the guest makes to the rest of the element between the reading and the
 * writing here is lost.
 */
export class MappedMaps {
  readonly #session: Session;
  readonly #objects: Objects;
  readonly #placeholders: Placeholders;
  readonly #mapped = new Map<Handle, Mapped>();
  #timer: NodeJS.Timeout | undefined;
  #busy: Promise<void> = Promise.resolve();

  constructor(session: Session, objects: Objects, placeholders: Placeholders) {
    this.#session = session;
    this.#objects = objects;
    this.#placeholders = placeholders;
  }

  /**
   * Answers mmap(2) of an array like bpf_map_mmap() and array_map_mmap() in kernel/bpf, with memory
   * in place of the map.
   */
  async map(call: Notification, handle: Handle, spec: MapSpec): Promise<void> {
    const lengthBytes = Number(call.word(1));
    const offset = Number(call.word(5));
    const writable = (call.argument(2) & PROT_WRITE) !== 0;
    const bytes = roundUp(strideOf(spec) * spec.maxEntries, PAGE_BYTES);
    if (spec.type !== enums.MapType.BPF_MAP_TYPE_ARRAY) return call.fail(ENOTSUPP);
    if (writable && this.#objects.isFrozen(handle)) return call.fail(errno.EPERM);
    if (writable && (spec.flags & BPF_F_RDONLY_PROG) !== 0) return call.fail(errno.EACCES);
    if ((spec.flags & BPF_F_MMAPABLE) === 0 || offset + lengthBytes > bytes) {
      return call.fail(errno.EINVAL);
    }
    if (bytes > MAX_MAPPED_BYTES) {
      throw failure('ERR_RUN_REFUSED', {
        call: `mmap(2) of a map of ${bytes} bytes`,
        why: `no more than ${MAX_MAPPED_BYTES} bytes are kept equal on both sides`,
        instead: 'Use its elements by bpf(2) instead.',
      });
    }
    const { memory } = await this.#share(handle, spec, bytes);
    call.mapMemory(memory.fd);
  }

  /** Returns whether a process can write to a map by memory. Such a map cannot be frozen. */
  isWritable(handle: Handle, thread: number): boolean {
    const mapped = this.#mapped.get(handle);
    if (mapped === undefined) return false;
    const { dev, ino } = fstatSync(mapped.memory.fd);
    return linesOf(`/proc/${thread}/maps`).some((line) => {
      const [, rights = '', , device = '', inode] = line.split(/ +/);
      return inode === String(ino) && deviceOf(device) === dev && /^.w.s$/.test(rights);
    });
  }

  /** Sends the program's writes, before a call that may depend on them. */
  async push(): Promise<void> {
    for (const mapped of this.#mapped.values()) {
      if (Buffer.compare(mapped.memory, mapped.agreed) !== 0)
        return this.#alone(() => this.#exchange());
    }
  }

  /** Fetches the writes of programs in the guest. */
  pull(): Promise<void> {
    return this.#mapped.size === 0 ? Promise.resolve() : this.#alone(() => this.#exchange());
  }

  close(): void {
    clearTimeout(this.#timer);
    for (const { memory } of this.#mapped.values()) native.close(memory.fd);
    this.#mapped.clear();
  }

  async #share(handle: Handle, spec: MapSpec, bytes: number): Promise<Mapped> {
    const known = this.#mapped.get(handle);
    if (known !== undefined) return known;
    const memory = native.shareMemory(bytes);
    if (typeof memory === 'number') throw systemError('memfd_create', memory);
    const agreed = new Uint8Array(bytes);
    const changes = (spec.flags & BPF_F_RDONLY_PROG) === 0;
    const mapped = { handle, spec, memory, agreed, changes };
    await this.#fetch(mapped);
    memory.set(agreed);
    this.#placeholders.add(handle, memory.fd);
    this.#mapped.set(handle, mapped);
    this.#schedule();
    return mapped;
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      // The comparison fails when the session has ended. No further comparison is needed then.
      this.pull().then(
        () => this.#schedule(),
        () => {},
      );
    }, STALE_MS);
  }

  /**
   * Runs one comparison at a time. Two at once would mistake each other's bytes for the program's.
   */
  #alone(work: () => Promise<void>): Promise<void> {
    const done = this.#busy.then(work);
    this.#busy = done.catch(() => {});
    return done;
  }

  async #exchange(): Promise<void> {
    await Promise.all(
      [...this.#mapped.values()]
        .filter(({ changes }) => changes)
        .map((mapped) => this.#compare(mapped)),
    );
  }

  async #compare(mapped: Mapped): Promise<void> {
    const { memory, agreed, spec } = mapped;
    const before = agreed.slice();
    await this.#fetch(mapped);
    const unchanged = Buffer.compare(before, agreed) === 0;
    if (unchanged && Buffer.compare(memory, before) === 0) return;
    const stride = strideOf(spec);
    const writes: Promise<Reply>[] = [];
    for (let index = 0; index < spec.maxEntries; index++) {
      const start = index * stride;
      let written = false;
      for (let at = start; at < start + spec.valueSize; at++) {
        const byte = memory[at] as number;
        if (byte !== before[at]) {
          // The program has written to the byte meanwhile.
          written ||= byte !== agreed[at];
          agreed[at] = byte;
        } else if (byte !== agreed[at]) {
          memory[at] = agreed[at] as number;
        }
      }
      if (!written) continue;
      const value = agreed.slice(start, start + spec.valueSize);
      writes.push(this.#call(rows.MAP_UPDATE_ELEM, mapped, { key: keyOf(index), value }));
    }
    await Promise.all(writes);
  }

  /** Reads the whole map into `agreed`. */
  async #fetch(mapped: Mapped): Promise<void> {
    const { agreed, spec } = mapped;
    const { maxEntries, valueSize } = spec;
    if (maxEntries === 1) {
      const { outputs } = await this.#call(rows.MAP_LOOKUP_ELEM, mapped, { key: keyOf(0) });
      agreed.set(outputs[0] ?? []);
      return;
    }
    const batch = { in_batch: null, count: maxEntries };
    const { outputs } = await this.#call(rows.MAP_LOOKUP_BATCH, mapped, batch);
    // The outputs are the attribute, the position, the keys and the values.
    const values = outputs[3] ?? new Uint8Array(0);
    for (let index = 0; (index + 1) * valueSize <= values.length; index++) {
      const value = values.subarray(index * valueSize, (index + 1) * valueSize);
      agreed.set(value, index * strideOf(spec));
    }
  }

  #call(
    shape: Command,
    { handle }: Mapped,
    values: Readonly<Record<string, unknown>>,
  ): Promise<Reply> {
    const encoded = encode(shape, { map_fd: { handle }, ...values } as never, this.#objects);
    return this.#session.call(encoded.call, { name: shape.name });
  }
}

function linesOf(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\n');
  } catch {
    // The thread has ended, and its call with it.
    return [];
  }
}

function strideOf({ valueSize }: MapSpec): number {
  return roundUp(valueSize, 8);
}

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}

function keyOf(index: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(index).buffer);
}

/** Returns the number of a device from `major:minor` in hexadecimal, as stat(2) has it. */
function deviceOf(text: string): number {
  const [major = 0, minor = 0] = text.split(':').map((half) => Number.parseInt(half, 16));
  return (minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12);
}
