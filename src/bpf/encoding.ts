/*
 * Encodes every call and decodes its reply. The input is the image of an attribute, and a source
 * for the bytes and objects that the attribute refers to. The output is a call with relocations.
 * The reply gives the bytes that the kernel wrote. This module knows no command.
 */
import { type Call, type CallBuffer, type Handle, Relocation, type Reply } from '../call.js';
import { failure } from '../errors.js';
import {
  type CompiledStruct,
  type FdStep,
  type Lengths,
  type PointerStep,
  textOf,
} from './compile.js';
import { findInInstructions, findInKeys, findInValues, hidesFds } from './fds.js';
import { readU32, readU64, writeU32 } from './little-endian.js';
import type { Command, FdKind } from './rows.js';
import type { MapSpec } from './specs.js';

/**
 * The source of a structure's bytes and of the targets of its pointers: the caller's objects, or
 * another process's memory.
 */
export interface Source {
  /** The structure. Encoding replaces descriptors in it by handles. */
  readonly image: Uint8Array;
  /**
   * Returns whether the pointer is not NULL. Throws if the call must not have the pointer.
   *
   * @param length for an `out` pointer, the required room in bytes
   */
  refers(step: PointerStep, length: number): boolean;
  /** Returns the bytes behind an `in` or `inout` pointer. */
  bytes(step: PointerStep, encoding: Encoding): Uint8Array;
  /** Returns room of `length` bytes for the kernel's output behind an `out` pointer. */
  room(step: PointerStep, length: number): CallBuffer;
  /** Returns the texts behind a pointer to pointers, each with its NUL. */
  texts(step: PointerStep, encoding: Encoding): readonly Uint8Array[];
  /** Returns the structure behind a pointer. */
  struct(step: PointerStep, struct: CompiledStruct, encoding: Encoding): Source;
  /**
   * Returns the handle behind a descriptor, or 0 when there is none. `where` names the place of the
   * descriptor.
   */
  handle(descriptor: number, kinds: readonly FdKind[], where: string): Handle;
  /** Returns whether a descriptor without a handle is open on some other file. */
  isOpen(descriptor: number): boolean;
  /**
   * Returns the spec of a map, or `undefined` when the guest's kernel will refuse the call anyway.
   */
  map(handle: Handle, field: string): MapSpec | undefined;
  /** Called for a descriptor in a field whose flag is not set. */
  idle(step: FdStep): void;
}

/** Stands for a descriptor that the guest does not have: it is certainly closed. */
const CLOSED = 0xffffffff;
/** The last of the standard descriptors. The executor has them open, and bpf(2) cannot use them. */
const LAST_STANDARD = 2;
/** Stands for any other descriptor that is open: the executor's standard output. */
const FOREIGN = 1;

/** One encoding in progress: the call so far, and the facts that lengths depend on. */
export class Encoding implements Lengths {
  readonly command: Command;
  readonly call: Call;
  readonly possibleCpus: number;
  readonly source: Source;
  /** The indices into `fd_array` that the instructions use, if there are any. */
  reached: Set<number> | undefined;
  outputs = 0;
  // A call has one map. Several lengths depend on its spec.
  #handle: Handle = 0;
  #map: MapSpec | undefined;

  constructor(command: Command, source: Source, possibleCpus: number, result: Handle) {
    this.command = command;
    this.source = source;
    this.possibleCpus = possibleCpus;
    this.call = { command: command.command, args: 1, result, buffers: [], relocations: [] };
  }

  map(handle: Handle, field: string): MapSpec | undefined {
    if (handle === CLOSED) return undefined;
    if (handle !== this.#handle) {
      this.#map = this.source.map(handle, field);
      this.#handle = handle;
    }
    return this.#map;
  }

  /**
   * Adds a buffer and returns its index. `comesBack` says whether the reply contains the buffer.
   */
  place(buffer: CallBuffer, comesBack: boolean): number {
    if (comesBack) this.outputs++;
    return this.call.buffers.push(buffer) - 1;
  }

  /** Adds bytes that are sent. With `inout`, the reply contains them as well. */
  placeBytes(bytes: Uint8Array, inout: boolean): number {
    return inout ? this.place({ inout: bytes }, true) : this.place(bytes, false);
  }

  /** Returns a replacement for a descriptor without a handle that leads to the same error. */
  private absent(descriptor: number, kinds: readonly FdKind[]): number {
    if (!this.source.isOpen(descriptor) || kinds.includes('file')) return CLOSED;
    // The verifier's log tells the number.
    return descriptor <= LAST_STANDARD ? descriptor : FOREIGN;
  }

  /** Puts the handle of a descriptor into `bytes` and adds its relocation. */
  descriptor(
    bytes: Uint8Array,
    buffer: number,
    offset: number,
    kinds: readonly FdKind[],
    where: string,
  ): void {
    const descriptor = readU32(bytes, offset);
    const handle = this.source.handle(descriptor, kinds, where);
    const word = handle === 0 ? this.absent(descriptor, kinds) : handle;
    if (word !== descriptor) writeU32(bytes, offset, word);
    if (handle !== 0) this.call.relocations.push(buffer, offset, Relocation.FD32, handle);
  }
}

/** The encoded form of one structure, with the facts that decoding needs. */
export interface Frame {
  readonly struct: CompiledStruct;
  readonly source: Source;
  /** The index of the structure among the reply's outputs, or −1. */
  readonly output: number;
  /** Whether the structure is an argument of the call. Otherwise it is behind a pointer. */
  isArgument: boolean;
  /**
   * Two numbers for each pointer: 1 plus the index among the reply's outputs, or 0; and the length
   * in bytes.
   */
  readonly slots: number[];
  /** The frame of the structure behind each pointer that is not NULL. */
  children: Frame[] | undefined;
}

/** A structure that is an argument of the call, and the source of its bytes. */
export interface Argument {
  readonly struct: CompiledStruct;
  readonly source: Source;
}

/** The frames of a call's arguments. The attribute comes first. */
export type Frames = readonly [Frame, ...Frame[]];

/** Encodes the call's arguments, the attribute first, into `encoding.call`. */
export function encodeArguments(
  encoding: Encoding,
  ...all: readonly [Argument, ...Argument[]]
): Frames {
  const { stays, name } = encoding.command;
  if (stays !== undefined) throw failure('ERR_BPF_UNSUPPORTED', { command: name, ...stays });
  const outputs = all.map(({ struct, source }) => {
    const output = struct.answers ? encoding.outputs : -1;
    encoding.placeBytes(source.image, struct.answers);
    return output;
  });
  const frames = all.map(({ struct, source }, at) => {
    const frame = encodeStruct(struct, source, at, outputs[at] ?? -1, encoding);
    frame.isArgument = true;
    return frame;
  });
  return frames as [Frame, ...Frame[]];
}

function encodeStruct(
  struct: CompiledStruct,
  source: Source,
  buffer: number,
  output: number,
  encoding: Encoding,
): Frame {
  const { image } = source;
  for (const step of struct.fds) {
    const value = readU32(image, step.offset);
    if (!step.present(image, value)) {
      if (value !== 0 && step.flag !== undefined) source.idle(step);
    } else if (step.offset + 4 <= image.length) {
      encoding.descriptor(image, buffer, step.offset, step.kinds, step.name);
    }
  }
  for (const offset of struct.selves) {
    if (offset + 4 > image.length) continue;
    writeU32(image, offset, 0);
    encoding.call.relocations.push(buffer, offset, Relocation.PID, 0);
  }
  const slots: number[] = new Array(2 * struct.pointers.length);
  const frame: Frame = { struct, source, output, isArgument: false, slots, children: undefined };
  for (const step of struct.pointers) {
    const slot = 2 * step.index;
    const { flow } = step.field;
    const length = flow === 'out' ? outBytes(step, image, encoding) : 0;
    slots[slot] = 0;
    slots[slot + 1] = length;
    if (step.offset + 8 > image.length || !source.refers(step, length)) continue;
    if (flow !== 'in') slots[slot] = encoding.outputs + 1;
    const target =
      flow === 'out'
        ? placeRoom(step, source, frame, encoding)
        : placePointer(step, source, frame, encoding);
    encoding.call.relocations.push(buffer, step.offset, Relocation.POINTER, target);
  }
  return frame;
}

/** Places room for the kernel's output behind a pointer. Returns the index of the buffer. */
function placeRoom(
  step: PointerStep,
  source: Source,
  { slots }: Frame,
  encoding: Encoding,
): number {
  const length = 2 * step.index + 1;
  const room = source.room(step, slots[length] ?? 0);
  if (slots[length] === 0) slots[length] = lengthOf(room);
  return encoding.place(room, true);
}

function lengthOf(buffer: CallBuffer): number {
  if (typeof buffer === 'number') return buffer;
  return buffer instanceof Uint8Array ? buffer.length : buffer.inout.length;
}

/** Places the bytes behind a pointer. Returns the index of their buffer. */
function placePointer(step: PointerStep, source: Source, frame: Frame, encoding: Encoding): number {
  const { field, index } = step;
  if (step.struct !== undefined) {
    const child = source.struct(step, step.struct, encoding);
    const output = field.flow === 'inout' ? encoding.outputs : -1;
    const buffer = encoding.placeBytes(child.image, output >= 0);
    frame.children ??= [];
    frame.children[index] = encodeStruct(step.struct, child, buffer, output, encoding);
    return buffer;
  }
  if (field.type === 'strings') return placeTexts(source.texts(step, encoding), encoding);
  const bytes = source.bytes(step, encoding);
  frame.slots[2 * index + 1] = bytes.length;
  const buffer = encoding.placeBytes(bytes, field.flow === 'inout');
  if (field.type === 'fds') placeFds(step, source.image, bytes, buffer, encoding);
  else if (field.type === 'buffer' && field.holds !== undefined) {
    holders[field.holds](step, source.image, bytes, buffer, encoding);
  }
  return buffer;
}

/** Returns the length of the bytes behind a pointer, from the image alone. */
export function outBytes(step: PointerStep, image: Uint8Array, encoding: Encoding): number {
  const unit = step.unit(image, encoding);
  return step.countOffset < 0 ? unit : unit * readU32(image, step.countOffset);
}

/** Texts share one buffer. A word that becomes a pointer holds the offset of its text. */
function placeTexts(texts: readonly Uint8Array[], encoding: Encoding): number {
  const pointers = new Uint8Array(8 * texts.length);
  const buffer = encoding.placeBytes(pointers, false);
  const target = encoding.placeBytes(Buffer.concat(texts), false);
  let offset = 0;
  texts.forEach((text, at) => {
    writeU32(pointers, 8 * at, offset);
    encoding.call.relocations.push(buffer, 8 * at, Relocation.POINTER, target);
    offset += text.length;
  });
  return buffer;
}

/**
 * With a count the kernel reads every descriptor. Without one, it reads those that the instructions
 * use.
 */
function placeFds(
  step: PointerStep,
  image: Uint8Array,
  bytes: Uint8Array,
  buffer: number,
  encoding: Encoding,
): void {
  const { field } = step;
  const kinds = field.type === 'fds' ? field.kinds : [];
  const all = readU32(image, step.countOffset) !== 0;
  for (let at = 0; at + 4 <= bytes.length; at += 4) {
    if (all || encoding.reached?.has(at / 4) === true) {
      encoding.descriptor(bytes, buffer, at, kinds, `${step.name}[${at / 4}]`);
    }
  }
}

type Holder = (
  step: PointerStep,
  image: Uint8Array,
  bytes: Uint8Array,
  buffer: number,
  encoding: Encoding,
) => void;

const elements =
  (find: typeof findInKeys): Holder =>
  (step, image, bytes, buffer, encoding) => {
    const map = encoding.map(readU32(image, step.mapOffset), step.name);
    if (map === undefined || !hidesFds(map)) return;
    find(map, bytes, step.unit(image, encoding), encoding.command.name, (offset, kinds, where) =>
      encoding.descriptor(bytes, buffer, offset, kinds, where),
    );
  };

const holders: { readonly [holding: string]: Holder } & Record<
  'instructions' | 'mapKeys' | 'mapValues',
  Holder
> = {
  instructions: (_step, _image, bytes, buffer, encoding) => {
    findInInstructions(
      bytes,
      (offset, kinds, where) => encoding.descriptor(bytes, buffer, offset, kinds, where),
      (index) => {
        encoding.reached ??= new Set();
        encoding.reached.add(index);
      },
    );
  },
  mapKeys: elements(findInKeys),
  mapValues: elements(findInValues),
};

/** Returns the structure from the reply, if the reply has it. */
export function returned(frame: Frame, reply: Reply): Uint8Array | undefined {
  return frame.output < 0 ? undefined : reply.outputs[frame.output];
}

/**
 * Returns whether the kernel removed a pointer from a structure behind another pointer. The kernel
 * does so with instructions that it does not show. The executor returns all ones in place of each
 * pointer that the kernel has not removed.
 */
export function withheld(step: PointerStep, frame: Frame, reply: Reply): boolean {
  const image = frame.isArgument ? undefined : returned(frame, reply);
  return image !== undefined && readU64(image, step.offset) === 0n;
}

/**
 * Returns the bytes that the kernel wrote behind a pointer, or `undefined` when the pointer was
 * NULL or the kernel removed it.
 */
export function written(step: PointerStep, frame: Frame, reply: Reply): Uint8Array | undefined {
  const slot = frame.slots[2 * step.index] ?? 0;
  const bytes = slot === 0 ? undefined : reply.outputs[slot - 1];
  if (bytes === undefined || withheld(step, frame, reply)) return undefined;
  const asked = frame.slots[2 * step.index + 1] ?? 0;
  const length = Math.min(bytes.length, asked, countedBytes(step, asked, frame, reply));
  return bytes.length === length ? bytes : bytes.subarray(0, length);
}

function countedBytes(step: PointerStep, room: number, frame: Frame, reply: Reply): number {
  if (frame.struct.resultIsLength) return Math.max(0, reply.result);
  const image = step.counted ? returned(frame, reply) : undefined;
  if (image === undefined) return Number.POSITIVE_INFINITY;
  const asked = readU32(frame.source.image, step.countOffset);
  const { length } = step.field;
  if (asked === 0 && length.by === 'field' && length.unlimited !== undefined) {
    return readU32(image, step.countOffset);
  }
  return asked === 0 ? 0 : (room / asked) * readU32(image, step.countOffset);
}

/** Returns the kernel's output in one structure and behind its pointers, by field name. */
export function decodeFrame(frame: Frame, reply: Reply): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  const { struct } = frame;
  const image = returned(frame, reply);
  if (image !== undefined) {
    for (const step of struct.outputs) values[step.name] = step.read(image);
  }
  for (const step of struct.pointers) {
    const { field, name } = step;
    if (field.flow === 'in') continue;
    const child = frame.children?.[step.index];
    if (child !== undefined) {
      values[name] = decodeFrame(child, reply);
      continue;
    }
    const bytes = written(step, frame, reply);
    if (bytes === undefined) {
      if (step.certain) values[name] = new Uint8Array(0);
    } else {
      values[name] = field.type === 'string' ? textOf(bytes) : bytes;
    }
  }
  return values;
}
