/*
 * Many writes at a time: in batches where the kernel and the type of map can, else one by one
 * without waiting in between.
 *
 * Kernel source: generic_map_update_batch() and generic_map_delete_batch() in
 * kernel/bpf/syscall.c.
 */
import { rows } from '../bpf/index.js';
import { type Codec, within } from '../codec/index.js';
import { errnoName } from '../errno.js';
import { type SystemError, WaepError } from '../errors.js';
import type { Patience } from '../session/caller.js';
import { patient } from './bpf-calls.js';
import type { CodedMap } from './map-options.js';

const BATCH_BYTES = 1024 * 1024;
const unsupported = new Set(['ENOTSUPP', 'EOPNOTSUPP', 'EINVAL']);

/** Sets many values; see {@link BpfMap.updateMany}. */
export async function updateMany<K, V, KIn, VIn>(
  map: CodedMap<K, V, KIn, VIn>,
  entries: Iterable<readonly [KIn, VIn]>,
  options: { flags?: number; batchEntries?: number } & Patience,
): Promise<number> {
  const { flags = 0 } = options;
  const about = patient({}, options);
  const writer = new Writer(map, options.batchEntries);
  let done = 0;
  let batched = true;
  const write = async () => {
    const { length, keys, values } = writer.take();
    if (length === 0) return;
    if (batched) {
      const outcome = await allowed(
        map.session.tryBpf(
          rows.MAP_UPDATE_BATCH,
          { map_fd: map, keys, values, elem_flags: flags },
          about,
        ),
      );
      if (outcome?.errno === 0) {
        done += length;
        return;
      }
      batched = outcome !== undefined && !unsupported.has(errnoName(outcome.errno));
      if (batched) throw aboutEntry(map, done + (outcome?.values().count ?? 0), outcome);
    }
    const calls = Array.from({ length }, (_, at) =>
      map.session.tryBpf(
        rows.MAP_UPDATE_ELEM,
        {
          map_fd: map,
          key: part(keys, at, map.key),
          value: part(values, at, map.value),
          flags,
        },
        about,
      ),
    );
    for (const outcome of await Promise.all(calls)) {
      if (outcome.result < 0) throw aboutEntry(map, done, outcome);
      done++;
    }
  };
  for (const [key, value] of entries) {
    if (writer.add(key, value)) await write();
  }
  await write();
  return done;
}

/** Removes many keys; see {@link BpfMap.deleteMany}. */
export async function deleteMany<K, V, KIn, VIn>(
  map: CodedMap<K, V, KIn, VIn>,
  keys: Iterable<KIn>,
  options: { batchEntries?: number } & Patience,
): Promise<number> {
  const writer = new Writer(map, options.batchEntries);
  const about = patient({}, options);
  let done = 0;
  let seen = 0;
  let batched = true;
  const remove = async () => {
    let { length, keys: rest } = writer.take();
    while (length > 0 && batched) {
      const outcome = await allowed(
        map.session.tryBpf(rows.MAP_DELETE_BATCH, { map_fd: map, keys: rest }, about),
      );
      const code = outcome === undefined ? '' : errnoName(outcome.errno);
      batched = outcome !== undefined && !unsupported.has(code);
      if (outcome === undefined || !batched) break;
      const removed = outcome.errno === 0 ? length : outcome.values().count;
      done += removed;
      seen += removed;
      if (outcome.errno === 0) return;
      if (code !== 'ENOENT') throw aboutEntry(map, seen, outcome);
      // The kernel stops at a key that is not there.
      seen++;
      rest = rest.subarray((removed + 1) * map.key.sizeBytes);
      length -= removed + 1;
    }
    const calls = Array.from({ length }, (_, at) =>
      map.session.tryBpf(
        rows.MAP_DELETE_ELEM,
        { map_fd: map, key: part(rest, at, map.key) },
        about,
      ),
    );
    for (const outcome of await Promise.all(calls)) {
      if (outcome.result >= 0) done++;
      else if (errnoName(outcome.errno) !== 'ENOENT') throw aboutEntry(map, seen, outcome);
      seen++;
    }
  };
  for (const key of keys) {
    if (writer.add(key)) await remove();
  }
  await remove();
  return done;
}

/** The outcome of a batch, or nothing where the guest's owner does not allow batches. */
async function allowed<T>(outcome: Promise<T>): Promise<T | undefined> {
  try {
    return await outcome;
  } catch (error) {
    if (error instanceof WaepError && error.code === 'ERR_POLICY_REFUSED') return undefined;
    throw error;
  }
}

interface Refused {
  error(subject: { toString(): string }): SystemError;
}

function aboutEntry(map: object, index: number, outcome: Refused | undefined): unknown {
  return outcome?.error({ toString: () => `${map}, entry ${index}` });
}

function part(bytes: Uint8Array, index: number, codec: Codec<unknown, never>): Uint8Array {
  return bytes.subarray(index * codec.sizeBytes, (index + 1) * codec.sizeBytes);
}

/** Keys and values in rows, up to a batch of them. */
class Writer<KIn, VIn> {
  readonly #map: CodedMap<unknown, unknown, KIn, VIn>;
  readonly #entries: number;
  #keys: DataView;
  #values: DataView;
  #length = 0;
  #before = 0;

  constructor(map: CodedMap<unknown, unknown, KIn, VIn>, batchEntries: number | undefined) {
    this.#map = map;
    const entryBytes = map.key.sizeBytes + map.value.sizeBytes;
    const most = batchEntries ?? Math.max(1, Math.floor(BATCH_BYTES / entryBytes));
    this.#entries = Math.min(most, Math.max(map.spec.maxEntries, 1));
    this.#keys = rowsOf(map.key, this.#entries);
    this.#values = rowsOf(map.value, this.#entries);
  }

  /** Adds an entry, or a key alone; returns whether the batch is full. */
  add(key: KIn, value?: VIn): boolean {
    const { key: keyCodec, value: valueCodec } = this.#map;
    const at = this.#length;
    try {
      keyCodec.write(this.#keys, at * keyCodec.sizeBytes, key);
      if (value !== undefined) valueCodec.write(this.#values, at * valueCodec.sizeBytes, value);
    } catch (error) {
      throw within(`${this.#map}, entry ${this.#before + at}`, error);
    }
    this.#length++;
    return this.#length === this.#entries;
  }

  take(): { length: number; keys: Uint8Array; values: Uint8Array } {
    const { key, value } = this.#map;
    const length = this.#length;
    const taken = {
      length,
      keys: new Uint8Array(this.#keys.buffer, 0, length * key.sizeBytes),
      values: new Uint8Array(this.#values.buffer, 0, length * value.sizeBytes),
    };
    this.#before += length;
    this.#length = 0;
    this.#keys = rowsOf(key, this.#entries);
    this.#values = rowsOf(value, this.#entries);
    return taken;
  }
}

function rowsOf(codec: Codec<unknown, never>, entries: number): DataView {
  return new DataView(new ArrayBuffer(codec.sizeBytes * entries));
}
