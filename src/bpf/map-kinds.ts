/* The one table of facts about map types. */
import { MapType, ObjectFlag } from './enums.js';

/** Allowed sizes in bytes: a list, or all from one size to another. */
export type Sizes =
  | readonly number[]
  | { readonly from: number; readonly to?: number; readonly multipleOf?: number };

/**
 * The requirements that every kernel has for a type of map, as far as all kernels have the same.
 * Sizes are in bytes.
 */
export interface MapKind {
  /** The name of the constant in lower case, without BPF_MAP_TYPE_. */
  readonly name: string;
  /** The sizes in bytes that keys can have. */
  readonly keySizes: Sizes;
  /** The sizes in bytes that values can have. */
  readonly valueSizes: Sizes;
  /**
   * The meaning of `max_entries`. `counted`: a number above 0. `none`: 0, because entries come and
   * go with the objects that they belong to. `ring bytes`: the size of a ring, a power of two and
   * at least a page.
   */
  readonly entries: 'counted' | 'none' | 'ring bytes';
  /** The `BPF_F_*` flags that the map must have. */
  readonly flags?: number;
  /**
   * What MAP_CREATE needs besides: a map like the inner maps, types (BTF) of the keys and values,
   * or a structure in the types of the kernel itself.
   */
  readonly needs?: 'inner map' | 'types' | 'types of the kernel';
  /**
   * A request that only a kernel with this type refuses with this errno. Where a small map cannot
   * be made, it tells whether the kernel has the type.
   */
  readonly recognized?: Recognition;
  /** Whether bpf(2) copies one value for each possible CPU. */
  readonly perCpu?: true;
  /** Whether bpf(2) takes descriptors as values and returns ids. */
  readonly holdsFds?: true;
  /** Whether positions in a batch are bucket numbers. */
  readonly hashed?: true;
  /** Whether the keys are all numbers below `max_entries`, in this order. */
  readonly indexed?: true;
}

/** A request that only a kernel with the type refuses with this errno. */
export interface Recognition {
  /** The fields of the request in which it differs from that for a small map. */
  readonly values: {
    readonly [field in 'max_entries' | 'map_extra' | 'btf_vmlinux_value_type_id']?: number;
  };
  /** The name of the errno. */
  readonly errno: 'ENOTSUPP' | 'ERANGE';
}

/** A row of the table. */
type Kind = Omit<MapKind, 'name'>;

const NO_PREALLOC = ObjectFlag.BPF_F_NO_PREALLOC;
const any: Sizes = { from: 1 };
const index: Sizes = [4];
const none: Sizes = [0];
const descriptor: Sizes = [4];

/** Maps with any keys and a limit on the number of entries. */
const hash: Kind = { keySizes: any, valueSizes: any, entries: 'counted', hashed: true };
const array: Kind = { keySizes: index, valueSizes: any, entries: 'counted' };
const descriptors: Kind = {
  ...{ keySizes: index, valueSizes: descriptor, entries: 'counted', holdsFds: true },
};
/** Maps that redirect packets. A value may have more than the target. */
const targets: Kind = { keySizes: index, valueSizes: [4, 8], entries: 'counted' };
const queue: Kind = { keySizes: none, valueSizes: any, entries: 'counted' };
const ring: Kind = { keySizes: none, valueSizes: none, entries: 'ring bytes' };
/** Storage of a cgroup. The key is the cgroup's id, alone or with the attach type. */
const ofCgroups: Kind = { keySizes: [16, 8], valueSizes: any, entries: 'none' };
/** Storage of another object. The types describe the values to a reader. */
const storage: Kind = {
  ...{ keySizes: [4], valueSizes: any, entries: 'none', needs: 'types' },
  flags: NO_PREALLOC,
};

/** An arena that crosses a boundary of 4 GiB in the caller's memory. */
const acrossBoundary: Recognition = {
  values: { max_entries: 0x20, map_extra: 0xffff0000 },
  errno: 'ERANGE',
};
/** No kernel has a type with this number. */
const noStructure: Recognition = {
  values: { btf_vmlinux_value_type_id: 0x7fffffff },
  errno: 'ENOTSUPP',
};

/**
 * The requirements of each type, by its constant.
 *
 * Kernel source: the map_alloc_check and map_alloc operations of each type.
 */
const kinds: Readonly<Record<Exclude<keyof typeof MapType, 'BPF_MAP_TYPE_UNSPEC'>, Kind>> = {
  BPF_MAP_TYPE_HASH: hash,
  BPF_MAP_TYPE_ARRAY: { ...array, indexed: true },
  BPF_MAP_TYPE_PROG_ARRAY: descriptors,
  BPF_MAP_TYPE_PERF_EVENT_ARRAY: descriptors,
  BPF_MAP_TYPE_PERCPU_HASH: { ...hash, perCpu: true },
  BPF_MAP_TYPE_PERCPU_ARRAY: { ...array, perCpu: true, indexed: true },
  BPF_MAP_TYPE_STACK_TRACE: { ...array, valueSizes: { from: 8, multipleOf: 8 } },
  BPF_MAP_TYPE_CGROUP_ARRAY: descriptors,
  BPF_MAP_TYPE_LRU_HASH: hash,
  BPF_MAP_TYPE_LRU_PERCPU_HASH: { ...hash, perCpu: true },
  // A key is the length of a prefix (4 bytes) and up to 256 bytes of the prefix.
  BPF_MAP_TYPE_LPM_TRIE: {
    ...{ keySizes: { from: 5, to: 260 }, valueSizes: any, entries: 'counted' },
    flags: NO_PREALLOC,
  },
  BPF_MAP_TYPE_ARRAY_OF_MAPS: { ...descriptors, needs: 'inner map' },
  BPF_MAP_TYPE_HASH_OF_MAPS: { ...descriptors, keySizes: any, needs: 'inner map', hashed: true },
  BPF_MAP_TYPE_DEVMAP: targets,
  BPF_MAP_TYPE_SOCKMAP: targets,
  BPF_MAP_TYPE_CPUMAP: targets,
  BPF_MAP_TYPE_XSKMAP: { ...targets, valueSizes: descriptor },
  BPF_MAP_TYPE_SOCKHASH: { ...targets, keySizes: any },
  BPF_MAP_TYPE_CGROUP_STORAGE: ofCgroups,
  BPF_MAP_TYPE_REUSEPORT_SOCKARRAY: targets,
  BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE: { ...ofCgroups, perCpu: true },
  BPF_MAP_TYPE_QUEUE: queue,
  BPF_MAP_TYPE_STACK: queue,
  BPF_MAP_TYPE_SK_STORAGE: storage,
  BPF_MAP_TYPE_DEVMAP_HASH: targets,
  BPF_MAP_TYPE_STRUCT_OPS: {
    ...{ keySizes: index, valueSizes: any, entries: 'counted', needs: 'types of the kernel' },
    recognized: noStructure,
  },
  BPF_MAP_TYPE_RINGBUF: ring,
  BPF_MAP_TYPE_INODE_STORAGE: storage,
  BPF_MAP_TYPE_TASK_STORAGE: storage,
  BPF_MAP_TYPE_BLOOM_FILTER: queue,
  BPF_MAP_TYPE_USER_RINGBUF: ring,
  BPF_MAP_TYPE_CGRP_STORAGE: storage,
  BPF_MAP_TYPE_ARENA: {
    ...{ keySizes: none, valueSizes: none, entries: 'counted' },
    flags: ObjectFlag.BPF_F_MMAPABLE,
    recognized: acrossBoundary,
  },
  BPF_MAP_TYPE_INSN_ARRAY: { ...array, valueSizes: [16] },
  BPF_MAP_TYPE_RHASH: { keySizes: any, valueSizes: any, entries: 'counted', flags: NO_PREALLOC },
};

const byNumber: readonly (MapKind | undefined)[] = Object.entries(kinds).reduce(
  (table: MapKind[], [constant, kind]) => {
    const name = constant.replace('BPF_MAP_TYPE_', '').toLowerCase();
    table[MapType[constant as keyof typeof MapType]] = { name, ...kind };
    return table;
  },
  [],
);

/** All types that the table has, by their numbers. */
export const mapKinds: readonly (readonly [type: number, kind: MapKind])[] = byNumber.flatMap(
  (kind, type): (readonly [number, MapKind])[] => (kind === undefined ? [] : [[type, kind]]),
);

/** Returns the facts about a map type, or `undefined` when only a kernel knows them. */
export function mapKind(type: number): MapKind | undefined {
  return byNumber[type];
}

/**
 * Returns all types with a fact, as a table by number. A look-up in a set costs several times as
 * much.
 */
export function typesWith(fact: 'perCpu' | 'holdsFds' | 'hashed'): readonly boolean[] {
  return Array.from(byNumber, (kind) => kind?.[fact] === true);
}

/** Returns whether keys or values may have this size. */
export function fits(sizeBytes: number, sizes: Sizes): boolean {
  if ('from' in sizes) {
    const { from, to = Number.POSITIVE_INFINITY, multipleOf = 1 } = sizes;
    return sizeBytes >= from && sizeBytes <= to && sizeBytes % multipleOf === 0;
  }
  return sizes.includes(sizeBytes);
}

/** Returns the smallest allowed size. */
export function leastOf(sizes: Sizes): number {
  return 'from' in sizes ? sizes.from : (sizes[0] as number);
}
