/*
 * The positions of the words that rules are about, from the table of commands. A C compiler
 * verifies the table.
 */
import { fieldBytes, OPERATION_MASK, rows, type Struct } from '../bpf/index.js';

/** Returns the offset of a field in its structure, in bytes. */
export function offsetIn(row: Struct, name: string): number {
  const field = row.fields[name];
  if (field === undefined) throw new TypeError(`${row.name} has no field ${name}`);
  return field.offset;
}

/** Returns the offset and the width in bytes of a field of at most 8 bytes. */
export function wordIn(row: Struct, name: string): { offset: number; width: 4 | 8 } {
  const field = row.fields[name];
  const width = field === undefined ? 0 : fieldBytes(field);
  if (width !== 4 && width !== 8) throw new TypeError(`${row.name} has no word ${name}`);
  return { offset: offsetIn(row, name), width };
}

/**
 * Returns the position of a pointer to text, and the maximum size that the kernel reads, with the
 * NUL.
 */
export function textIn(row: Struct, name: string): { pointer: number; maximum: number } {
  const field = row.fields[name];
  if (field?.type === 'strings') return { pointer: field.offset, maximum: field.maximumBytes };
  if (field?.type === 'string' && field.length.by === 'nul') {
    return { pointer: field.offset, maximum: field.length.maximumBytes };
  }
  throw new TypeError(`${row.name} has no text ${name}`);
}

/** Returns the position and the size of a text that is a field itself. */
export function charactersIn(row: Struct, name: string): { offset: number; size: number } {
  const field = row.fields[name];
  if (field?.type !== 'chars') throw new TypeError(`${row.name} has no characters ${name}`);
  return { offset: field.offset, size: field.sizeBytes };
}

/** Returns the common part of checks of a program's instructions. */
export const instructions = (pattern: number, mask: number = OPERATION_MASK) =>
  ({
    kind: 'records',
    records: {
      pointer: offsetIn(rows.PROG_LOAD, 'insns'),
      count: offsetIn(rows.PROG_LOAD, 'insn_cnt'),
      mask,
      pattern,
    },
  }) as const;
