/*
 * How the calls of a command are told apart by their bytes alone, from the command's row: what
 * addon/core/supervisor/verdict_cache.h is told.
 */
import { compiledOf, type PointerStep } from '../../bpf/compile.js';
import { fieldOffset } from '../../bpf/little-endian.js';
import type { Command } from '../../bpf/rows.js';

/** What a pointer in an attribute leads to. */
export interface RecipePointer {
  /** Its offset in the attribute. */
  readonly offset: number;
  /** Bytes that the kernel reads, text that it reads up to its NUL, or what it writes to. */
  readonly kind: 'bytes' | 'text' | 'output';
  /** Where the attribute has the count of units; 0 for text. */
  readonly countOffset: number;
  /** The bytes of a unit; of text, the most that it can have. */
  readonly unit: number;
  /** Calls in which it is for a descriptor, by instructions that refer to one, are left out. */
  readonly instructions: boolean;
}

/** Which calls of a command are told apart, and by what. */
export interface Recipe {
  readonly command: number;
  /** What must be zero: descriptors, and pointers to what bytes alone do not tell. */
  readonly zeroes: readonly (readonly [offset: number, length: number])[];
  readonly pointers: readonly RecipePointer[];
}

/** The recipe of a command, of calls in which the fields `absent` are zero as well. */
export function recipeOf(shape: Command, absent: readonly string[] = []): Recipe {
  const struct = compiledOf(shape);
  const zeroes: [number, number][] = struct.fds.map(({ offset }) => [offset, 4]);
  for (const name of absent) {
    const field = shape.fields[name];
    const length = field !== undefined && 'sizeBytes' in field ? field.sizeBytes : 4;
    zeroes.push([fieldOffset(shape, name), length]);
  }
  for (const offset of struct.selves) zeroes.push([offset, 4]);
  const pointers: RecipePointer[] = [];
  for (const step of struct.pointers) {
    const pointer = pointerOf(step);
    if (pointer === undefined) zeroes.push([step.offset, 8]);
    else pointers.push(pointer);
  }
  return { command: shape.command, zeroes, pointers };
}

function pointerOf({ field, offset, countOffset }: PointerStep): RecipePointer | undefined {
  const { flow, length } = field;
  if (flow === 'inout' || (field.type !== 'buffer' && field.type !== 'string')) return undefined;
  const holds = field.type === 'buffer' ? field.holds : undefined;
  const instructions = holds === 'instructions';
  if (holds !== undefined && !instructions) return undefined;
  if (length.by === 'nul' && flow === 'in') {
    return { offset, kind: 'text', countOffset: 0, unit: length.maximumBytes, instructions };
  }
  if (length.by !== 'field' || typeof length.times !== 'number') return undefined;
  if (length.unlimited !== undefined) return undefined;
  const kind = flow === 'in' ? 'bytes' : 'output';
  return { offset, kind, countOffset, unit: length.times, instructions };
}

const kinds = { bytes: 0, text: 1, output: 2 } as const;

/** Instructions have 8 bytes; the upper half of the second says what else they refer to. */
const INSTRUCTION_RULE = [8, 1, 0xf0];
const NO_RULE = [0, 0, 0];

/**
 * A recipe in the words of addon/core/supervisor/verdict_cache.h.
 *
 * @param architecture the AUDIT_ARCH_* of calls
 * @param number bpf(2) there
 */
export function recipeWords(recipe: Recipe, architecture: number, number: number): Uint32Array {
  const { command, zeroes, pointers } = recipe;
  return Uint32Array.from([
    architecture,
    number,
    command,
    zeroes.length,
    ...zeroes.flat(),
    pointers.length,
    ...pointers.flatMap(({ offset, kind, countOffset, unit, instructions }) => [
      offset,
      kinds[kind],
      countOffset,
      unit,
      ...(instructions ? INSTRUCTION_RULE : NO_RULE),
    ]),
  ]);
}
