/*
 * The source of a call that another process is making: its attribute as it lies in memory, and
 * its memory by address.
 */
import type { Handle, Reply } from '../call.js';
import type { MapFacts, ObjectFacts } from './facts.js';
import { type Plan, type PointerStep, roundUp8 } from './plan.js';
import type { Length } from './rows.js';
import {
  type Frame,
  outBytes,
  returned,
  type Source,
  type Walk,
  withheld,
  written,
} from './walker.js';
import { readU64, writeU64 } from './words.js';

/** The memory of the process whose call it is. */
export interface Memory {
  /** Copies `length` bytes. Throws where the process itself would get EFAULT. */
  read(address: bigint, length: number): Uint8Array;
  /** Copies text up to and including its NUL, but at most `maximumBytes`. */
  readText(address: bigint, maximumBytes: number): Uint8Array;
  /** The handle behind a descriptor of the process, or 0 when it is not one of the guest's. */
  handleOf(descriptor: number): Handle;
}

/** Bytes to write to the process's memory after a call. */
export interface Write {
  readonly address: bigint;
  readonly bytes: Uint8Array;
}

/** A structure in the process's memory; the image is a copy in which pointers are zero. */
export class MemorySource implements Source {
  readonly image: Uint8Array;
  readonly address: bigint;
  /** The length that the process gave, which may be less than the image's. */
  readonly givenBytes: number;
  /** Where the pointers of the structure point, in the order of their indices. */
  readonly targets: bigint[] = [];
  private readonly memory: Memory;
  private readonly facts: ObjectFacts;

  constructor(
    plan: Plan,
    address: bigint,
    given: Uint8Array,
    sizeBytes: number,
    memory: Memory,
    facts: ObjectFacts,
  ) {
    this.address = address;
    this.givenBytes = given.length;
    this.memory = memory;
    this.facts = facts;
    const image = new Uint8Array(sizeBytes);
    image.set(given);
    for (const { index, offset } of plan.pointers) {
      const inside = offset + 8 <= image.length;
      this.targets[index] = inside ? readU64(image, offset) : 0n;
      if (inside) writeU64(image, offset, 0n);
    }
    this.image = image;
  }

  /**
   * The attribute, extended by zeroes to what every kernel knows and writes to. The kernel fills a
   * shorter one up in the same way, so that this changes nothing for it.
   */
  static attribute(
    plan: Plan,
    address: bigint,
    given: Uint8Array,
    memory: Memory,
    facts: ObjectFacts,
  ): MemorySource {
    const size = Math.max(plan.baseBytes, roundUp8(given.length));
    return new MemorySource(plan, address, given, size, memory, facts);
  }

  refers(step: PointerStep): boolean {
    return this.target(step) !== 0n;
  }

  bytes(step: PointerStep, walk: Walk): Uint8Array {
    const { length } = step.field;
    if (length.by === 'nul') return this.memory.readText(this.target(step), length.maximumBytes);
    return this.memory.read(this.target(step), this.lengthOf(step, length, walk));
  }

  texts(step: PointerStep, walk: Walk): readonly Uint8Array[] {
    const { field } = step;
    const maximumBytes = 'maximumBytes' in field ? field.maximumBytes : 0;
    const pointers = this.memory.read(this.target(step), outBytes(step, this.image, walk));
    const texts: Uint8Array[] = [];
    for (let at = 0; at + 8 <= pointers.length; at += 8) {
      texts.push(this.memory.readText(readU64(pointers, at), maximumBytes));
    }
    return texts;
  }

  struct(step: PointerStep, plan: Plan, walk: Walk): Source {
    const address = this.target(step);
    const given = this.memory.read(address, outBytes(step, this.image, walk));
    return new MemorySource(plan, address, given, given.length, this.memory, this.facts);
  }

  handle(descriptor: number): Handle {
    return this.memory.handleOf(descriptor | 0);
  }

  map(handle: Handle): MapFacts | undefined {
    return this.facts.mapFacts(handle);
  }

  // The kernel judges a descriptor that no flag asks for; the process gets its verdict.
  idle(): void {}

  private target(step: PointerStep): bigint {
    return this.targets[step.index] ?? 0n;
  }

  private lengthOf(step: PointerStep, length: Length, walk: Walk): number {
    const bytes = outBytes(step, this.image, walk);
    if (length.by !== 'usedFds' || bytes > 0) return bytes;
    return 4 * (Math.max(-1, ...(walk.reached ?? [])) + 1);
  }
}

/** What the process would have found in its memory had the kernel been its own. */
export function writesOf(frame: Frame, reply: Reply): Write[] {
  const { plan, source } = frame;
  const image = returned(frame, reply);
  if (!(source instanceof MemorySource)) return [];
  const writes: Write[] = [];
  if (image !== undefined) {
    const spans = frame.output === 0 ? outputSpans(source, plan) : spansBetween(frame, reply);
    for (const [start, end] of spans) {
      writes.push({ address: source.address + BigInt(start), bytes: image.subarray(start, end) });
    }
  }
  for (const step of plan.pointers) {
    const child = frame.children?.[step.index];
    if (child !== undefined) writes.push(...writesOf(child, reply));
    const bytes = child === undefined ? written(step, frame, reply) : undefined;
    if (bytes === undefined) continue;
    const end = step.field.type === 'string' ? bytes.indexOf(0) + 1 : bytes.length;
    const address = source.targets[step.index] ?? 0n;
    writes.push({ address, bytes: end === 0 ? bytes : bytes.subarray(0, end) });
  }
  return writes;
}

type Span = readonly [start: number, end: number];

/** The kernel writes single fields of the attribute, some only if it is long enough. */
function outputSpans(source: MemorySource, plan: Plan): Span[] {
  return plan.outputs
    .filter((step) => !step.late || step.offset + step.sizeBytes <= source.givenBytes)
    .map((step) => [step.offset, step.offset + step.sizeBytes]);
}

/**
 * The kernel writes any other structure as a whole, with fields that the table does not know, and
 * with the process's own pointers save those that it withholds.
 */
function spansBetween(frame: Frame, reply: Reply): Span[] {
  const spans: Span[] = [];
  let start = 0;
  for (const step of [...frame.plan.pointers].sort((a, b) => a.offset - b.offset)) {
    if (frame.slots[2 * step.index] === 0 || withheld(step, frame, reply)) continue;
    spans.push([start, step.offset]);
    start = step.offset + 8;
  }
  spans.push([start, frame.source.image.length]);
  return spans.filter(([from, to]) => from < to);
}
