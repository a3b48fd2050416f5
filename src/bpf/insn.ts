/*
 * A small assembler: one function per instruction, `program` to join them.
 *
 * Kernel source: Documentation/bpf/standardization/instruction-set.rst.
 */
import type { Handle } from '../call.js';
import { Pseudo } from './fds.js';
import { writeU32, writeU64 } from './little-endian.js';

/** A register: `r0` holds results, `r1`…`r5` arguments, `r6`…`r9` survive calls. */
export type Register = 'r0' | 'r1' | 'r2' | 'r3' | 'r4' | 'r5' | 'r6' | 'r7' | 'r8' | 'r9' | 'r10';

/** The width of a memory access in bytes. */
export type Width = 1 | 2 | 4 | 8;

/** One instruction of 8 or 16 bytes, or a label to jump to. */
export type Instruction =
  | Uint8Array
  | { readonly jump: string; readonly bytes: Uint8Array }
  | { readonly function: string; readonly bytes: Uint8Array }
  | Label;

/** A place in a program. */
export interface Label {
  readonly label: string;
}

const numberOf = (register: Register) => Number(register.slice(1));

function instruction(
  code: number,
  to: Register = 'r0',
  from: Register | number = 'r0',
  offset = 0,
  immediate = 0,
): Uint8Array {
  const bytes = new Uint8Array(8);
  const source = typeof from === 'number' ? from : numberOf(from);
  bytes[0] = code;
  bytes[1] = numberOf(to) | (source << 4);
  bytes[2] = offset;
  bytes[3] = offset >> 8;
  writeU32(bytes, 4, immediate);
  return bytes;
}

function load64(to: Register, pseudo: number, low: number, high: number): Uint8Array {
  const bytes = new Uint8Array(16);
  bytes.set(instruction(0x18, to, pseudo, 0, low));
  writeU32(bytes, 12, high);
  return bytes;
}

const operations = {
  add: 0x00,
  sub: 0x10,
  mul: 0x20,
  div: 0x30,
  or: 0x40,
  and: 0x50,
  lsh: 0x60,
  rsh: 0x70,
  mod: 0x90,
  xor: 0xa0,
  mov: 0xb0,
  arsh: 0xc0,
} as const;

const comparisons = {
  eq: 0x10,
  gt: 0x20,
  ge: 0x30,
  set: 0x40,
  ne: 0x50,
  sgt: 0x60,
  sge: 0x70,
  lt: 0xa0,
  le: 0xb0,
  slt: 0xc0,
  sle: 0xd0,
} as const;

const sizes: { readonly [W in Width]: number } = { 4: 0x00, 2: 0x08, 1: 0x10, 8: 0x18 };

/** 64-bit arithmetic: `alu('add', 'r1', 8)`, `alu('mov', 'r6', 'r1')`. */
export const alu = (operation: keyof typeof operations, to: Register, from: Register | number) =>
  typeof from === 'number'
    ? instruction(0x07 | operations[operation], to, 0, 0, from)
    : instruction(0x0f | operations[operation], to, from);

/** `to = from`, which is a register or a 32-bit number that is sign-extended. */
export const mov = (to: Register, from: Register | number) => alu('mov', to, from);

/** `to = *(from + offset)`. */
export const load = (width: Width, to: Register, from: Register, offset: number) =>
  instruction(0x61 | sizes[width], to, from, offset);

/** `*(to + offset) = from`, which is a register or a 32-bit number. */
export const store = (width: Width, to: Register, offset: number, from: Register | number) =>
  typeof from === 'number'
    ? instruction(0x62 | sizes[width], to, 0, offset, from)
    : instruction(0x63 | sizes[width], to, from, offset);

/** `to = value`, all 64 bits of it. */
export function loadNumber(to: Register, value: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  writeU64(bytes, 0, BigInt.asUintN(64, value));
  const view = new DataView(bytes.buffer);
  return load64(to, 0, view.getUint32(0, true), view.getUint32(4, true));
}

/** `to` = the map behind a handle, as helpers want it. */
export const loadMap = (to: Register, map: { readonly handle: Handle }) =>
  load64(to, Pseudo.BPF_PSEUDO_MAP_FD, map.handle, 0);

/** `to` = the address of the only value of an array map, plus `offset` bytes. */
export const loadMapValue = (to: Register, map: { readonly handle: Handle }, offset = 0) =>
  load64(to, Pseudo.BPF_PSEUDO_MAP_VALUE, map.handle, offset);

/**
 * `to` = the function at a label, for a helper that calls back. Such a program is loaded with the
 * types of its functions, `functions` of its options.
 */
export const loadFunction = (to: Register, label: string): Instruction => ({
  function: label,
  bytes: load64(to, Pseudo.BPF_PSEUDO_FUNC, 0, 0),
});

/** Calls a helper by its number, such as `Helper.BPF_FUNC_trace_printk`. */
export const call = (helper: number) => instruction(0x85, 'r0', 0, 0, helper);

/** Returns `r0`. */
export const exit = () => instruction(0x95);

/** Jumps to a label when `left` compares so with `right`, a register or a 32-bit number. */
export const jumpIf = (
  comparison: keyof typeof comparisons,
  left: Register,
  right: Register | number,
  to: string,
): Instruction => ({
  jump: to,
  bytes:
    typeof right === 'number'
      ? instruction(0x05 | comparisons[comparison], left, 0, 0, right)
      : instruction(0x0d | comparisons[comparison], left, right),
});

/** Jumps to a label. */
export const jump = (to: string): Instruction => ({ jump: to, bytes: instruction(0x05) });

/** Names the place of the next instruction. */
export const label = (name: string): Label => ({ label: name });

/**
 * Stores bytes on the stack so that they begin at `offset` (negative, a multiple of 8) from `r10`,
 * filled up with zeroes to a multiple of 8. Uses `scratch`.
 */
export function storeBytes(offset: number, bytes: Uint8Array, scratch: Register): Instruction[] {
  const stores: Instruction[] = [];
  for (let at = 0; at < bytes.length; at += 8) {
    const word = new Uint8Array(8);
    word.set(bytes.subarray(at, at + 8));
    const value = new DataView(word.buffer).getBigUint64(0, true);
    stores.push(loadNumber(scratch, value), store(8, 'r10', offset + at, scratch));
  }
  return stores;
}

/**
 * Joins instructions to a program and resolves its labels.
 *
 * @throws TypeError for a label that is missing, or further than 32767 instructions away
 */
export function program(...parts: readonly (Instruction | readonly Instruction[])[]): Uint8Array {
  const labels = new Map<string, number>();
  const placed: { at: number; one: Exclude<Instruction, Label> }[] = [];
  let end = 0;
  for (const one of parts.flat() as Instruction[]) {
    if ('label' in one) labels.set(one.label, end / 8);
    else {
      placed.push({ at: end, one });
      end += 'bytes' in one ? one.bytes.length : one.length;
    }
  }
  const bytes = new Uint8Array(end);
  for (const { at, one } of placed) {
    if (one instanceof Uint8Array) {
      bytes.set(one, at);
      continue;
    }
    bytes.set(one.bytes, at);
    const name = 'jump' in one ? one.jump : one.function;
    const distance = (labels.get(name) ?? Number.NaN) - at / 8 - 1;
    if (!(Math.abs(distance) <= 0x7fff)) {
      throw new TypeError(`label ${name} is missing or too far away`);
    }
    if ('function' in one) writeU32(bytes, at + 4, distance);
    else {
      bytes[at + 2] = distance;
      bytes[at + 3] = distance >> 8;
    }
  }
  return bytes;
}
