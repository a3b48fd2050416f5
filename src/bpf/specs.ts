import type { Handle } from '../call.js';
import { failure } from '../errors.js';
import type { MAP_CREATE, OBJ_GET_INFO_BY_FD_MAP } from './commands.js';
import { ElementFlag } from './enums.js';
import { typesWith } from './map-kinds.js';
import type { FdKind, IterTarget } from './rows.js';
import type { Arguments, Results } from './types.js';

/** The facts that the lengths of keys and values depend on. Sizes are in bytes. */
export interface MapSpec {
  /** `BPF_MAP_TYPE_*`. */
  readonly type: number;
  /** The size of a key, in bytes. */
  readonly keySize: number;
  /** The size of a value, in bytes. */
  readonly valueSize: number;
  /** The number of entries that there is room for, or the bytes of a ring buffer. */
  readonly maxEntries: number;
  /** The map's `map_flags`. */
  readonly flags: number;
  /**
   * For a STRUCT_OPS map, the byte offsets of the function members in a value: in the `data` member
   * of the kernel's `struct bpf_struct_ops_…`, by the guest's own types. Without them the map's
   * values cannot be written.
   */
  readonly programOffsets?: readonly number[];
}

/** Returns the spec of a map that MAP_CREATE makes from these values. */
export function specOfNew(values: Arguments<typeof MAP_CREATE>): MapSpec {
  return {
    type: values.map_type ?? 0,
    keySize: values.key_size ?? 0,
    valueSize: values.value_size ?? 0,
    maxEntries: values.max_entries ?? 0,
    flags: values.map_flags ?? 0,
  };
}

/** Returns the spec of a map from the result of OBJ_GET_INFO_BY_FD. */
export function specOfInfo(info: Results<typeof OBJ_GET_INFO_BY_FD_MAP>['info']): MapSpec {
  return {
    type: info.type,
    keySize: info.key_size,
    valueSize: info.value_size,
    maxEntries: info.max_entries,
    flags: info.map_flags,
  };
}

/**
 * The facts about the guest that encoding a call needs. No table can know the lengths of map keys
 * and values.
 */
export interface MapSpecs {
  /**
   * Returns the spec of the map behind `handle`, or `undefined` when the handle is no map or is
   * unknown.
   */
  mapSpec(handle: Handle): MapSpec | undefined;
  /** The number of possible CPUs of the guest (/sys/devices/system/cpu/possible). */
  readonly possibleCpus: number;
}

/** The further facts that decide the shape of a call from its raw bytes. */
export interface ObjectSpecs extends MapSpecs {
  /** Returns the kind of object that a handle stands for, if that is known. */
  kindOf(handle: Handle): FdKind | undefined;
  /** Returns `BPF_LINK_TYPE_*` of the link behind `handle`, or `undefined` when it is unknown. */
  linkTypeOf(handle: Handle): number | undefined;
  /**
   * Returns `BPF_PROG_TYPE_*` of the program behind `handle`, or `undefined` when it is unknown.
   */
  progTypeOf?(handle: Handle): number | undefined;
  /** Returns `BPF_PERF_EVENT_*` of a link to a perf event, or `undefined` when it is unknown. */
  perfTypeOf?(handle: Handle): number | undefined;
  /**
   * Returns the target of the iterator program behind `handle`, or `undefined` when it is unknown.
   */
  iterTargetOf?(handle: Handle): IterTarget | undefined;
}

const perCpu = typesWith('perCpu');
const holdsFds = typesWith('holdsFds');
const hashes = typesWith('hashed');

const oneCpu = ElementFlag.BPF_F_CPU | ElementFlag.BPF_F_ALL_CPUS;

/**
 * Returns the size in bytes of one value as bpf(2) copies it. For a per-CPU map, there is one value
 * for each possible CPU, each rounded up to 8 bytes, unless the low half of the operation's flags
 * asks for one CPU's value.
 *
 * Kernel source: bpf_map_value_size() in kernel/bpf/syscall.c.
 */
export function valueBytes(map: MapSpec, possibleCpus: number, flags = 0): number {
  if (perCpu[map.type] === true && (flags & oneCpu) === 0) {
    return Math.ceil(map.valueSize / 8) * 8 * possibleCpus;
  }
  return holdsFds[map.type] === true ? 4 : map.valueSize;
}

/**
 * Returns the size in bytes of a position in a batch. Hash tables write a bucket number, other maps
 * write the last key.
 *
 * Kernel source: __htab_map_lookup_and_delete_batch() and generic_map_lookup_batch().
 */
export function batchTokenBytes(map: MapSpec): number {
  return hashes[map.type] === true ? 4 : map.keySize;
}

/** Returns the spec of the map behind `handle`. Throws if the spec is unknown. */
export function knownMap(specs: MapSpecs, handle: Handle, command: string, field: string): MapSpec {
  const map = specs.mapSpec(handle);
  if (map === undefined) {
    throw failure('ERR_BPF_FIELD', {
      command,
      field,
      value: `handle ${handle}`,
      expected: 'a map whose key and value sizes are known; ask for its info first',
    });
  }
  return map;
}

const iterTargets: { readonly [name: string]: IterTarget } = {
  bpf_map_elem: 'map',
  bpf_sk_storage_map: 'map',
  sockmap: 'map',
  cgroup: 'cgroup',
  task: 'task',
  task_file: 'task',
  task_vma: 'task',
};

/**
 * Returns the target of an iterator program from the name of the function that the program is
 * attached to, such as `bpf_iter_task`.
 *
 * Kernel source: the users of `attach_target` in struct bpf_iter_reg.
 */
export function iterTargetNamed(name: string): IterTarget {
  return iterTargets[name.replace(/^bpf_iter_/, '')] ?? 'other';
}
