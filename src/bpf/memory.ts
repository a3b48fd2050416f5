/*
 * The source of a call that another process is making: its attribute as it lies in memory, and
 * its memory by address.
 */
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

/** The memory of the process whose call it is. */
export interface Memory {
  /** Copies `length` bytes; fewer, down to none, where the process has no more. */
  read(address: bigint, length: number): Uint8Array;
  /** How many of `length` bytes the process has. */
  extent(address: bigint, length: number): number;
  /** Copies text up to and including its NUL, but at most `maximumBytes` or what there is. */
  readText(address: bigint, maximumBytes: number): Uint8Array;
  /** The process id as the process knows it. Absent: no call is about the process itself. */
  readonly pid?: number;
  /** The handle behind a descriptor of the process, or 0 when it is not one of the guest's. */
  handleOf(descriptor: number): Handle;
  /** Whether the process has a descriptor open, whatever on. */
  isOpen(descriptor: number): boolean;
}

/** Bytes to write to the process's memory after a call. */
export interface Write {
  readonly address: bigint;
  readonly bytes: Uint8Array;
}

/** Memory to be written to: as it was, and as it was sent. */
interface Kept {
  readonly before: Uint8Array;
  readonly sent: Uint8Array;
}

/**
 * Up to this size what the kernel may write to is sent along, so that what comes back tells which
 * bytes it has left alone. Larger ones go as a length.
 */
const KEPT_BYTES = 4096;
const PAGE_BYTES = 4096;
/** By how much a program can make its data longer. */
const GROWTH_BYTES = 65536;
const NO_ADDRESS = 1n << 63n;

function isUserAddress(word: bigint): boolean {
  return word >= 0x10000n && word >> 47n === 0n;
}

/** A structure in the process's memory; the image is a copy in which pointers are zero. */
export class MemorySource implements Source {
  readonly image: Uint8Array;
  readonly address: bigint;
  /** The length that the process gave, which may be less than the image's. */
  readonly givenBytes: number;
  /** Where the pointers of the structure point, in the order of their indices. */
  readonly targets: bigint[] = [];
  /** What was behind small pointers to be written to, in the order of their indices. */
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
   * An argument of the call, as long as the process gave it: kernels look at the length. It is
   * extended only to hold what the kernel writes however short it is, and the rest of a word that
   * it ends within. The kernel fills it up with zeroes in the same way.
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
    // Text says itself where it ends.
    const plain = length > KEPT_BYTES || step.field.type === 'string';
    if (plain) return this.memory.extent(address, length);
    const before = this.memory.read(address, length);
    const sent = before.slice();
    for (let at = 0; at + 8 <= sent.length; at += 8) {
      // Left-over pointers of this process must not be mistaken for addresses in the guest.
      if (isUserAddress(readU64(sent, at))) writeU64(sent, at, readU64(sent, at) | NO_ADDRESS);
    }
    this.kept[step.index] = { before, sent };
    return { inout: sent };
  }

  struct(step: PointerStep, struct: CompiledStruct, encoding: Encoding): Source {
    const address = this.target(step);
    // The kernel refuses whatever is longer than a page before it looks at it.
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

  // The kernel judges a descriptor that no flag asks for; the process gets its verdict.
  idle(): void {}

  /** Room for output that is as long as it happens to be when no length is given. */
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

/** What the process would have found in its memory had the kernel been its own. */
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
    else writes.push(...changes(kept, bytes, address));
  }
  // Kernels write what a structure points to before the structure, lengths last.
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

/** What the kernel has changed, as one stretch. */
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

/** Texts of which a call may write none. */
const logs: ReadonlySet<string> = new Set(['log_buf', 'btf_log_buf']);

/**
 * What the kernel has certainly written to memory that was sent as zeroes. A call that fails may
 * have written nothing; with these two errors the counts are good.
 */
function certainly(step: PointerStep, frame: Frame, reply: Reply): Uint8Array {
  const counted = step.counted && (reply.errno === ENOENT || reply.errno === ENOSPC);
  const whole = written(step, frame, reply) ?? new Uint8Array(0);
  if (step.field.type === 'string') {
    const end = whole.indexOf(0) + 1;
    // A call that fails may not have got so far, save where all that there was room for is the end;
    // and one that has nothing to log leaves a log alone.
    const silent = reply.result < 0 || logs.has(step.name);
    return end === 1 && silent && reply.errno !== ENOSPC
      ? whole.subarray(0, 0)
      : whole.subarray(0, end || undefined);
  }
  if (reply.result >= 0 || counted) return whole;
  return whole.subarray(0, whole.findLastIndex((byte) => byte !== 0) + 1);
}

type Span = readonly [start: number, end: number];

/**
 * The kernel writes single fields of an argument, some only if it is long enough; and fields that
 * it has left alone are as they were sent. Beyond what the process gave these are zeroes, and a
 * zero there was written by a call that succeeds, unless it is a count: none counts nothing.
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
 * The kernel writes any other structure as a whole, with fields that the table does not know, and
 * with the process's own pointers save those that it withholds.
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
