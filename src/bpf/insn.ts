/*
 * A small assembler with one function for each instruction. `program` joins instructions.
 *
 * Kernel source: Documentation/bpf/standardization/instruction-set.rst.
 */
import type { Handle } from '../call.js';
import { failure } from '../errors.js';
import { Pseudo } from './fds.js';
import { writeU32 } from './little-endian.js';

/**
 * A register. `r0` holds results, `r1`…`r5` hold arguments, `r6`…`r9` keep their values across
 * calls.
 */
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
  /** The name of the place, which jumps to it name. */
  readonly label: string;
}

const REGISTERS: readonly string[] = [...'0123456789', '10'].map((number) => `r${number}`);
const I32 = { least: -(2 ** 31), most: 2 ** 31 - 1 };
const U32 = { least: -(2 ** 31), most: 2 ** 32 - 1 };
const I16 = { least: -(2 ** 15), most: 2 ** 15 - 1 };

/**
 * Refuses an operand. Otherwise the operand would be cut off, and the program would be another one.
 */
function refuse(operand: string, of: string, value: unknown, expected: string): never {
  throw failure('ERR_OPTION_INVALID', { option: `${operand} of insn.${of}()`, value, expected });
}

function registerOf(of: string, register: Register): number {
  const number = REGISTERS.indexOf(register);
  return number < 0 ? refuse('register', of, register, 'r0 to r10') : number;
}

function numberOf(
  operand: string,
  of: string,
  value: number,
  { least, most }: { least: number; most: number },
  instead = '',
): number {
  const fits = Number.isInteger(value) && value >= least && value <= most;
  return fits
    ? value
    : refuse(operand, of, value, `a whole number from ${least} to ${most}${instead}`);
}

const offsetOf = (of: string, offset: number) => numberOf('offset', of, offset, I16);

/** Checks a number that the machine extends to 64 bits by its sign. */
const extended = (of: string, value: number) =>
  numberOf('number', of, value, I32, '; insn.loadNumber() loads all 64 bits into a register');

function entryOf<T>(
  operand: string,
  of: string,
  table: { readonly [name: string]: T },
  name: string,
): T {
  if (typeof name === 'string' && Object.hasOwn(table, name)) return table[name] as T;
  const words = Object.keys(table).join(', ');
  return refuse(operand, of, name, `one of ${words}`);
}

function sizeOf(of: string, width: Width): number {
  return Object.hasOwn(sizes, width)
    ? sizes[width]
    : refuse('width', of, width, '1, 2, 4 or 8 bytes');
}

function instruction(code: number, to = 0, from = 0, offset = 0, immediate = 0): Uint8Array {
  const bytes = new Uint8Array(8);
  bytes[0] = code;
  bytes[1] = to | (from << 4);
  bytes[2] = offset;
  bytes[3] = offset >> 8;
  writeU32(bytes, 4, immediate);
  return bytes;
}

function load64(to: number, pseudo: number, low: number, high: number): Uint8Array {
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

const atomics = {
  add: 0x00,
  or: 0x40,
  and: 0x50,
  xor: 0xa0,
  fetch_add: 0x01,
  fetch_or: 0x41,
  fetch_and: 0x51,
  fetch_xor: 0xa1,
  xchg: 0xe1,
  cmpxchg: 0xf1,
} as const;

const swaps = { le: 0xd4, be: 0xdc, swap: 0xd7 } as const;

const sizes: { readonly [W in Width]: number } = { 4: 0x00, 2: 0x08, 1: 0x10, 8: 0x18 };

/**
 * The bit of the form with a register as last operand. Without the bit, the operand is a number.
 */
const FROM_REGISTER = 0x08;

/** The classes of arithmetic and of conditional jumps, by their width in bits. */
const ALU = { 64: 0x07, 32: 0x04 } as const;
const JUMP = { 64: 0x05, 32: 0x06 } as const;

function arithmetic(
  of: string,
  bits: 32 | 64,
  operation: keyof typeof operations,
  to: Register,
  from: Register | number,
): Uint8Array {
  const code = ALU[bits] | entryOf('operation', of, operations, operation);
  const target = registerOf(of, to);
  if (typeof from !== 'number') {
    return instruction(code | FROM_REGISTER, target, registerOf(of, from));
  }
  const value = bits === 64 ? extended(of, from) : numberOf('number', of, from, U32);
  const shifts = operation === 'lsh' || operation === 'rsh' || operation === 'arsh';
  if (shifts) numberOf('number', of, value, { least: 0, most: bits - 1 });
  const divides = operation === 'div' || operation === 'mod';
  if (divides && value === 0) refuse('number', of, value, 'a divisor that is not 0');
  return instruction(code, target, 0, 0, value);
}

/**
 * 64-bit arithmetic: `alu('add', 'r1', 8)`, `alu('mov', 'r6', 'r1')`. A number is sign-extended.
 */
export const alu = (operation: keyof typeof operations, to: Register, from: Register | number) =>
  arithmetic('alu', 64, operation, to, from);

/** 32-bit arithmetic. It clears the upper half of `to`. */
export const alu32 = (operation: keyof typeof operations, to: Register, from: Register | number) =>
  arithmetic('alu32', 32, operation, to, from);

/** `to = from`. `from` is a register or a 32-bit number, which is sign-extended. */
export const mov = (to: Register, from: Register | number) =>
  arithmetic('mov', 64, 'mov', to, from);

/** `register = -register`, in 64 bits. */
export const neg = (register: Register) => instruction(0x87, registerOf('neg', register));

/**
 * Swaps the lowest `bits` of a register and clears the others. `be` and `le` convert between the
 * machine's byte order and that order. `swap` always swaps (from Linux 6.6 on).
 */
export function swap(
  order: keyof typeof swaps,
  bits: 16 | 32 | 64,
  register: Register,
): Uint8Array {
  if (bits !== 16 && bits !== 32 && bits !== 64) refuse('width', 'swap', bits, '16, 32 or 64 bits');
  const code = entryOf('order', 'swap', swaps, order);
  return instruction(code, registerOf('swap', register), 0, 0, bits);
}

/** `to = *(from + offset)`. */
export const load = (width: Width, to: Register, from: Register, offset: number) =>
  instruction(
    0x61 | sizeOf('load', width),
    registerOf('load', to),
    registerOf('load', from),
    offsetOf('load', offset),
  );

/** `*(to + offset) = from`. `from` is a register or a 32-bit number, which is sign-extended. */
export function store(width: Width, to: Register, offset: number, from: Register | number) {
  const code = 0x62 | sizeOf('store', width);
  const [target, place] = [registerOf('store', to), offsetOf('store', offset)];
  if (typeof from !== 'number') {
    return instruction(code | 0x01, target, registerOf('store', from), place);
  }
  const bounds = {
    8: I32,
    4: U32,
    2: { least: I16.least, most: 0xffff },
    1: { least: -128, most: 255 },
  };
  return instruction(code, target, 0, place, numberOf('number', 'store', from, bounds[width]));
}

/**
 * Changes `*(to + offset)` atomically, with 4 or 8 bytes, for example a counter that several
 * processors increment. The `fetch_` operations and `xchg` leave the old value in `from` (from
 * Linux 5.12 on). `cmpxchg` compares the value with `r0`, stores `from` if both are equal, and
 * leaves the old value in `r0`.
 *
 * @example
 * insn.program(insn.mov('r1', 1), insn.atomic('add', 8, 'r0', 0, 'r1'));
 */
export function atomic(
  operation: keyof typeof atomics,
  width: 4 | 8,
  to: Register,
  offset: number,
  from: Register,
): Uint8Array {
  if (width !== 4 && width !== 8) refuse('width', 'atomic', width, '4 or 8 bytes');
  const code = 0xc3 | sizes[width];
  const what = entryOf('operation', 'atomic', atomics, operation);
  const [target, source] = [registerOf('atomic', to), registerOf('atomic', from)];
  return instruction(code, target, source, offsetOf('atomic', offset), what);
}

/** `to = value`, in 64 bits: from −2⁶³ to 2⁶⁴ − 1. */
export function loadNumber(to: Register, value: bigint): Uint8Array {
  const fits = typeof value === 'bigint' && value >= -(2n ** 63n) && value < 2n ** 64n;
  if (!fits) refuse('number', 'loadNumber', value, 'a bigint from -2n ** 63n to 2n ** 64n - 1n');
  const unsigned = BigInt.asUintN(64, value);
  const low = Number(unsigned & 0xffff_ffffn);
  return load64(registerOf('loadNumber', to), 0, low, Number(unsigned >> 32n));
}

/** `to` = the map behind a handle, as helpers take it. */
export const loadMap = (to: Register, map: { readonly handle: Handle }) =>
  load64(registerOf('loadMap', to), Pseudo.BPF_PSEUDO_MAP_FD, handleOf('loadMap', map), 0);

/** `to` = the address of the single value of an array map, plus `offset` bytes. */
export const loadMapValue = (to: Register, map: { readonly handle: Handle }, offset = 0) =>
  load64(
    registerOf('loadMapValue', to),
    Pseudo.BPF_PSEUDO_MAP_VALUE,
    handleOf('loadMapValue', map),
    numberOf('offset', 'loadMapValue', offset, { least: 0, most: U32.most }),
  );

function handleOf(of: string, map: { readonly handle: Handle }): number {
  const handle = (map as { handle?: Handle } | null | undefined)?.handle;
  return typeof handle === 'number' ? handle : refuse('map', of, map, 'a map of a session');
}

/**
 * `to` = the function at a label, for a helper that calls it back. Load such a program with the
 * option `functions`, which has the types of its functions.
 */
export const loadFunction = (to: Register, label: string): Instruction => ({
  function: label,
  bytes: load64(registerOf('loadFunction', to), Pseudo.BPF_PSEUDO_FUNC, 0, 0),
});

/** Calls a helper by its number, such as `Helper.BPF_FUNC_trace_printk`. */
export const call = (helper: number) =>
  instruction(0x85, 0, 0, 0, numberOf('helper', 'call', helper, { least: 1, most: I32.most }));

/**
 * Calls the function at a label. `r1` to `r5` are its arguments, and `r0` is its result. The
 * function has its own stack and its own `r6` to `r9`, and ends with `exit()`.
 */
export const callFunction = (label: string): Instruction => ({
  function: label,
  bytes: instruction(0x85, 0, Pseudo.BPF_PSEUDO_CALL),
});

/**
 * Calls a function of the guest's kernel (kfunc) by its BTF id. `fdIndex` is the index of the
 * module's BTF in the program's `fd_array`; 0 is the kernel itself.
 */
export const callKernel = (btfId: number, fdIndex = 0) =>
  instruction(
    0x85,
    0,
    Pseudo.BPF_PSEUDO_KFUNC_CALL,
    numberOf('fdIndex', 'callKernel', fdIndex, { least: 0, most: I16.most }),
    numberOf('btfId', 'callKernel', btfId, { least: 1, most: I32.most }),
  );

/** Returns `r0`. */
export const exit = () => instruction(0x95);

function conditional(
  of: string,
  bits: 32 | 64,
  comparison: keyof typeof comparisons,
  left: Register,
  right: Register | number,
  to: string,
): Instruction {
  const code = JUMP[bits] | entryOf('comparison', of, comparisons, comparison);
  const first = registerOf(of, left);
  if (typeof right !== 'number') {
    return { jump: to, bytes: instruction(code | FROM_REGISTER, first, registerOf(of, right)) };
  }
  const value = bits === 64 ? extended(of, right) : numberOf('number', of, right, U32);
  return { jump: to, bytes: instruction(code, first, 0, 0, value) };
}

/**
 * Jumps to a label if `left` compares with `right` as `comparison` says. `right` is a register or a
 * 32-bit number, which is sign-extended. `sgt` and its variants compare signed numbers. `set` tests
 * for common bits.
 */
export const jumpIf = (
  comparison: keyof typeof comparisons,
  left: Register,
  right: Register | number,
  to: string,
): Instruction => conditional('jumpIf', 64, comparison, left, right, to);

/** Like {@link jumpIf}, with the lower 32 bits only. */
export const jumpIf32 = (
  comparison: keyof typeof comparisons,
  left: Register,
  right: Register | number,
  to: string,
): Instruction => conditional('jumpIf32', 32, comparison, left, right, to);

/** Jumps to a label. */
export const jump = (to: string): Instruction => ({ jump: to, bytes: instruction(0x05) });

/** Names the position of the next instruction. */
export const label = (name: string): Label => ({ label: name });

/**
 * Stores bytes on the stack. They begin at `offset` (negative, a multiple of 8) from `r10`, and are
 * padded with zeroes to a multiple of 8. Uses `scratch`.
 */
export function storeBytes(offset: number, bytes: Uint8Array, scratch: Register): Instruction[] {
  const most = -Math.ceil(bytes.length / 8) * 8;
  if (offset % 8 !== 0 || !(offset >= -512 && offset <= Math.min(most, -8))) {
    const expected = `a multiple of 8 from -512 to ${Math.min(most, -8)} for ${bytes.length} bytes`;
    refuse('offset', 'storeBytes', offset, expected);
  }
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
 * @throws ERR_OPTION_INVALID for a label that is missing or named twice, or when a jump is longer
 *   than 32767 instructions
 */
export function program(...parts: readonly (Instruction | readonly Instruction[])[]): Uint8Array {
  const labels = new Map<string, number>();
  const placed: { at: number; one: Exclude<Instruction, Label> }[] = [];
  let end = 0;
  for (const one of parts.flat() as Instruction[]) {
    if ('label' in one) {
      if (labels.has(one.label)) refuse('label', 'program', one.label, 'a name that is used once');
      labels.set(one.label, end / 8);
    } else {
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
    const target = labels.get(name);
    if (target === undefined) {
      refuse(
        'label',
        'program',
        name,
        `the name of a label in it (found: ${[...labels.keys()].join(', ') || 'none'})`,
      );
    }
    const distance = target - at / 8 - 1;
    if ('function' in one) writeU32(bytes, at + 4, distance);
    else {
      if (distance < I16.least || distance > I16.most) {
        refuse('label', 'program', name, 'a place at most 32767 instructions away');
      }
      bytes[at + 2] = distance;
      bytes[at + 3] = distance >> 8;
    }
  }
  return bytes;
}
