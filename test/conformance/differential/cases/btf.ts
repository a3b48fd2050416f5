/* Builds BTF, byte by byte. */
import { words } from './objects.js';

const INT = 1;
const STRUCT = 4;

/** Returns one type: the offset of its name, its kind and count, its size, and further words. */
export function btfType(
  name: number,
  kind: number,
  count: number,
  size: number,
  ...more: number[]
): Uint8Array {
  return words(name, (kind << 24) | count, size, ...more);
}

/** Returns a whole BTF. Types refer to names by their offset in the text. */
export function btf(types: readonly Uint8Array[], names: string): Uint8Array {
  const all = Buffer.concat(types);
  const text = Buffer.from(names);
  const header = words(0x0001eb9f, 24, 0, all.length, all.length, text.length);
  return Buffer.concat([header, all, text]);
}

/** `int` as type 1. */
export const integer = btfType(1, INT, 0, 4, 0x01000020);

/** The BTF of maps with 4-byte keys and values: type 1 is both. */
export const integers = btf([integer], '\0int\0');

/** The same, with `struct pair { int first; int second; }` as type 2. */
export const pair = btf(
  [integer, btfType(5, STRUCT, 2, 8, 10, 1, 0, 16, 1, 32)],
  '\0int\0pair\0first\0second\0',
);
