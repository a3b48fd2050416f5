/* The objects that cases use. */
import { type Case, type Layout, lay, type Place, type Reason } from '../script.js';
import { Cmd, MapType, ProgType } from '../uapi.js';

/** The sizes of a map. `more` is the rest of MAP_CREATE's attribute, by offset. */
export interface MapShape {
  type: number;
  key?: number;
  value?: number;
  entries?: number;
  flags?: number;
  more?: Layout;
}

export function mapAttribute(shape: MapShape): Layout {
  const { type, key = 4, value = 8, entries = 4, flags = 0, more = {} } = shape;
  return { 0: type, 4: key, 8: value, 12: entries, 16: flags, ...more };
}

/** Creates a map and returns its descriptor. */
export function map(c: Case, shape: MapShape): number {
  return c.bpf(Cmd.MAP_CREATE, mapAttribute(shape)).fd;
}

export function hash(c: Case, entries = 4): number {
  return map(c, { type: MapType.HASH, entries });
}

/** The bytes of 32-bit words. */
export function words(...values: number[]): Uint8Array {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, at) => {
    bytes.writeUInt32LE(value >>> 0, 4 * at);
  });
  return bytes;
}

/** Bytes that count up from a value. */
export function pattern(sizeBytes: number, from = 1): Uint8Array {
  return Uint8Array.from({ length: sizeBytes }, (_, at) => from + at);
}

export function element(fd: number, key: Place | bigint, value: Place | bigint, flags = 0): Layout {
  return { 0: fd, 8: key, 16: value, 24: BigInt(flags) };
}

/** One instruction. */
export function insn(code: number, dst = 0, src = 0, offset = 0, immediate = 0): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt8(code);
  bytes.writeUInt8(dst | (src << 4), 1);
  bytes.writeInt16LE(offset, 2);
  bytes.writeInt32LE(immediate | 0, 4);
  return bytes;
}

/** Instructions that cases use. */
export const op = {
  /** dst = immediate */
  set: (dst: number, immediate: number) => insn(0xb7, dst, 0, 0, immediate),
  /** dst = src */
  move: (dst: number, src: number) => insn(0xbf, dst, src),
  /** dst += immediate */
  add: (dst: number, immediate: number) => insn(0x07, dst, 0, 0, immediate),
  call: (helper: number) => insn(0x85, 0, 0, 0, helper),
  exit: () => insn(0x95),
  /** dst = 64 bits, or what `source` makes of the two immediates */
  load64: (dst: number, source: number, immediate: number, second = 0) =>
    Buffer.concat([insn(0x18, dst, source, 0, immediate), insn(0, 0, 0, 0, second)]),
  /** *(u32 *)(dst + offset) = immediate */
  store32: (dst: number, offset: number, immediate: number) =>
    insn(0x62, dst, 0, offset, immediate),
  /** *(u64 *)(dst + offset) = src */
  store64: (dst: number, src: number, offset: number) => insn(0x7b, dst, src, offset),
  /** dst = *(u32 *)(src + offset) */
  load32: (dst: number, src: number, offset: number) => insn(0x61, dst, src, offset),
  /** dst = *(u64 *)(src + offset) */
  load64From: (dst: number, src: number, offset: number) => insn(0x79, dst, src, offset),
} as const;

export const code = (...instructions: Uint8Array[]) => Buffer.concat(instructions);

/** The shortest program: returns a number. */
export const returns = (value: number) => code(op.set(0, value), op.exit());

/** The attribute of PROG_LOAD. */
export function progAttribute(
  c: Case,
  type: number,
  instructions: Uint8Array,
  more: Layout = {},
): Layout {
  return {
    0: type,
    4: instructions.length / 8,
    8: c.put(instructions),
    16: c.put('GPL'),
    ...more,
  };
}

/** Loads a program and returns its descriptor. */
export function prog(
  c: Case,
  type: number = ProgType.SOCKET_FILTER,
  instructions: Uint8Array = returns(0),
  more: Layout = {},
): number {
  return c.bpf(Cmd.PROG_LOAD, progAttribute(c, type, instructions, more)).fd;
}

/** The places of a question for an object's info: the call's attribute and the info. */
export interface Asked {
  readonly attribute: Place;
  readonly info: Place;
}

/** Asks for an object's info. */
export function ask(c: Case, fd: number, sizeBytes: number, given: Layout = {}): Asked {
  const bytes = new Uint8Array(sizeBytes);
  bytes.set(layoutBytes(given, sizeBytes));
  const info = c.put(bytes);
  const { attribute } = c.bpf(Cmd.OBJ_GET_INFO_BY_FD, { 0: fd, 4: sizeBytes, 8: info });
  return { attribute, info };
}

function layoutBytes(layout: Layout, sizeBytes: number): Uint8Array {
  const all = lay(layout);
  return all.subarray(0, sizeBytes);
}

/** Returns the place of the id of a map, program, BTF or link in the kernel's answer. */
export function idOf(c: Case, fd: number, kind: 'map' | 'prog' | 'btf' | 'link'): Place {
  const sizes = { map: 80, prog: 208, btf: 16, link: 32 };
  const { info } = ask(c, fd, sizes[kind]);
  for (const [name, offset, sizeBytes] of volatileInfo[kind]) {
    c.differs(name, info, offset, sizeBytes);
  }
  const id = c.room(4);
  c.copy(id, 0, info, kind === 'btf' ? 12 : 4);
  c.differs('id', id, 0);
  return id;
}

/** The volatile parts of infos, as name, offset and length. */
export const volatileInfo: Record<
  'map' | 'prog' | 'btf' | 'link',
  readonly (readonly [name: Reason, offset: number, sizeBytes: number])[]
> = {
  map: [
    ['id', 4, 4],
    ['BTF id', 64, 4],
  ],
  prog: [
    ['id', 4, 4],
    ['load time', 40, 8],
    ['BTF id', 128, 4],
  ],
  btf: [['id', 12, 4]],
  link: [
    ['id', 4, 4],
    ['program id', 8, 4],
  ],
};
