import type { Arguments, MapSpec, Ref, rows } from '../bpf/index.js';
import { valueBytes } from '../bpf/index.js';
import { bytes, type Codec } from '../codec/index.js';
import { failure } from '../errors.js';
import type { Patience } from '../session/caller.js';
import type { GuestObject } from './guest-object.js';

/** The codecs of a map's keys and values. Without codecs they are bytes, as in the kernel. */
export interface MapCodecs<K, V, KIn = K, VIn = V> {
  /** How keys lie in memory. */
  key?: Codec<K, KIn>;
  /** How values lie in memory; of a per-CPU map, {@link perCpu} of one CPU's. */
  value?: Codec<V, VIn>;
}

/** Options of `createMap`. Sizes are in bytes. */
export interface MapOptions<K = Uint8Array, V = Uint8Array, KIn = K, VIn = V>
  extends MapCodecs<K, V, KIn, VIn>,
    Patience {
  /** `BPF_MAP_TYPE_*`, such as `enums.MapType.BPF_MAP_TYPE_HASH`. */
  type: number;
  /** Follows from `key` where that is given. Default 0, for maps without keys. */
  keySize?: number;
  /** Follows from `value` where that is given. Default 0, for maps without values. */
  valueSize?: number;
  /**
   * How many entries there can be; of a ring buffer its bytes, a power of two and at least a page;
   * 0 for storage that belongs to other objects.
   */
  maxEntries: number;
  /** `BPF_F_*`. Default 0. */
  flags?: number;
  /** At most 15 letters, digits, `_` and `.`; shown by bpftool, and by errors. */
  name?: string;
  /** A template for the maps in a map of maps. */
  innerMap?: Ref<'map'>;
  /** The types by which bpftool prints keys and values. Maps with locks or timers need them. */
  types?: { btf: Ref<'btf'>; key: number; value: number };
  /** `map_extra`: how many hash functions a bloom filter has. */
  extra?: number | bigint;
  /** With the flag BPF_F_NUMA_NODE: where the map's memory is. */
  numaNode?: number;
  /** The network interface whose device runs it. */
  interfaceIndex?: number;
}

/** The arguments of BPF_MAP_CREATE. */
export function createArguments(
  options: MapOptions<unknown, unknown, never, never>,
): Arguments<typeof rows.MAP_CREATE> {
  const { type, maxEntries, flags = 0, name = '', key, value, types } = options;
  return {
    map_type: type,
    key_size: key?.sizeBytes ?? options.keySize ?? 0,
    value_size: value?.sizeBytes ?? options.valueSize ?? 0,
    max_entries: maxEntries,
    map_flags: flags,
    map_name: name,
    ...(options.innerMap === undefined ? {} : { inner_map_fd: options.innerMap }),
    ...(types === undefined
      ? {}
      : { btf_fd: types.btf, btf_key_type_id: types.key, btf_value_type_id: types.value }),
    ...(options.extra === undefined ? {} : { map_extra: options.extra }),
    ...(options.numaNode === undefined ? {} : { numa_node: options.numaNode }),
    ...(options.interfaceIndex === undefined ? {} : { map_ifindex: options.interfaceIndex }),
  };
}

/** A map with codecs, as what goes through its entries needs it: a {@link BpfMap} is one. */
export interface CodedMap<K, V, KIn = K, VIn = V> extends GuestObject<'map'> {
  readonly spec: MapSpec;
  readonly key: Codec<K, KIn>;
  readonly value: Codec<V, VIn>;
}

/**
 * The codecs of a map as bpf(2) copies its keys and values.
 *
 * @throws ERR_OPTION_INVALID for a codec that does not fit the map
 */
export function boundCodecs<K, V, KIn, VIn>(
  { key, value }: MapCodecs<K, V, KIn, VIn>,
  spec: MapSpec,
  possibleCpus: number,
): { key: Codec<K, KIn>; value: Codec<V, VIn> } {
  const valueSize = valueBytes(spec, possibleCpus);
  return {
    key: fitting('key', key, spec.keySize, spec.keySize, possibleCpus),
    value: fitting('value', value, spec.valueSize, valueSize, possibleCpus),
  };
}

function fitting<T, In>(
  part: 'key' | 'value',
  codec: Codec<T, In> | undefined,
  sizeBytes: number,
  copiedBytes: number,
  possibleCpus: number,
): Codec<T, In> {
  // Without a codec the types are those of bytes, by the defaults of the type parameters.
  if (codec === undefined) return bytes(copiedBytes) as unknown as Codec<T, In>;
  const bound = codec.forCpus?.(possibleCpus) ?? codec;
  if (codec.sizeBytes === sizeBytes && bound.sizeBytes === copiedBytes) return bound;
  const cure =
    codec.sizeBytes !== sizeBytes
      ? `a codec of ${sizeBytes} bytes`
      : bound === codec
        ? `perCpu(${codec.name}): the map has a value for each CPU`
        : 'a codec without perCpu(): the map has one value for all CPUs';
  throw failure('ERR_OPTION_INVALID', {
    option: part,
    value: `${codec.name} of ${codec.sizeBytes} bytes`,
    expected: cure,
  });
}
