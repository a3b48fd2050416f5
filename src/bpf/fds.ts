/*
 * Descriptors in the bytes behind a pointer: in instructions, and in map keys and values.
 *
 * Kernel source: resolve_pseudo_ldimm64() and fetch_kfunc_meta() in kernel/bpf/verifier.c; the
 * map_fd_get_ptr() and map_update_elem() operations of the map types.
 */
import { failure } from '../errors.js';
import { MapType } from './enums.js';
import { readU16, readU32 } from './little-endian.js';
import type { FdKind, Use } from './rows.js';
import type { MapSpec } from './specs.js';

/** Called for a descriptor at a byte offset. `where` describes the place of the descriptor. */
export type FoundFd = (offset: number, kinds: readonly FdKind[], where: string) => void;

const LD_IMM64 = 0x18;
const CALL = 0x85;

/** Values of `src_reg` in a 64-bit immediate load, and in a call. */
export const Pseudo = {
  BPF_PSEUDO_MAP_FD: 1,
  BPF_PSEUDO_MAP_VALUE: 2,
  BPF_PSEUDO_BTF_ID: 3,
  BPF_PSEUDO_FUNC: 4,
  BPF_PSEUDO_MAP_IDX: 5,
  BPF_PSEUDO_MAP_IDX_VALUE: 6,
  BPF_PSEUDO_CALL: 1,
  BPF_PSEUDO_KFUNC_CALL: 2,
} as const;

/**
 * Returns an instruction's opcode and `src_reg` as they are in its first two bytes under
 * {@link OPERATION_MASK}.
 */
const operation = (code: number, source: number) => code | (source << 12);

/** The bits of an instruction's first two bytes that decide its operation. */
export const OPERATION_MASK = 0xf0ff;
/** A call of a helper. The immediate is the helper's number. */
export const HELPER_CALL = operation(CALL, 0);
/** A call of a kernel function. The immediate is its BTF id. */
export const KFUNC_CALL = operation(CALL, Pseudo.BPF_PSEUDO_KFUNC_CALL);
/** The bits of the offset and of the immediate. An instruction is a little-endian 64-bit word. */
export const OFFSET_BITS = { shift: 16, bits: 16 } as const;
export const IMMEDIATE_BITS = { shift: 32, bits: 32 } as const;

const maps: readonly FdKind[] = ['map'];
const btfs: readonly FdKind[] = ['btf'];

/** An instruction that refers to an object. */
export interface Reference {
  /** The instruction's operation code. */
  readonly operation: number;
  /** The use that the instruction makes of the object. */
  readonly use: Use;
  /** The byte offset of a descriptor in the instruction. With `nonzero`, 0 is no descriptor. */
  readonly at?: number;
  /** The position of a signed index into `fd_array`, in place of a descriptor. */
  readonly index?: { readonly shift: number; readonly bits: number };
  /** Whether 0 stands for no object. */
  readonly nonzero?: true;
}

/** A program may write to a map even if the map's descriptor is open only for reading. */
export const references: readonly Reference[] = [
  { operation: operation(LD_IMM64, Pseudo.BPF_PSEUDO_MAP_FD), use: 'change', at: 4 },
  { operation: operation(LD_IMM64, Pseudo.BPF_PSEUDO_MAP_VALUE), use: 'change', at: 4 },
  { operation: operation(LD_IMM64, Pseudo.BPF_PSEUDO_BTF_ID), use: 'read', at: 12, nonzero: true },
  {
    operation: operation(LD_IMM64, Pseudo.BPF_PSEUDO_MAP_IDX),
    use: 'change',
    index: IMMEDIATE_BITS,
  },
  {
    operation: operation(LD_IMM64, Pseudo.BPF_PSEUDO_MAP_IDX_VALUE),
    use: 'change',
    index: IMMEDIATE_BITS,
  },
  { operation: KFUNC_CALL, use: 'read', index: OFFSET_BITS, nonzero: true },
];

/** The opcodes whose `src_reg` decides the reference, with the last value that any kernel knows. */
export const knownSources: readonly { readonly code: number; readonly last: number }[] = [
  { code: LD_IMM64, last: Pseudo.BPF_PSEUDO_MAP_IDX_VALUE },
  { code: CALL, last: Pseudo.BPF_PSEUDO_KFUNC_CALL },
];
/** The bits of the opcode in an instruction's first two bytes, and those of `src_reg`. */
export const CODE_MASK = 0xff;
export const SOURCE_BITS = { shift: 12, bits: 4 } as const;

const referring = new Map(references.map((one) => [one.operation, one]));

/**
 * Finds the descriptors in instructions.
 *
 * @param reached receives each index into `fd_array` that an instruction uses
 */
export function findInInstructions(
  bytes: Uint8Array,
  found: FoundFd,
  reached: (index: number) => void,
): void {
  for (let at = 0; at + 8 <= bytes.length; at += 8) {
    const code = bytes[at];
    if (code !== LD_IMM64 && code !== CALL) continue;
    const reference = referring.get(readU16(bytes, at) & OPERATION_MASK);
    if (reference?.index !== undefined) {
      const index = reference.index.shift === 16 ? readU16(bytes, at + 2) : readU32(bytes, at + 4);
      if (index !== 0 || reference.nonzero !== true) reached(index);
    } else if (reference?.at !== undefined && at + reference.at + 4 <= bytes.length) {
      const second = reference.at > 8;
      const number = `instruction ${at / 8}`;
      const where = second ? `the second immediate of ${number}` : `the immediate of ${number}`;
      if (!second || readU32(bytes, at + reference.at) !== 0) {
        found(at + reference.at, second ? btfs : maps, where);
      }
    }
    if (code === LD_IMM64) at += 8;
  }
}

/** A descriptor in each key or value of a map. */
export interface Hidden {
  readonly offset: number;
  readonly kinds: readonly FdKind[];
  /** Whether only a positive number is a descriptor. */
  readonly positive?: boolean;
  /** Whether 0 is no descriptor. */
  readonly nonzero?: boolean;
  /**
   * Whether each aligned 64-bit word may be such a descriptor, because only the guest's types say
   * which of them are.
   */
  readonly anywhere?: boolean;
  /** Why such a descriptor cannot be carried to another kernel. */
  readonly stays?: string;
  /** What writing the descriptor does with the object, if it is an object of bpf(2). */
  readonly use?: Use;
}

const sockets: Hidden = {
  offset: 0,
  kinds: [],
  stays:
    'it holds sockets, and a socket of this host does not exist in the guest; ' +
    'let a program in the guest add its own, with bpf_sock_map_update()',
};
const programAfterWord: Hidden = { offset: 4, kinds: ['prog'], positive: true, use: 'attach' };

const implementation: Hidden = {
  offset: 0,
  kinds: ['prog'],
  nonzero: true,
  anywhere: true,
  use: 'attach',
};
const unknownPlaces: Hidden = {
  offset: 0,
  kinds: [],
  stays:
    'where its value holds programs follows from the types of the guest’s kernel; ' +
    'give the map’s programOffsets',
};

/** The descriptors in the values of a map type, when values are written. */
export const inValues: { readonly [mapType: number]: Hidden } = {
  [MapType.BPF_MAP_TYPE_PROG_ARRAY]: { offset: 0, kinds: ['prog'], use: 'run' },
  [MapType.BPF_MAP_TYPE_PERF_EVENT_ARRAY]: { offset: 0, kinds: ['perf_event'] },
  [MapType.BPF_MAP_TYPE_CGROUP_ARRAY]: { offset: 0, kinds: ['cgroup'] },
  [MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS]: { offset: 0, kinds: ['map'], use: 'change' },
  [MapType.BPF_MAP_TYPE_HASH_OF_MAPS]: { offset: 0, kinds: ['map'], use: 'change' },
  [MapType.BPF_MAP_TYPE_DEVMAP]: programAfterWord,
  [MapType.BPF_MAP_TYPE_DEVMAP_HASH]: programAfterWord,
  [MapType.BPF_MAP_TYPE_CPUMAP]: programAfterWord,
  [MapType.BPF_MAP_TYPE_STRUCT_OPS]: implementation,
  [MapType.BPF_MAP_TYPE_SOCKMAP]: sockets,
  [MapType.BPF_MAP_TYPE_SOCKHASH]: sockets,
  [MapType.BPF_MAP_TYPE_REUSEPORT_SOCKARRAY]: sockets,
  [MapType.BPF_MAP_TYPE_XSKMAP]: sockets,
};

/** The descriptors in the keys of a map type. */
export const inKeys: { readonly [mapType: number]: Hidden } = {
  [MapType.BPF_MAP_TYPE_SK_STORAGE]: sockets,
  [MapType.BPF_MAP_TYPE_INODE_STORAGE]: { offset: 0, kinds: ['file'] },
  [MapType.BPF_MAP_TYPE_TASK_STORAGE]: { offset: 0, kinds: ['pidfd'] },
  [MapType.BPF_MAP_TYPE_CGRP_STORAGE]: { offset: 0, kinds: ['cgroup'] },
};

/** Returns the descriptors in the values of one map, when values are written. */
function hiddenInValues(map: MapSpec): readonly Hidden[] {
  if (map.type === MapType.BPF_MAP_TYPE_STRUCT_OPS) {
    // NEED: the offsets of program descriptors in such a value follow from the guest's BTF. No row
    // has them. The caller that knows them passes them with the map's spec.
    return map.programOffsets?.map((offset) => ({ ...implementation, offset })) ?? [unknownPlaces];
  }
  const hidden = inValues[map.type];
  return hidden === undefined ? [] : [hidden];
}

/** Returns whether the keys or values of a map may hold descriptors. */
export function hidesFds(map: MapSpec): boolean {
  return inValues[map.type] !== undefined || inKeys[map.type] !== undefined;
}

/**
 * Finds the descriptors in map values about to be written, each `strideBytes` long.
 *
 * @throws ERR_BPF_UNSUPPORTED for maps whose values cannot be carried to another kernel
 */
export function findInValues(
  map: MapSpec,
  bytes: Uint8Array,
  strideBytes: number,
  command: string,
  found: FoundFd,
): void {
  for (const hidden of hiddenInValues(map)) {
    findInElements(hidden, 'value', bytes, strideBytes, command, found);
  }
}

/** Finds the descriptors in map keys, each `strideBytes` long. Throws as {@link findInValues}. */
export function findInKeys(
  map: MapSpec,
  bytes: Uint8Array,
  strideBytes: number,
  command: string,
  found: FoundFd,
): void {
  findInElements(inKeys[map.type], 'key', bytes, strideBytes, command, found);
}

function findInElements(
  hidden: Hidden | undefined,
  part: 'key' | 'value',
  bytes: Uint8Array,
  strideBytes: number,
  command: string,
  found: FoundFd,
): void {
  if (hidden === undefined || strideBytes < hidden.offset + 4) return;
  if (hidden.stays !== undefined) {
    throw failure('ERR_BPF_UNSUPPORTED', {
      command,
      what: `a ${part} of this map`,
      why: hidden.stays,
    });
  }
  for (let at = 0; at + strideBytes <= bytes.length; at += strideBytes) {
    const offset = at + hidden.offset;
    const word = readU32(bytes, offset) | 0;
    const none = (hidden.positive === true && word <= 0) || (hidden.nonzero === true && word === 0);
    if (!none) found(offset, hidden.kinds, `the map ${part}`);
  }
}
