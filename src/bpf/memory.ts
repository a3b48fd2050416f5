/* The source of a call that another process makes: its attribute, and its memory by address. */
import type { CallBuffer, Handle, Reply } from '../call.js';
import type { CompiledStruct, PointerStep } from './compile.js';
import {
  type Encoding,
  type Frame,
  outBytes,
  returned,
  type Source,
  withheld,
  written,
} from './encoding.js';
import { fieldOffset, readU32, readU64, writeU64 } from './little-endian.js';
import type { Length } from './rows.js';
import type { MapSpec, ObjectSpecs } from './specs.js';

/** The memory of the process that makes the call. */
export interface Memory {
  /**
   * Copies `length` bytes. Returns fewer bytes, or none, if the process does not have all of them.
   */
  read(address: bigint, length: number): Uint8Array;
  /** Returns how many of `length` bytes the process has. */
  extent(address: bigint, length: number): number;
  /**
   * Copies text up to and including its NUL, with a limit of `maximumBytes` and of the existing
   * memory.
   */
  readText(address: bigint, maximumBytes: number): Uint8Array;
  /**
   * The process id in the process's own PID namespace. Absent: no call is about the process itself.
   */
  readonly pid?: number;
  /**
   * Returns the handle behind a descriptor of the process, or 0 when it is not one of the guest's.
   */
  handleOf(descriptor: number): Handle;
  /** Returns whether the process has a descriptor open, on any file. */
  isOpen(descriptor: number): boolean;
}

/** Bytes to write to the process's memory after a call. */
export interface Write {
  /** Where the bytes go in the memory of the caller. */
  readonly address: bigint;
  /** The bytes. */
  readonly bytes: Uint8Array;
}

/** Memory for the kernel's output: the bytes of the process, and the bytes that were sent. */
interface Kept {
  readonly before: Uint8Array;
  readonly sent: Uint8Array;
}

/**
 * Memory for output up to this size is sent with its contents, so that the reply shows which bytes
 * the kernel has not changed. Of larger memory, only the length is sent.
 */
const KEPT_BYTES = 4096;
const PAGE_BYTES = 4096;
/** The maximum by which a program can extend its data. */
const GROWTH_BYTES = 65536;
const NO_ADDRESS = 1n << 63n;

function isUserAddress(word: bigint): boolean {
  return word >= 0x10000n && word >> 47n === 0n;
}

/** A structure in the process's memory. Its image is a copy with all pointers zero. */
export class MemorySource implements Source {
  readonly image: Uint8Array;
  readonly address: bigint;
  /** The length that the process gave. The image may be longer. */
  readonly givenBytes: number;
  /** The addresses in the structure's pointers, by index. */
  readonly targets: bigint[] = [];
  /** The contents of small memory for output, by index of the pointer. */
  readonly kept: (Kept | undefined)[] = [];
  private readonly memory: Memory;
  private readonly specs: ObjectSpecs;

  constructor(
    struct: CompiledStruct,
    address: bigint,
    given: Uint8Array,
    sizeBytes: number,
    memory: Memory,
    specs: ObjectSpecs,
  ) {
    this.address = address;
    this.givenBytes = given.length;
    this.memory = memory;
    this.specs = specs;
    const image = new Uint8Array(sizeBytes);
    image.set(given);
    for (const { index, offset } of struct.pointers) {
      const inside = offset + 8 <= image.length;
      this.targets[index] = inside ? readU64(image, offset) : 0n;
      if (inside) writeU64(image, offset, 0n);
    }
    this.image = image;
  }

  /**
   * Returns an argument of the call, as long as the process gave it, because kernels check the
   * length. The image is longer only to include outputs that the kernel writes in any case, and the
   * rest of a word in which the structure ends. The kernel extends a short structure with zeroes in
   * the same way.
   */
  static argument(
    struct: CompiledStruct,
    address: bigint,
    given: Uint8Array,
    memory: Memory,
    specs: ObjectSpecs,
  ): MemorySource {
    let size = Math.max(struct.writtenBytes, given.length);
    for (const { offset } of struct.pointers) if (offset < size) size = Math.max(size, offset + 8);
    for (const { offset } of struct.fds) if (offset < size) size = Math.max(size, offset + 4);
    return new MemorySource(struct, address, given, size, memory, specs);
  }

  refers(step: PointerStep): boolean {
    return this.target(step) !== 0n;
  }

  bytes(step: PointerStep, encoding: Encoding): Uint8Array {
    const { length } = step.field;
    if (length.by === 'nul') return this.memory.readText(this.target(step), length.maximumBytes);
    const bytes = this.memory.read(this.target(step), this.lengthOf(step, length, encoding));
    if (step.field.flow === 'inout') this.kept[step.index] = { before: bytes.slice(), sent: bytes };
    return bytes;
  }

  texts(step: PointerStep, encoding: Encoding): readonly Uint8Array[] {
    const { field } = step;
    const maximumBytes = 'maximumBytes' in field ? field.maximumBytes : 0;
    const pointers = this.memory.read(this.target(step), outBytes(step, this.image, encoding));
    const texts: Uint8Array[] = [];
    for (let at = 0; at + 8 <= pointers.length; at += 8) {
      texts.push(this.memory.readText(readU64(pointers, at), maximumBytes));
    }
    return texts;
  }

  room(step: PointerStep, asked: number): CallBuffer {
    const address = this.target(step);
    const length = asked === 0 ? this.unbounded(step) : asked;
    // Text needs no comparison, because its NUL marks the end.
    const plain = length > KEPT_BYTES || step.field.type === 'string';
    if (plain) return this.memory.extent(address, length);
    const before = this.memory.read(address, length);
    const sent = before.slice();
    for (let at = 0; at + 8 <= sent.length; at += 8) {
      // An old pointer of this process must not be taken for an address in the guest.
      if (isUserAddress(readU64(sent, at))) writeU64(sent, at, readU64(sent, at) | NO_ADDRESS);
    }
    this.kept[step.index] = { before, sent };
    return { inout: sent };
  }

  struct(step: PointerStep, struct: CompiledStruct, encoding: Encoding): Source {
    const address = this.target(step);
    // The kernel refuses a structure longer than a page before it reads it.
    const length = Math.min(outBytes(step, this.image, encoding), PAGE_BYTES + 1);
    const given = this.memory.read(address, length);
    return new MemorySource(struct, address, given, given.length, this.memory, this.specs);
  }

  handle(descriptor: number): Handle {
    return this.memory.handleOf(descriptor | 0);
  }

  isOpen(descriptor: number): boolean {
    return this.memory.isOpen(descriptor | 0);
  }

  map(handle: Handle): MapSpec | undefined {
    return this.specs.mapSpec(handle);
  }

  // The kernel decides about a descriptor whose flag is not set, and the process gets the result.
  idle(): void {}

  /** Returns the room for an output whose length was not given. */
  private unbounded(step: PointerStep): number {
    const { length } = step.field;
    if (length.by !== 'field' || length.unlimited === undefined) return 0;
    return readU32(this.image, fieldOffset(step.row, length.unlimited)) + GROWTH_BYTES;
  }

  private target(step: PointerStep): bigint {
    return this.targets[step.index] ?? 0n;
  }

  private lengthOf(step: PointerStep, length: Length, encoding: Encoding): number {
    const bytes = outBytes(step, this.image, encoding);
    if (length.by !== 'usedFds' || bytes > 0) return bytes;
    return 4 * (Math.max(-1, ...(encoding.reached ?? [])) + 1);
  }
}

/**
 * Returns the writes after which the process's memory is as if its own kernel had made the call.
 */
export function writesOf(frame: Frame, reply: Reply): Write[] {
  const { struct, source } = frame;
  const image = returned(frame, reply);
  if (!(source instanceof MemorySource)) return [];
  const writes: Write[] = [];
  for (const step of struct.pointers) {
    const child = frame.children?.[step.index];
    if (child !== undefined) {
      writes.push(...writesOf(child, reply));
      continue;
    }
    const address = source.targets[step.index] ?? 0n;
    const kept = source.kept[step.index];
    const slot = frame.slots[2 * step.index] ?? 0;
    const bytes = reply.outputs[slot - 1];
    if (slot === 0 || bytes === undefined) continue;
    if (kept === undefined) writes.push({ address, bytes: certainly(step, frame, reply) });
    else writes.push(...changes(kept, bytes.subarray(0, reached(step, frame, reply)), address));
  }
  // The kernel writes the targets of pointers before the structure, and the lengths last.
  if (image !== undefined) {
    const spans = frame.isArgument
      ? outputSpans(source, struct, image, reply.result >= 0)
      : spansBetween(frame, reply);
    for (const [start, end] of spans) {
      writes.push({ address: source.address + BigInt(start), bytes: image.subarray(start, end) });
    }
  }
  return writes.filter(({ bytes }) => bytes.length > 0);
}

/** Returns the kernel's changes as one stretch. */
function changes({ before, sent }: Kept, bytes: Uint8Array, address: bigint): Write[] {
  const after = bytes.slice(0, before.length);
  for (let at = 0; at + 8 <= after.length; at += 8) {
    if (readU64(after, at) === readU64(sent, at)) writeU64(after, at, readU64(before, at));
  }
  const start = after.findIndex((byte, at) => byte !== before[at]);
  const end = after.findLastIndex((byte, at) => byte !== before[at]);
  if (start < 0) return [];
  return [{ address: address + BigInt(start), bytes: after.subarray(start, end + 1) }];
}

const ENOENT = 2;
const ENOSPC = 28;

/** Texts that the kernel may leave unwritten. */
const logs: ReadonlySet<string> = new Set(['log_buf', 'btf_log_buf']);

/**
 * Returns the bytes that the kernel has certainly written to memory that was sent as zeroes. A call
 * that fails may have written nothing. With ENOENT and ENOSPC the counts are still valid.
 */
function certainly(step: PointerStep, frame: Frame, reply: Reply): Uint8Array {
  const counted = isCounted(step, reply);
  const whole = written(step, frame, reply) ?? new Uint8Array(0);
  if (step.field.type === 'string') {
    const end = whole.indexOf(0) + 1;
    // An empty text may be unwritten: the call may have failed earlier, or had nothing to log. With
    // ENOSPC, the kernel did write it, because there was only room for the NUL.
    const silent = reply.result < 0 || logs.has(step.name);
    return end === 1 && silent && reply.errno !== ENOSPC
      ? whole.subarray(0, 0)
      : whole.subarray(0, end || undefined);
  }
  if (reply.result >= 0 || counted) return whole;
  return whole.subarray(0, whole.findLastIndex((byte) => byte !== 0) + 1);
}

function isCounted(step: PointerStep, reply: Reply): boolean {
  return step.counted && (reply.errno === ENOENT || reply.errno === ENOSPC);
}

/**
 * Returns how far the kernel has written at most. What is behind may be other memory of the
 * process, since a program may give a larger count than it has room for.
 */
function reached(step: PointerStep, frame: Frame, reply: Reply): number | undefined {
  const isKnown = step.counted && (reply.result >= 0 || isCounted(step, reply));
  return isKnown ? written(step, frame, reply)?.length : undefined;
}

type Span = readonly [start: number, end: number];

/**
 * Returns the spans of an argument's outputs that the kernel has written. The kernel writes single
 * fields, some of them only to a structure that is long enough. A field that it has not written is
 * as it was sent. Fields beyond the given length are sent as zeroes. If such a field is still zero
 * after a call that succeeded, the kernel has written the zero, unless the field is a count.
 */
function outputSpans(
  { image, givenBytes }: MemorySource,
  struct: CompiledStruct,
  after: Uint8Array,
  succeeded: boolean,
): Span[] {
  const spans: Span[] = [];
  for (const { late, inout, offset, sizeBytes } of struct.outputs) {
    const end = offset + sizeBytes;
    const beyond = end > givenBytes;
    if (late && beyond) continue;
    const changed = !sameBytes(image, after, offset, end);
    if (changed || (beyond && succeeded && !inout)) spans.push([offset, end]);
  }
  return spans;
}

function sameBytes(a: Uint8Array, b: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if (a[at] !== b[at]) return false;
  return true;
}

/**
 * Returns the spans of a structure behind a pointer. The kernel writes such a structure as a whole,
 * including fields that the table does not know. The process's own pointers stay, unless the kernel
 * removed them.
 */
function spansBetween(frame: Frame, reply: Reply): Span[] {
  const spans: Span[] = [];
  let start = 0;
  for (const step of [...frame.struct.pointers].sort((a, b) => a.offset - b.offset)) {
    if (frame.slots[2 * step.index] === 0 || withheld(step, frame, reply)) continue;
    spans.push([start, step.offset]);
    start = step.offset + 8;
  }
  spans.push([start, frame.source.image.length]);
  return spans.filter(([from, to]) => from < to);
}
