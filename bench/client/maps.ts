import { enums } from '../../src/bpf/index.js';
import { count, u32 } from '../../src/codec/index.js';
import type { KeyedMap } from '../../src/kernel/index.js';
import { Session } from '../../src/session.js';
import { entriesMetric } from '../metrics.js';
import type { Counts } from './protocol.js';

/* The same maps, keys and values as in bench/c/maps.c. */
const OPS_ENTRIES = 1024;

type CountMap = KeyedMap<number, number>;
const maps = new Map<string, Promise<CountMap>>();

/** A map of so many entries in the guest, filled when it is first asked for. */
function mapWith(address: string, entries: number, maxEntries: number): Promise<CountMap> {
  const key = `${address} ${entries}`;
  const found = maps.get(key) ?? fill(address, entries, maxEntries);
  maps.set(key, found);
  return found;
}

async function fill(address: string, entries: number, maxEntries: number): Promise<CountMap> {
  const session = await Session.connect(address, { client: 'waep bench' });
  const map = await session.createMap({
    type: enums.MapType.BPF_MAP_TYPE_HASH,
    key: u32,
    value: count,
    maxEntries,
  });
  await map.updateMany(Array.from({ length: entries }, (_, i) => [i, i + 1] as const));
  return map;
}

/** Times the element operations on a new key, as `maps ops` of bench/c/maps.c does. */
export async function measureElements(
  options: { address: string } & Counts,
): Promise<Record<string, number[]>> {
  const map = await mapWith(options.address, OPS_ENTRIES, 2 * OPS_ENTRIES);
  const steps = {
    MAP_UPDATE_ELEM: (key: number) => map.update(key, key),
    MAP_LOOKUP_ELEM: (key: number) => map.lookup(key),
    // The new key may be the last one.
    MAP_GET_NEXT_KEY: (key: number) => map.nextKey(key),
    MAP_DELETE_ELEM: (key: number) => map.delete(key),
  };
  const samples: Record<string, number[]> = {};
  for (const name of Object.keys(steps)) samples[name] = [];
  for (let i = 0; i < options.warmup + options.samples; i++) {
    const key = OPS_ENTRIES + (i % OPS_ENTRIES);
    for (const [name, step] of Object.entries(steps)) {
      const start = performance.now();
      await step(key);
      const elapsedNs = (performance.now() - start) * 1e6;
      if (i >= options.warmup) samples[name]?.push(elapsedNs);
    }
  }
  return samples;
}

/**
 * Times the reading of a whole map, keys and values decoded and added up, as `maps dump` and
 * `maps walk` of bench/c/maps.c do.
 */
export async function measureEntries(
  options: { address: string; entries: number; batchEntries: number } & Counts,
): Promise<Record<string, number[]>> {
  const { address, entries, batchEntries } = options;
  const map = await mapWith(address, entries, entries);
  const samples: number[] = [];
  for (let i = 0; i < options.warmup + options.samples; i++) {
    const start = performance.now();
    let sum = 0;
    for await (const [key, value] of map.entries({ batchEntries })) sum += key + value;
    const elapsedNs = (performance.now() - start) * 1e6;
    if (sum !== entries * entries) throw new Error('not every entry was met once');
    if (i >= options.warmup) samples.push(elapsedNs);
  }
  return { [entriesMetric(entries, batchEntries)]: samples };
}
