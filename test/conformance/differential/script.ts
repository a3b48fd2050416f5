/*
 * The vocabulary of the differential suite. Each case is a short life of a process that calls
 * bpf(2). A case lays out its own memory and descriptors. So its steps are plain data with absolute
 * addresses, which two very different executors can follow.
 *
 * Nothing here or in cases/ uses src/bpf. Commands are numbers, and arguments are bytes at offsets,
 * as in <linux/bpf.h>.
 */
import { commandNames, returnsDescriptor } from './uapi.js';

/** A stretch of the caller's memory. Nothing is mapped behind it. */
export interface Place {
  readonly address: bigint;
  readonly sizeBytes: number;
}

/**
 * A value in memory: a 32-bit word, a 64-bit word, text without a NUL, bytes, or the 64-bit address
 * of a place.
 */
type Value = number | bigint | string | Uint8Array | Place;

/** Values by byte offset. The bytes between them are zero. */
export type Layout = { readonly [offset: number]: Value };

/** The second structure of a call with five arguments. */
interface Common {
  readonly address: bigint;
  readonly sizeBytes: number;
}

export type Step =
  | { op: 'map'; place: Place; bytes: Uint8Array; protection: number }
  | { op: 'copy'; to: bigint; from: bigint; sizeBytes: number }
  | { op: 'same'; to: bigint; a: bigint; b: bigint; sizeBytes: number }
  | { op: 'open'; path: string; fd: number }
  | { op: 'close'; fd: number }
  | { op: 'read'; fd: number; address: bigint; sizeBytes: number }
  | { op: 'self'; to: bigint }
  | {
      op: 'bpf';
      command: number;
      attribute: bigint;
      sizeBytes: number;
      fd: number;
      /** The fourth and fifth argument. */
      common?: Common | undefined;
    };

/** Steps whose outcome is compared. */
export type Observed = Extract<Step, { op: 'open' | 'read' | 'bpf' }>;

export function isObserved(step: Step): step is Observed {
  return step.op === 'open' || step.op === 'read' || step.op === 'bpf';
}

/** Why bytes may differ between two runs on one kernel, by the names that cases use. */
export const reasons = {
  id: 'the kernel numbers its objects in the order in which they are made',
  'program id': 'likewise, of a program that something refers to',
  'map id': 'likewise, of a map that something refers to',
  'BTF id': 'likewise, of the BTF that something refers to',
  'load time': 'the kernel’s clock when the program was loaded',
  'hash seed': 'the order of a hash map’s elements follows from a random number of its own',
  revision: 'a hook counts what was ever attached to it',
  'run time': 'how long the program took, as far as it was measured',
  address: 'where the kernel has put something in its memory',
  'descriptor number':
    'the kernel names a descriptor in its log; in the guest it has another number',
  'process id': 'the oracle is a process of the guest, the caller is none',
  'verification time': 'how long the verifier took, in its log',
} as const;

export type Reason = keyof typeof reasons;

/** Bytes that may differ between two runs. */
export interface Volatile {
  readonly name: Reason;
  readonly place: Place;
  /** The differing bytes or, in text, the differing words. */
  readonly what: { readonly offset: number; readonly sizeBytes: number } | RegExp;
}

/** The unusual parts of a call. */
export interface CallOptions {
  /** The third argument of bpf(2). Default: the length of the layout. */
  sizeBytes?: number;
  /** The second argument. Default: a place for the layout. */
  attribute?: bigint;
  /** The fourth and fifth argument. Default: there are three. */
  common?: Common | undefined;
}

/** A call that a case makes. */
export interface Made {
  /** The place of the call's attribute. */
  readonly attribute: Place;
  /** The number of the descriptor that it returns, if it returns one. */
  readonly fd: number;
}

/** The name for a command that no kernel has. */
export const NO_COMMAND = 'an unknown command';

/** The address at which every case's memory begins. No program of either side uses it. */
const ARENA = 0x1000_0000_0000n;
const PAGE = 4096;
/** Descriptors of the script; lower ones are the executors' own. */
const FIRST_FD = 200;
/** The initial bytes of memory for the kernel to write to. They show where the kernel wrote. */
const UNWRITTEN = 0xee;
/** The room behind a call's attribute, in which a kernel with a larger attribute could write. */
const BEHIND = 192;

export const Protection = { NONE: 0, READ: 1, READ_WRITE: 3 } as const;

/** An address at which no case has any memory. */
export const NOWHERE = 0x0fff_0000_0000n;

/** One life of a process, and the bytes that may differ between two such lives. */
export class Case {
  readonly command: string;
  readonly name: string;
  readonly steps: Step[] = [];
  readonly volatile: Volatile[] = [];
  #next = ARENA;
  #fds = FIRST_FD;

  /** @param command the number of the command that the case is about */
  constructor(command: number, name: string) {
    this.command = commandNames[command] ?? NO_COMMAND;
    this.name = name;
  }

  /** Makes a bpf(2) call. */
  bpf(command: number, layout: Layout, options: CallOptions = {}): Made {
    const { place: attribute, sizeBytes } = this.attribute(layout, options.sizeBytes);
    const fd = returnsDescriptor.has(command & 0xffff) ? this.#fds++ : 0;
    const address = options.attribute ?? attribute.address;
    const { common } = options;
    this.steps.push({ op: 'bpf', command, attribute: address, sizeBytes, fd, common });
    return { attribute, fd };
  }

  /** Lays out an attribute, with room behind it; `sizeBytes` is the call's third argument. */
  attribute(layout: Layout, sizeBytes?: number): { place: Place; sizeBytes: number } {
    const bytes = lay(layout);
    const given = sizeBytes ?? bytes.length;
    const room = new Uint8Array(Math.max(bytes.length, Math.min(given, PAGE + 1), BEHIND));
    room.fill(UNWRITTEN, Math.min(given, room.length));
    room.set(bytes);
    return { place: this.put(room), sizeBytes: given };
  }

  /** Makes a call, or repeats it, with the present contents of its attribute. */
  again(command: number, attribute: Place, sizeBytes: number): number {
    const fd = returnsDescriptor.has(command) ? this.#fds++ : 0;
    this.steps.push({ op: 'bpf', command, attribute: attribute.address, sizeBytes, fd });
    return fd;
  }

  /** Writes the process's own id to memory. */
  self(): Place {
    const place = this.room(4);
    this.steps.push({ op: 'self', to: place.address });
    this.differs('process id', place, 0);
    return place;
  }

  /** Lays out memory. */
  put(value: Layout | Uint8Array | string, protection: number = Protection.READ_WRITE): Place {
    const bytes =
      typeof value === 'string'
        ? Buffer.from(`${value}\0`)
        : value instanceof Uint8Array
          ? value
          : lay(value);
    const pages = Math.max(1, Math.ceil(bytes.length / PAGE));
    const end = this.#next + BigInt(pages * PAGE);
    this.#next = end + BigInt(PAGE);
    const place = { address: end - BigInt(bytes.length), sizeBytes: bytes.length };
    this.steps.push({ op: 'map', place, bytes, protection });
    return place;
  }

  /** Makes room for the kernel to write to. */
  room(sizeBytes: number, protection: number = Protection.READ_WRITE): Place {
    return this.put(new Uint8Array(sizeBytes).fill(UNWRITTEN), protection);
  }

  /** Copies between places, by byte offset. */
  copy(to: Place, toOffset: number, from: Place, fromOffset: number, sizeBytes = 4): void {
    this.steps.push({
      op: 'copy',
      to: to.address + BigInt(toOffset),
      from: from.address + BigInt(fromOffset),
      sizeBytes,
    });
  }

  /** Records whether two stretches of memory are equal, because their values may differ by run. */
  same(a: Place, aOffset: number, b: Place, bOffset: number, sizeBytes = 4): void {
    this.steps.push({
      op: 'same',
      to: this.room(4).address,
      a: a.address + BigInt(aOffset),
      b: b.address + BigInt(bOffset),
      sizeBytes,
    });
  }

  /** Opens a path for reading and returns the descriptor. */
  open(path: string): number {
    const fd = this.#fds++;
    this.steps.push({ op: 'open', path, fd });
    return fd;
  }

  /** Reads from a descriptor once. */
  read(fd: number, sizeBytes: number): Place {
    const place = this.room(sizeBytes);
    this.steps.push({ op: 'read', fd, address: place.address, sizeBytes });
    return place;
  }

  close(fd: number): void {
    this.steps.push({ op: 'close', fd });
  }

  /** Declares bytes that may differ. */
  differs(name: Reason, place: Place, offset: number, sizeBytes = 4): void {
    this.volatile.push({ name, place, what: { offset, sizeBytes } });
  }

  /** Declares words in text that may differ. */
  differsInText(name: Reason, place: Place, words: RegExp): void {
    this.volatile.push({ name, place, what: words });
  }
}

/** The bytes of a layout. */
export function lay(layout: Layout): Uint8Array {
  const parts = Object.entries(layout).map(([offset, value]) => ({
    offset: Number(offset),
    bytes: bytesOf(value),
  }));
  const size = Math.max(0, ...parts.map(({ offset, bytes }) => offset + bytes.length));
  const all = new Uint8Array(size);
  for (const { offset, bytes } of parts) all.set(bytes, offset);
  return all;
}

function bytesOf(value: Value): Uint8Array {
  if (typeof value === 'string') return Buffer.from(value);
  if (value instanceof Uint8Array) return value;
  const word = Buffer.alloc(typeof value === 'number' ? 4 : 8);
  if (typeof value === 'number') word.writeUInt32LE(value >>> 0);
  else word.writeBigUInt64LE(BigInt.asUintN(64, typeof value === 'bigint' ? value : value.address));
  return word;
}
