/* Where the table of commands, which a C compiler proves, has what rules are about. */
import { fieldBytes, OPERATION_MASK, rows, type Struct } from '../bpf/index.js';

/** The offset of a field in its structure, in bytes. */
export function offsetIn(row: Struct, name: string): number {
  const field = row.fields[name];
  if (field === undefined) throw new TypeError(`${row.name} has no field ${name}`);
  return field.offset;
}

/** The offset and the bytes of a field of at most 8 bytes. */
export function wordIn(row: Struct, name: string): { offset: number; width: 4 | 8 } {
  const field = row.fields[name];
  const width = field === undefined ? 0 : fieldBytes(field);
  if (width !== 4 && width !== 8) throw new TypeError(`${row.name} has no word ${name}`);
  return { offset: offsetIn(row, name), width };
}

/** How many bytes of a text behind a pointer the kernel reads at most, its NUL included. */
export function textIn(row: Struct, name: string): { pointer: number; maximum: number } {
  const field = row.fields[name];
  if (field?.type === 'strings') return { pointer: field.offset, maximum: field.maximumBytes };
  if (field?.type === 'string' && field.length.by === 'nul') {
    return { pointer: field.offset, maximum: field.length.maximumBytes };
  }
  throw new TypeError(`${row.name} has no text ${name}`);
}

/** The text of fixed size that is a field itself. */
export function charactersIn(row: Struct, name: string): { offset: number; size: number } {
  const field = row.fields[name];
  if (field?.type !== 'chars') throw new TypeError(`${row.name} has no characters ${name}`);
  return { offset: field.offset, size: field.sizeBytes };
}

/** What checks of a program's instructions have in common. */
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
