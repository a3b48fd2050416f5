/* BTF, byte by byte. */
import { words } from './objects.js';

const INT = 1;
const STRUCT = 4;

/** One type: its name's offset, kind and count, size, and what follows. */
export function btfType(
  name: number,
  kind: number,
  count: number,
  size: number,
  ...more: number[]
): Uint8Array {
  return words(name, (kind << 24) | count, size, ...more);
}

/** A whole BTF of types and names; names are referred to by their offset in the text. */
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

/** As `integers`, and type 2 is `struct pair { int first; int second; }`. */
export const pair = btf(
  [integer, btfType(5, STRUCT, 2, 8, 10, 1, 0, 16, 1, 32)],
  '\0int\0pair\0first\0second\0',
);
