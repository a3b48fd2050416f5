/* What createMap refuses before the call, asked of a kernel itself. */
import {
  type Arguments,
  enums,
  fits,
  leastOf,
  type MapKind,
  mapKind,
  rows,
} from '../../src/bpf/index.js';

import type { Session } from '../../src/session.js';

type Shape = Arguments<typeof rows.MAP_CREATE>;

const { MapType, ObjectFlag } = enums;
const KEY_SIZES = [0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 17, 24, 260, 261, 264];
const VALUE_SIZES = [0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 17, 24];
const NAMES = ['a-b', 'a b', 'a/b', 'ä', 'a:b'];

/** A 32-bit number, id 1: what describes keys and values. */
const oneType = Uint8Array.from([
  ...[0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 16, 0, 0, 0, 5, 0, 0, 0],
  ...[1, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 32, 0, 0, 1],
  ...Buffer.from('\0int\0'),
]);

/** What a kernel made of maps that createMap lets pass, and of those that it refuses. */
export interface Judgement {
  /** The types that the kernel has and the types that it lacks. */
  readonly made: readonly string[];
  readonly lacking: readonly string[];
  /** How many maps were asked for that createMap refuses. */
  readonly asked: number;
  /** Those that the kernel made all the same; there should be none. */
  readonly mistaken: readonly string[];
}

/** Asks a kernel for a map of each type, and for all that differ from it by one thing. */
export async function judge(session: Session): Promise<Judgement> {
  await using inner = await session.createMap({
    ...{ type: MapType.BPF_MAP_TYPE_ARRAY, keySize: 4, valueSize: 4, maxEntries: 1 },
  });
  await using btf = await session.loadBtf(oneType);
  const isMade = async (shape: Shape) => {
    const outcome = await session.tryBpf(rows.MAP_CREATE, shape);
    if (outcome.result >= 0) await session.release([outcome.handle]);
    return outcome.result >= 0;
  };
  const made: string[] = [];
  const lacking: string[] = [];
  const mistaken: string[] = [];
  let asked = 0;
  for (const type of Object.values(MapType)) {
    const kind = mapKind(type);
    if (kind === undefined) continue;
    const needed: Shape =
      kind.needs === 'inner map'
        ? { inner_map_fd: inner }
        : kind.needs === 'types'
          ? { btf_fd: btf, btf_key_type_id: 1, btf_value_type_id: 1, value_size: 4 }
          : {};
    const good = { map_type: type, ...shapeOf(kind, session.kernel.pageSize), ...needed };
    if (!(await isMade(good))) {
      lacking.push(kind.name);
      continue;
    }
    made.push(kind.name);
    for (const [what, change] of breaches(kind, session.kernel.pageSize)) {
      asked++;
      const shape = { ...good, ...change };
      if (await isMade(shape)) mistaken.push(`${kind.name} with ${what}`);
    }
    if (kind.needs !== undefined) {
      asked++;
      const { map_type, key_size, value_size, max_entries, map_flags } = good;
      const bare = { map_type, key_size, value_size, max_entries, map_flags };
      if (await isMade(bare)) mistaken.push(`${kind.name} without ${kind.needs}`);
    }
  }
  return { made, lacking, asked, mistaken };
}

function shapeOf(kind: MapKind, pageSize: number) {
  return {
    key_size: leastOf(kind.keySizes),
    value_size: leastOf(kind.valueSizes),
    max_entries: { counted: 1, none: 0, 'ring bytes': pageSize }[kind.entries],
    map_flags: kind.flags ?? 0,
  };
}

/** Changes to a good map of a kind, each of which createMap refuses. */
function breaches(kind: MapKind, pageSize: number): [what: string, change: Shape][] {
  const entries = {
    counted: [0],
    none: [1, 2, pageSize],
    'ring bytes': [0, 1, 1000, pageSize / 2, pageSize - 1, pageSize + 1, 1.5 * pageSize],
  }[kind.entries];
  return [
    ...KEY_SIZES.filter((bytes) => !fits(bytes, kind.keySizes)).map((bytes): [string, Shape] => [
      `keys of ${bytes} bytes`,
      { key_size: bytes },
    ]),
    ...VALUE_SIZES.filter((bytes) => !fits(bytes, kind.valueSizes)).map(
      (bytes): [string, Shape] => [`values of ${bytes} bytes`, { value_size: bytes }],
    ),
    ...entries.map((count): [string, Shape] => [`${count} entries`, { max_entries: count }]),
    ...NAMES.map((name): [string, Shape] => [`the name ${name}`, { map_name: name }]),
    ...((kind.flags ?? 0) === 0 ? [] : [['no flags', { map_flags: 0 }] satisfies [string, Shape]]),
    // A flag beside those that are needed is a kernel's to judge.
    ...(kind.flags === undefined
      ? []
      : [['another flag', { map_flags: ObjectFlag.BPF_F_NUMA_NODE }] satisfies [string, Shape]]),
  ];
}
