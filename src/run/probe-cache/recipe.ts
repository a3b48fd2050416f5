/*
 * Recipes: they distinguish calls of a command by the bytes alone. They are derived from the
 * command's row, for addon/core/supervisor/verdict_cache.h.
 */
import { compiledOf, type PointerStep } from '../../bpf/compile.js';
import { fieldOffset } from '../../bpf/little-endian.js';
import type { Command } from '../../bpf/rows.js';

/** A pointer in an attribute. */
interface RecipePointer {
  /** The offset of the pointer in the attribute. */
  readonly offset: number;
  /** Whether the kernel reads bytes there, reads text up to its NUL, or writes there. */
  readonly kind: 'bytes' | 'text' | 'output';
  /** The offset in the attribute of the number of units. It is 0 for text. */
  readonly countOffset: number;
  /** The size of a unit in bytes. For text, the maximum length. */
  readonly unit: number;
  /**
   * Whether the pointer leads to instructions. A call whose instructions refer to a descriptor is
   * left out.
   */
  readonly instructions: boolean;
}

/** Defines which calls of a command are distinguished, and by which bytes. */
export interface Recipe {
  readonly command: number;
  /**
   * The fields that must be zero: descriptors, and pointers whose meaning the bytes alone do not
   * give.
   */
  readonly zeroes: readonly (readonly [offset: number, length: number])[];
  readonly pointers: readonly RecipePointer[];
}

/** Returns the recipe of a command, for calls in which the fields `absent` are zero as well. */
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

/** The bytes of an instruction. The upper half of its second byte says what it refers to. */
const INSTRUCTION_RULE = [8, 1, 0xf0];
const NO_RULE = [0, 0, 0];

/**
 * Encodes a recipe as words for addon/core/supervisor/verdict_cache.h.
 *
 * @param architecture the AUDIT_ARCH_* of the calls
 * @param number the number of bpf(2) on this architecture
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
