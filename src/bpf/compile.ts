/*
 * Compiles each row into steps, once. The steps decide in advance what an encoder does for each
 * field. A call then looks up only the caller's own fields by name.
 */
import type { Handle } from '../call.js';
import { failure } from '../errors.js';
import { fieldOffset, readU32, readU64, writeU32, writeU64 } from './little-endian.js';
import type { Command, FdKind, Field, Length, PointerField, Presence, Struct } from './rows.js';
import { batchTokenBytes, type MapSpec, valueBytes } from './specs.js';
import type { Ref } from './types.js';

/** The facts that unit lengths depend on. */
export interface Lengths {
  readonly possibleCpus: number;
  /**
   * Returns the spec of the map behind a handle, or `undefined` when the kernel will refuse the
   * map.
   */
  map(handle: number, field: string): MapSpec | undefined;
}

export interface FdStep {
  readonly name: string;
  readonly offset: number;
  readonly kinds: readonly FdKind[];
  /** The flag field that must allow the descriptor, if there is one. */
  readonly flag?: string;
  present(image: Uint8Array, value: number): boolean;
}

export interface PointerStep {
  readonly name: string;
  /** The structure that contains the pointer. */
  readonly row: Struct;
  /** The index among the structure's pointers. */
  readonly index: number;
  readonly offset: number;
  readonly field: PointerField;
  /** The offset of the count by which the unit is multiplied, or −1 when there is none. */
  readonly countOffset: number;
  readonly countName: string;
  /** Whether the kernel writes to the count how many units there are. */
  readonly counted: boolean;
  /** Whether a result always has bytes behind the pointer. */
  readonly certain: boolean;
  /** Returns the bytes of one unit: the length, or the length divided by the count. */
  unit(image: Uint8Array, lengths: Lengths): number;
  /** The offset of the map field to which keys or values belong. */
  readonly mapOffset: number;
  readonly struct?: CompiledStruct;
}

interface OutputStep {
  readonly name: string;
  readonly offset: number;
  readonly sizeBytes: number;
  /** Whether the kernel writes the field only to a structure that is long enough. */
  readonly late: boolean;
  /** Whether the kernel also reads the field, like a count. */
  readonly inout: boolean;
  read(image: Uint8Array): number | bigint | boolean | string | Uint8Array;
}

/** A row in the form that an encoder uses. */
export interface CompiledStruct {
  readonly row: Struct;
  /** The bytes of the fields that every kernel knows, and of the outputs. A multiple of 8. */
  readonly baseBytes: number;
  /** The bytes up to the last output that the kernel writes even to a shorter structure. */
  readonly writtenBytes: number;
  /** The bytes of all fields. A multiple of 8. */
  readonly fullBytes: number;
  readonly fds: readonly FdStep[];
  /** The offsets of process ids that must be the one of the calling process. */
  readonly selves: readonly number[];
  /**
   * The pointers in the order of their placement. A pointer that a length depends on comes first.
   */
  readonly pointers: readonly PointerStep[];
  readonly outputs: readonly OutputStep[];
  /** Whether the call's result is the number of bytes that the kernel wrote behind the pointers. */
  readonly resultIsLength: boolean;
  /** Whether the kernel writes to the structure itself. */
  readonly answers: boolean;
  /** The functions that put callers' values into the structure, by field name. */
  readonly setters: ReadonlyMap<string, Setter>;
  /** The ends of the fields beyond the base, in bytes, by name. */
  readonly late: ReadonlyMap<string, number>;
}

const widths: { readonly [type: string]: number } = { u32: 4, s32: 4, bit: 4, fd: 4, self: 4 };

/** Returns the bytes of a field in its structure. */
export function fieldBytes(field: Field): number {
  return 'sizeBytes' in field ? field.sizeBytes : (widths[field.type] ?? 8);
}

const compiled = new WeakMap<Struct, CompiledStruct>();

// Most calls repeat the previous one.
let latest: CompiledStruct | undefined;

/** Returns the compiled form of a row. */
export function compiledOf(row: Struct): CompiledStruct {
  if (latest?.row === row) return latest;
  let struct = compiled.get(row);
  if (struct === undefined) {
    struct = compile(row);
    compiled.set(row, struct);
  }
  latest = struct;
  return struct;
}

function compile(row: Struct): CompiledStruct {
  const fds: FdStep[] = [];
  const selves: number[] = [];
  const pointers: PointerField[] = [];
  const names: string[] = [];
  const outputs: OutputStep[] = [];
  const late = new Map<string, number>();
  const setters = new Map<string, Setter>();
  let base = 0;
  let full = 0;
  let written = 0;
  for (const [name, field] of Object.entries(row.fields)) {
    const end = field.offset + fieldBytes(field);
    full = Math.max(full, end);
    const setter = setterOf(name, field, pointers.length);
    if (setter !== undefined) setters.set(name, setter);
    const comesBack = field.flow !== 'in' && !isPointer(field);
    if (field.since === undefined || comesBack) base = Math.max(base, end);
    else late.set(name, Math.max(end, countEnd(row, field)));
    if (field.type === 'fd') {
      const twin = fds.findIndex((other) => other.offset === field.offset);
      if (twin < 0) fds.push(fdStep(row, name, field));
      else fds[twin] = merged(fds[twin] as FdStep, field.kinds);
    } else if (field.type === 'self') {
      selves.push(field.offset);
    } else if (isPointer(field)) {
      names.push(name);
      pointers.push(field);
    } else if (field.flow !== 'in') {
      if (field.since === undefined) written = Math.max(written, end);
      outputs.push({
        name,
        offset: field.offset,
        sizeBytes: fieldBytes(field),
        late: field.since !== undefined,
        inout: field.flow === 'inout',
        read: reader(field),
      });
    }
  }
  const steps = pointers.map((field, index) => pointerStep(row, names[index] ?? '', index, field));
  return {
    row,
    baseBytes: roundUp8(base),
    writtenBytes: written,
    fullBytes: roundUp8(full),
    fds,
    selves,
    pointers: steps.sort((a, b) => Number(a.field.flow === 'out') - Number(b.field.flow === 'out')),
    outputs,
    resultIsLength: (row as Partial<Command>).returns === 'length',
    answers: outputs.length > 0,
    setters,
    late,
  };
}

/**
 * Returns the end of a count that follows from the bytes. The count is written, so the structure
 * must include it.
 */
function countEnd(row: Struct, field: Field): number {
  if (!isPointer(field) || field.length.by === 'usedFds') return 0;
  const count = countField(field.length);
  return count === undefined ? 0 : fieldOffset(row, count) + 4;
}

function isPointer(field: Field): field is PointerField {
  return 'nullable' in field;
}

export function roundUp8(value: number): number {
  return Math.ceil(value / 8) * 8;
}

function fdStep(row: Struct, name: string, field: Field & { type: 'fd' }): FdStep {
  const { offset, kinds, present } = field;
  const flagged = typeof present === 'object' && 'flag' in present;
  return {
    name,
    offset,
    kinds,
    present: presence(row, present),
    ...(flagged ? { flag: present.flag[0] } : {}),
  };
}

function merged(step: FdStep, kinds: readonly FdKind[]): FdStep {
  return { ...step, kinds: [...step.kinds, ...kinds] };
}

function presence(row: Struct, rule: Presence): FdStep['present'] {
  if (rule === 'always') return () => true;
  if (rule === 'nonzero') return (_, value) => value !== 0;
  const [field, bit] = 'flag' in rule ? rule.flag : rule.unless;
  const offset = fieldOffset(row, field);
  return 'flag' in rule
    ? (image) => (readU32(image, offset) & bit) !== 0
    : (image, value) => value !== 0 && (readU32(image, offset) & bit) === 0;
}

function pointerStep(row: Struct, name: string, index: number, field: PointerField): PointerStep {
  const length = field.length;
  const countName = countField(length);
  const countOffset = countName === undefined ? -1 : fieldOffset(row, countName);
  const count = countName === undefined ? undefined : row.fields[countName];
  return {
    name,
    row,
    index,
    offset: field.offset,
    field,
    countOffset,
    countName: countName ?? '',
    // Text ends with its NUL. A count of text is not always the written length.
    counted: count?.flow === 'inout' && field.type !== 'string',
    certain: !field.nullable && (length.by === 'mapKey' || length.by === 'mapValue'),
    unit: unit(row, length),
    mapOffset: 'map' in length ? fieldOffset(row, length.map) : -1,
    ...(field.type === 'struct' ? { struct: compiledOf(field.struct) } : {}),
  };
}

function countField(length: Length): string | undefined {
  if (length.by === 'field') return length.field;
  return 'count' in length ? length.count : undefined;
}

function unit(row: Struct, length: Length): PointerStep['unit'] {
  switch (length.by) {
    case 'field': {
      const { times } = length;
      if (typeof times === 'number') return () => times;
      const offset = fieldOffset(row, times);
      return (image) => readU32(image, offset);
    }
    case 'nul':
      return () => length.maximumBytes;
    case 'usedFds':
      return () => 4;
    case 'mapKey': {
      const offset = fieldOffset(row, length.map);
      return (image, lengths) => lengths.map(readU32(image, offset), length.map)?.keySize ?? 0;
    }
    case 'batchToken': {
      const offset = fieldOffset(row, length.map);
      return (image, lengths) => {
        const map = lengths.map(readU32(image, offset), length.map);
        return map === undefined ? 0 : batchTokenBytes(map);
      };
    }
    case 'mapValue': {
      const offset = fieldOffset(row, length.map);
      const flags = length.flags === undefined ? -1 : fieldOffset(row, length.flags);
      return (image, lengths) => {
        const map = lengths.map(readU32(image, offset), length.map);
        if (map === undefined) return 0;
        return valueBytes(map, lengths.possibleCpus, flags < 0 ? 0 : readU32(image, flags));
      };
    }
  }
}

/** Returns text up to its NUL, or all of it. */
export function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  const { buffer, byteOffset, length } = bytes;
  return Buffer.from(buffer, byteOffset, end < 0 ? length : end).toString();
}

function reader(field: Field): OutputStep['read'] {
  const { offset } = field;
  const end = offset + fieldBytes(field);
  switch (field.type) {
    case 'u64':
      return (image) => readU64(image, offset);
    case 's32':
      return (image) => readU32(image, offset) | 0;
    case 'bit':
      return (image) => (readU32(image, offset) & 1) !== 0;
    case 'chars':
      return (image) => textOf(image.subarray(offset, end));
    case 'bytes':
      return (image) => image.slice(offset, end);
    default:
      return (image) => readU32(image, offset);
  }
}

/* Arguments by name. One function for each field checks a value and writes it to the structure. */

/** Writes one argument to the structure, or keeps it as the target of a pointer. */
type Setter = (image: Uint8Array, operands: unknown[], value: unknown, command: string) => void;

/**
 * Returns the setter of a field, or nothing when callers cannot set the field.
 *
 * @param index the field's index among the structure's pointers, if the field is a pointer
 */
function setterOf(name: string, field: Field, index: number): Setter | undefined {
  if ('nullable' in field) return operandSetter(name, field, index);
  if (field.flow === 'out') return undefined;
  const { offset } = field;
  switch (field.type) {
    case 'u32':
    case 'bit':
      return (image, _, value, command) => {
        if (typeof value !== 'number' || value >>> 0 !== value) {
          throw bad(command, name, value, 'an integer from 0 to 4294967295');
        }
        writeU32(image, offset, value);
      };
    case 's32':
      return (image, _, value, command) => {
        if (typeof value !== 'number' || (value | 0) !== value) {
          throw bad(command, name, value, 'an integer from -2147483648 to 2147483647');
        }
        writeU32(image, offset, value);
      };
    case 'u64':
      return (image, _, value, command) => setU64(image, offset, value, command, name);
    case 'fd':
      return (image, _, value, command) => {
        writeU32(image, offset, handleOf(value, field.kinds, command, name));
      };
    case 'chars':
      return (image, _, value, command) => setChars(image, field, value, command, name);
    // The executor puts in process ids. Only kernels write plain bytes.
    case 'self':
    case 'bytes':
      return undefined;
  }
}

/** What a pointer's argument must be. */
export const accepted: {
  readonly [T in PointerField['type']]: readonly [(value: unknown) => boolean, string];
} = {
  buffer: [(value) => value instanceof Uint8Array, 'a Uint8Array'],
  string: [(value) => typeof value === 'string', 'a string'],
  strings: [Array.isArray, 'an array of strings'],
  fds: [Array.isArray, 'an array of objects with a handle'],
  struct: [(value) => typeof value === 'object', 'an object'],
};

function operandSetter(name: string, field: PointerField, index: number): Setter | undefined {
  if (field.flow === 'out' && !field.nullable) return undefined;
  const [fits, expected] =
    field.flow === 'out'
      ? ([(value: unknown) => typeof value === 'boolean', 'a boolean'] as const)
      : accepted[field.type];
  return (_, operands, value, command) => {
    if (value !== null && !fits(value)) throw bad(command, name, value, expected);
    operands[index] = value;
  };
}

function setU64(
  image: Uint8Array,
  offset: number,
  value: unknown,
  command: string,
  name: string,
): void {
  if (Number.isSafeInteger(value) && (value as number) >= 0) {
    const number = value as number;
    writeU32(image, offset, number % 0x100000000);
    writeU32(image, offset + 4, number / 0x100000000);
  } else if (typeof value === 'bigint' && BigInt.asUintN(64, value) === value) {
    writeU64(image, offset, value);
  } else {
    throw bad(command, name, value, 'a safe integer or a bigint from 0 to 2^64 - 1');
  }
}

function setChars(
  image: Uint8Array,
  field: Field & { sizeBytes: number },
  value: unknown,
  command: string,
  name: string,
): void {
  const text = typeof value === 'string' ? Buffer.from(value) : undefined;
  if (text === undefined || text.length >= field.sizeBytes || text.includes(0)) {
    throw bad(command, name, value, `text of at most ${field.sizeBytes - 1} bytes without NUL`);
  }
  image.set(text, field.offset);
}

/** Returns the handle in an argument that refers to an object. */
export function handleOf(
  value: unknown,
  kinds: readonly FdKind[],
  command: string,
  name: string,
): Handle {
  const handle = (value as Ref | null)?.handle;
  if (typeof handle !== 'number' || handle < 1 || handle >>> 0 !== handle) {
    throw bad(command, name, value, `an object with the handle of a ${kinds.join(' or ')}`);
  }
  return handle;
}

/** Returns the error of an argument that does not fit. */
export function bad(command: string, field: string, value: unknown, expected: string): Error {
  return failure('ERR_BPF_FIELD', {
    command,
    field,
    value: value instanceof Uint8Array ? `${value.length} bytes` : value,
    expected,
  });
}
