/*
 * Descriptors that hide in the bytes behind a pointer: in instructions and in map keys and values.
 *
 * Kernel source: resolve_pseudo_ldimm64() and fetch_kfunc_meta() in kernel/bpf/verifier.c; the
 * map_fd_get_ptr() and map_update_elem() operations of the map types.
 */
import { failure } from '../errors.js';
import { MapType } from './enums.js';
import type { MapFacts } from './facts.js';
import type { FdKind } from './rows.js';
import { readU16, readU32 } from './words.js';

/** Takes a descriptor found at a byte offset. `where` says in words what holds it. */
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
  BPF_PSEUDO_KFUNC_CALL: 2,
} as const;

const maps: readonly FdKind[] = ['map'];
const btfs: readonly FdKind[] = ['btf'];

/**
 * Finds the descriptors in instructions.
 *
 * @param reached takes each index into `fd_array` that an instruction uses
 */
export function findInInstructions(
  bytes: Uint8Array,
  found: FoundFd,
  reached: (index: number) => void,
): void {
  for (let at = 0; at + 8 <= bytes.length; at += 8) {
    const code = bytes[at];
    if (code === CALL) {
      const module = readU16(bytes, at + 2);
      if (source(bytes, at) === Pseudo.BPF_PSEUDO_KFUNC_CALL && module !== 0) reached(module);
    } else if (code === LD_IMM64) {
      switch (source(bytes, at)) {
        case Pseudo.BPF_PSEUDO_MAP_FD:
        case Pseudo.BPF_PSEUDO_MAP_VALUE:
          found(at + 4, maps, `the immediate of instruction ${at / 8}`);
          break;
        case Pseudo.BPF_PSEUDO_BTF_ID:
          if (at + 16 <= bytes.length && readU32(bytes, at + 12) !== 0) {
            found(at + 12, btfs, `the second immediate of instruction ${at / 8}`);
          }
          break;
        case Pseudo.BPF_PSEUDO_MAP_IDX:
        case Pseudo.BPF_PSEUDO_MAP_IDX_VALUE:
          reached(readU32(bytes, at + 4));
          break;
      }
      at += 8;
    }
  }
}

function source(bytes: Uint8Array, at: number): number {
  return (bytes[at + 1] ?? 0) >> 4;
}

interface Hidden {
  readonly offset: number;
  readonly kinds: readonly FdKind[];
  /** Whether only a positive number is a descriptor. */
  readonly positive?: boolean;
  /** Whether 0 is no descriptor. */
  readonly nonzero?: boolean;
  /** Why such a descriptor cannot travel. */
  readonly stays?: string;
}

const sockets: Hidden = {
  offset: 0,
  kinds: [],
  stays:
    'it holds sockets, and a socket of this host does not exist in the guest; ' +
    'let a program in the guest add its own, with bpf_sock_map_update()',
};
const programAfterWord: Hidden = { offset: 4, kinds: ['prog'], positive: true };

const implementation: Hidden = { offset: 0, kinds: ['prog'], nonzero: true };
const unknownPlaces: Hidden = {
  offset: 0,
  kinds: [],
  stays:
    'where its value holds programs follows from the types of the guest’s kernel; ' +
    'give the map’s programOffsets',
};

/** Where the values of a map type hold a descriptor when they are written. */
const inValues: { readonly [mapType: number]: Hidden } = {
  [MapType.BPF_MAP_TYPE_PROG_ARRAY]: { offset: 0, kinds: ['prog'] },
  [MapType.BPF_MAP_TYPE_PERF_EVENT_ARRAY]: { offset: 0, kinds: ['perf_event'] },
  [MapType.BPF_MAP_TYPE_CGROUP_ARRAY]: { offset: 0, kinds: ['cgroup'] },
  [MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS]: { offset: 0, kinds: ['map'] },
  [MapType.BPF_MAP_TYPE_HASH_OF_MAPS]: { offset: 0, kinds: ['map'] },
  [MapType.BPF_MAP_TYPE_DEVMAP]: programAfterWord,
  [MapType.BPF_MAP_TYPE_DEVMAP_HASH]: programAfterWord,
  [MapType.BPF_MAP_TYPE_CPUMAP]: programAfterWord,
  [MapType.BPF_MAP_TYPE_SOCKMAP]: sockets,
  [MapType.BPF_MAP_TYPE_SOCKHASH]: sockets,
  [MapType.BPF_MAP_TYPE_REUSEPORT_SOCKARRAY]: sockets,
  [MapType.BPF_MAP_TYPE_XSKMAP]: sockets,
};

/** Where the keys of a map type hold a descriptor. */
const inKeys: { readonly [mapType: number]: Hidden } = {
  [MapType.BPF_MAP_TYPE_SK_STORAGE]: sockets,
  [MapType.BPF_MAP_TYPE_INODE_STORAGE]: { offset: 0, kinds: ['file'] },
  [MapType.BPF_MAP_TYPE_TASK_STORAGE]: { offset: 0, kinds: ['pidfd'] },
  [MapType.BPF_MAP_TYPE_CGRP_STORAGE]: { offset: 0, kinds: ['cgroup'] },
};

/** Where the values of one map hold descriptors when they are written. */
function hiddenInValues(map: MapFacts): readonly Hidden[] {
  if (map.type === MapType.BPF_MAP_TYPE_STRUCT_OPS) {
    // NEED: the places of program descriptors in such a value follow from the guest's BTF, not from
    // any row; whoever knows it says them with the map's facts.
    return map.programOffsets?.map((offset) => ({ ...implementation, offset })) ?? [unknownPlaces];
  }
  const hidden = inValues[map.type];
  return hidden === undefined ? [] : [hidden];
}

/** Whether the keys or values of a map may hold descriptors. */
export function hidesFds(map: MapFacts): boolean {
  if (map.type === MapType.BPF_MAP_TYPE_STRUCT_OPS) return true;
  return inValues[map.type] !== undefined || inKeys[map.type] !== undefined;
}

/**
 * Finds the descriptors in map values about to be written, each `strideBytes` long.
 *
 * @throws ERR_BPF_UNSUPPORTED for maps whose values cannot be carried to another kernel
 */
export function findInValues(
  map: MapFacts,
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
  map: MapFacts,
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
