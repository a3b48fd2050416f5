/*
 * Maps as they are made and found. The compiler knows the type of a map that is made here, and
 * offers only what it has.
 */
import { enums, rows, specOfInfo, specOfNew } from '../bpf/index.js';
import type { Patience } from '../session/caller.js';
import { patient } from './bpf-calls.js';
import type { GuestKernel } from './guest-kernel.js';
import type { PinnableObject } from './guest-object.js';
import { type MapInfo, mapInfo } from './info.js';
import { BpfMap } from './map.js';
import { checkMapOptions } from './map-checks.js';
import type { FamilyOf, OperationOf } from './map-operations.js';
import { boundCodecs, createArguments, type MapCodecs, type MapOptions } from './map-options.js';
import { each, open, type Where } from './objects.js';

/** What every map has. */
type Common = 'spec' | 'key' | 'value' | 'codecs' | 'freeze' | 'info';

/** A map with keys, of any type but those below; see {@link BpfMap}. */
export interface KeyedMap<K = Uint8Array, V = Uint8Array, KIn = K, VIn = V>
  extends PinnableObject<'map'>,
    Pick<BpfMap<K, V, KIn, VIn>, Common | OperationOf<'entries'> | typeof Symbol.asyncIterator> {}

/** An array of perf events, the buffers of which programs write records to; see {@link BpfMap}. */
export interface PerfEventArray<K = Uint8Array, V = Uint8Array, KIn = K, VIn = V>
  extends KeyedMap<K, V, KIn, VIn>,
    Pick<BpfMap<K, V, KIn, VIn>, 'records'> {}

/** A queue or a stack; see {@link BpfMap}. */
export interface QueueMap<V = Uint8Array, VIn = V>
  extends PinnableObject<'map'>,
    Pick<BpfMap<Uint8Array, V, Uint8Array, VIn>, Common | OperationOf<'queue'>> {}

/** A bloom filter; see {@link BpfMap}. */
export interface BloomFilter<V = Uint8Array, VIn = V>
  extends PinnableObject<'map'>,
    Pick<BpfMap<Uint8Array, V, Uint8Array, VIn>, Common | OperationOf<'filter'>> {}

/** A ring buffer, which programs write records to; see {@link BpfMap}. */
export interface RingBuffer
  extends PinnableObject<'map'>,
    Pick<BpfMap, Common | OperationOf<'ring'>> {}

/** A ring buffer that programs read records from; see {@link BpfMap}. */
export interface UserRingBuffer
  extends PinnableObject<'map'>,
    Pick<BpfMap, Common | OperationOf<'user ring'>> {}

/** Memory that programs share, or another map without operations of its own. */
export interface ArenaMap extends PinnableObject<'map'>, Pick<BpfMap, Common> {}

interface MapsByFamily<K, V, KIn, VIn> {
  entries: KeyedMap<K, V, KIn, VIn>;
  'perf events': PerfEventArray<K, V, KIn, VIn>;
  queue: QueueMap<V, VIn>;
  filter: BloomFilter<V, VIn>;
  ring: RingBuffer;
  'user ring': UserRingBuffer;
  memory: ArenaMap;
}

/**
 * A map of a type that the compiler knows, such as `typeof enums.MapType.BPF_MAP_TYPE_HASH`. Of a
 * type that it does not know, which is any number, it is a {@link BpfMap} with all operations.
 */
export type MapOf<
  Type extends number,
  K = Uint8Array,
  V = Uint8Array,
  KIn = K,
  VIn = V,
> = number extends Type ? BpfMap<K, V, KIn, VIn> : MapsByFamily<K, V, KIn, VIn>[FamilyOf<Type>];

type Keys = { readonly key: object } | { readonly keySize: number };
type Values = { readonly value: object } | { readonly valueSize: number };
type NoKeys = { readonly key?: never; readonly keySize?: 0 };
type NoValues = { readonly value?: never; readonly valueSize?: 0 };

interface SizesByFamily {
  entries: Keys & Values;
  'perf events': Keys & Values;
  queue: NoKeys & Values;
  filter: NoKeys & Values;
  ring: NoKeys & NoValues;
  'user ring': NoKeys & NoValues;
  memory: NoKeys & NoValues;
}

/** The keys and values that a map of a type must have, and those that it cannot have. */
export type SizesOf<Type extends number> = number extends Type
  ? unknown
  : SizesByFamily[FamilyOf<Type>];

/** Creates a map; see {@link Session.createMap}. */
export async function createMap<K, V, KIn, VIn>(
  session: GuestKernel,
  options: MapOptions<K, V, KIn, VIn>,
): Promise<BpfMap<K, V, KIn, VIn>> {
  checkMapOptions(options, session.kernel.pageSize);
  const values = createArguments(options);
  const spec = specOfNew(values);
  const { name = '' } = options;
  // Before the map is there, so that a codec that does not fit leaves nothing behind.
  boundCodecs(options, spec, session.kernel.possibleCpus);
  const about = name === '' ? {} : { subject: `map "${name}"` };
  const { handle } = await session.bpf(rows.MAP_CREATE, values, patient(about, options));
  session.calls.knownMaps.set(handle, spec);
  return new BpfMap(session, handle, spec, options, name);
}

/** Opens a map that is there already; see {@link Session.map}. */
export async function openMap<K, V, KIn, VIn>(
  session: GuestKernel,
  where: Where,
  options: MapCodecs<K, V, KIn, VIn> & { flags?: number } & Patience,
): Promise<BpfMap<K, V, KIn, VIn>> {
  const handle = await open(session, 'map', where, { flags: options.flags, patience: options });
  try {
    const values = { bpf_fd: { handle } };
    const { info } = await session.bpf(rows.OBJ_GET_INFO_BY_FD_MAP, values, patient({}, options));
    const spec = specOfInfo(info);
    session.calls.knownMaps.set(handle, spec);
    return new BpfMap(session, handle, spec, options, info.name);
  } catch (error) {
    await session.release([handle]);
    throw error;
  }
}

/** Yields what the kernel says about every map; see {@link Session.maps}. */
export function eachMap(session: GuestKernel): AsyncGenerator<MapInfo> {
  return each(session, 'map', enums.ObjectFlag.BPF_F_RDONLY, async (map) => {
    const { info } = await session.bpf(rows.OBJ_GET_INFO_BY_FD_MAP, { bpf_fd: map });
    return mapInfo(info);
  });
}
