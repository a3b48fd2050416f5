import type { Handle } from '../call.js';
import { failure } from '../errors.js';
import type { MAP_CREATE, OBJ_GET_INFO_BY_FD_MAP } from './commands.js';
import { ElementFlag } from './enums.js';
import { typesWith } from './map-kinds.js';
import type { FdKind, IterTarget } from './rows.js';
import type { Arguments, Results } from './types.js';

/** What the lengths of keys and values depend on. Sizes are in bytes. */
export interface MapSpec {
  /** `BPF_MAP_TYPE_*`. */
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  /** The map's `map_flags`. */
  readonly flags: number;
  /**
   * Of a STRUCT_OPS map, the byte offsets in a value of the members that are functions: of the
   * `data` member of the kernel's `struct bpf_struct_ops_…`, by the guest's own types. Without them
   * its values cannot be written.
   */
  readonly programOffsets?: readonly number[];
}

/** The spec of a map that MAP_CREATE makes of these values. */
export function specOfNew(values: Arguments<typeof MAP_CREATE>): MapSpec {
  return {
    type: values.map_type ?? 0,
    keySize: values.key_size ?? 0,
    valueSize: values.value_size ?? 0,
    maxEntries: values.max_entries ?? 0,
    flags: values.map_flags ?? 0,
  };
}

/** The spec of a map by what OBJ_GET_INFO_BY_FD says of it. */
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
 * What must be known of the guest to encode a call, beyond the call itself: map key and value
 * lengths are the one thing that no table can know.
 */
export interface MapSpecs {
  /** The spec of the map behind `handle`, or `undefined` when it is no map or not known. */
  mapSpec(handle: Handle): MapSpec | undefined;
  /** How many CPUs the guest can have (/sys/devices/system/cpu/possible). */
  readonly possibleCpus: number;
}

/** What must be known besides to tell the shape of a call from its raw bytes. */
export interface ObjectSpecs extends MapSpecs {
  kindOf(handle: Handle): FdKind | undefined;
  /** `BPF_LINK_TYPE_*` of the link behind `handle`, or `undefined` when it is not known. */
  linkTypeOf(handle: Handle): number | undefined;
  /** `BPF_PROG_TYPE_*` of the program behind `handle`, or `undefined` when it is not known. */
  progTypeOf?(handle: Handle): number | undefined;
  /** `BPF_PERF_EVENT_*` of a link to a perf event, or `undefined` when it is not known. */
  perfTypeOf?(handle: Handle): number | undefined;
  /** What the iterator program behind `handle` goes over, or `undefined` when it is not known. */
  iterTargetOf?(handle: Handle): IterTarget | undefined;
}

const perCpu = typesWith('perCpu');
const holdsFds = typesWith('holdsFds');
const hashes = typesWith('hashed');

const oneCpu = ElementFlag.BPF_F_CPU | ElementFlag.BPF_F_ALL_CPUS;

/**
 * The bytes of one value as bpf(2) copies it: of a per-CPU map, one value for every possible CPU,
 * each rounded up to 8 bytes, unless the low half of the operation's flags asks for one CPU's.
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
 * The bytes of a position in a batch: hash tables write a bucket number, others the last key.
 *
 * Kernel source: __htab_map_lookup_and_delete_batch() and generic_map_lookup_batch().
 */
export function batchTokenBytes(map: MapSpec): number {
  return hashes[map.type] === true ? 4 : map.keySize;
}

/** The spec of the map behind `handle`, which must be known. */
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
 * What an iterator program goes over, by the name of the function that it is attached to, such as
 * `bpf_iter_task`.
 *
 * Kernel source: the users of `attach_target` in struct bpf_iter_reg.
 */
export function iterTargetNamed(name: string): IterTarget {
  return iterTargets[name.replace(/^bpf_iter_/, '')] ?? 'other';
}
