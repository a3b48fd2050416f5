/* Which types of maps the guest's kernel has. */
import {
  type Arguments,
  enums,
  leastOf,
  type MapKind,
  mapKinds,
  type Recognition,
  rows,
} from '../bpf/index.js';
import { errnoName, errnoNumber } from '../errno.js';
import { loadBtf } from './btf.js';
import { ask, type Finding, inParallel, lacking } from './finding.js';
import type { GuestKernel } from './guest-kernel.js';
import type { GuestObject } from './guest-object.js';
import { createMap } from './maps.js';

type MapShape = Arguments<typeof rows.MAP_CREATE>;

/** Asks for a small map of each type, and closes it. */
export async function surveyMaps(session: GuestKernel): Promise<Finding[]> {
  const ingredients = new Ingredients(session);
  try {
    return await inParallel(mapKinds, ([type, kind]) =>
      ask(kind.name, async () => {
        // A kernel without types of its own refuses such a map with the same errno.
        if (kind.needs === 'types of the kernel' && !session.kernel.btf) return false;
        const small = {
          map_type: type,
          ...smallest(kind, session.kernel.pageSize),
          ...(await ingredients.for(kind)),
        };
        const errno = await errnoOf(session, small);
        if (errno === 0) return true;
        const otherwise = lacking(errno);
        if (!(await isRecognized(session, small, kind.recognized))) return otherwise;
        if (otherwise === false) return true;
        return { offered: true, why: `making one ends with ${errnoName(errno)}` };
      }),
    );
  } finally {
    await ingredients.close();
  }
}

/** Returns 0 if the kernel makes the map. */
async function errnoOf(session: GuestKernel, shape: MapShape): Promise<number> {
  const { result, errno, handle } = await session.tryBpf(rows.MAP_CREATE, shape);
  if (result < 0) return errno;
  await session.release([handle]);
  return 0;
}

/** Returns whether the kernel refuses what only a kernel with the type refuses in this way. */
async function isRecognized(
  session: GuestKernel,
  small: MapShape,
  by: Recognition | undefined,
): Promise<boolean> {
  if (by === undefined) return false;
  return (await errnoOf(session, { ...small, ...by.values })) === errnoNumber(by.errno);
}

/** The smallest map of a kind. */
function smallest(kind: MapKind, pageSize: number): MapShape {
  return {
    key_size: leastOf(kind.keySizes),
    value_size: leastOf(kind.valueSizes),
    max_entries: { counted: 1, none: 0, 'ring bytes': pageSize }[kind.entries],
    map_flags: kind.flags ?? 0,
  };
}

/** Types (BTF) with a number of 32 bits, id 1: what is needed to describe keys and values. */
const oneType = Uint8Array.from([
  ...[0x9f, 0xeb, 1, 0, 24, 0, 0, 0], // magic, version, flags, header's length
  ...[0, 0, 0, 0, 16, 0, 0, 0], // where the types are, and how long
  ...[16, 0, 0, 0, 5, 0, 0, 0], // where the strings are, and how long
  ...[1, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 32, 0, 0, 1], // "int", BTF_KIND_INT, 4 bytes, signed
  ...Buffer.from('\0int\0'),
]);

/**
 * Objects that maps of some types refer to. They are made for the first such map and closed after
 * the last.
 */
class Ingredients {
  readonly #session: GuestKernel;
  readonly #made = new Map<string, Promise<GuestObject>>();

  constructor(session: GuestKernel) {
    this.#session = session;
  }

  async for({ needs }: MapKind): Promise<MapShape> {
    if (needs === 'inner map') return { inner_map_fd: await this.#once('map') };
    if (needs !== 'types') return {};
    const btf_fd = await this.#once('btf');
    return { btf_fd, btf_key_type_id: 1, btf_value_type_id: 1, value_size: 4 };
  }

  #once<K extends keyof typeof makers>(kind: K): ReturnType<(typeof makers)[K]> {
    const made = this.#made.get(kind) ?? makers[kind](this.#session);
    this.#made.set(kind, made);
    return made as ReturnType<(typeof makers)[K]>;
  }

  async close(): Promise<void> {
    // Whoever asked for one that could not be made knows.
    for (const made of await Promise.allSettled(this.#made.values())) {
      if (made.status === 'fulfilled') await made.value.close();
    }
  }
}

const makers = {
  map: (session: GuestKernel) =>
    createMap(session, {
      type: enums.MapType.BPF_MAP_TYPE_ARRAY,
      keySize: 4,
      valueSize: 4,
      maxEntries: 1,
    }),
  btf: (session: GuestKernel) => loadBtf(session, oneType),
};
