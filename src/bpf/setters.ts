/* Arguments by name: one function per field that checks a value and writes it to the structure. */
import type { Handle } from '../call.js';
import { failure } from '../errors.js';
import type { FdKind, Field, PointerField } from './rows.js';
import type { Ref } from './types.js';
import { writeU32, writeU64 } from './words.js';

/** Writes one argument to the structure, or keeps it as what a pointer refers to. */
export type Setter = (
  image: Uint8Array,
  operands: unknown[],
  value: unknown,
  command: string,
) => void;

/**
 * Makes the setter of a field, or nothing when callers cannot set it.
 *
 * @param index the field's place among the structure's pointers, if it is one
 */
export function setterOf(name: string, field: Field, index: number): Setter | undefined {
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
    case 'self':
      return undefined;
    case 'chars':
      return (image, _, value, command) => setChars(image, field, value, command, name);
    case 'bytes':
      return (image, _, value, command) => {
        if (!(value instanceof Uint8Array) || value.length !== field.sizeBytes) {
          throw bad(command, name, value, `a Uint8Array of ${field.sizeBytes} bytes`);
        }
        image.set(value, offset);
      };
  }
}

/** What a pointer's operand must be. */
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

/** The handle in an argument that refers to an object. */
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

/** The error of an argument that does not fit. */
export function bad(command: string, field: string, value: unknown, expected: string): Error {
  return failure('ERR_BPF_FIELD', {
    command,
    field,
    value: value instanceof Uint8Array ? `${value.length} bytes` : value,
    expected,
  });
}
