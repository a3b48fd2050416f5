import { type MapFacts, rows } from '../bpf/index.js';
import type { Handle } from '../call.js';
import type { SystemError } from '../errors.js';
import type { GuestKernel } from './guest-kernel.js';
import { GuestObject } from './guest-object.js';

/** What a map is made of. Sizes are in bytes. */
export interface MapOptions {
  /** `BPF_MAP_TYPE_*`, such as `enums.MapType.BPF_MAP_TYPE_HASH`. */
  type: number;
  keySize: number;
  valueSize: number;
  maxEntries: number;
  /** `BPF_F_*`. Default 0. */
  flags?: number;
  /** At most 15 characters; shown by bpftool. */
  name?: string;
}

/** Whether a system error says that there is no such element. */
function isAbsent(error: unknown): boolean {
  return (error as SystemError).code === 'ENOENT';
}

/** A map in the guest. Keys and values are bytes, as the kernel has them. */
export class BpfMap extends GuestObject<'map'> {
  readonly facts: MapFacts;

  constructor(session: GuestKernel, handle: Handle, facts: MapFacts) {
    super(session, handle, 'map');
    this.facts = facts;
  }

  /** Returns the value under `key`, or `undefined` (BPF_MAP_LOOKUP_ELEM). */
  async lookup(key: Uint8Array): Promise<Uint8Array | undefined> {
    try {
      const { value } = await this.session.bpf(rows.MAP_LOOKUP_ELEM, { map_fd: this, key });
      return value;
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error;
    }
  }

  /**
   * Sets the value under `key` (BPF_MAP_UPDATE_ELEM).
   *
   * @param flags 0 sets in any case, 1 (BPF_NOEXIST) only a new key, 2 (BPF_EXIST) only an old one
   * @throws EEXIST or ENOENT by `flags`, E2BIG when the map is full
   */
  async update(key: Uint8Array, value: Uint8Array, flags = 0): Promise<void> {
    await this.session.bpf(rows.MAP_UPDATE_ELEM, { map_fd: this, key, value, flags });
  }

  /** Removes `key`; resolves with whether it was there (BPF_MAP_DELETE_ELEM). */
  async delete(key: Uint8Array): Promise<boolean> {
    try {
      await this.session.bpf(rows.MAP_DELETE_ELEM, { map_fd: this, key });
      return true;
    } catch (error) {
      if (isAbsent(error)) return false;
      throw error;
    }
  }

  /**
   * Yields every key, one call each (BPF_MAP_GET_NEXT_KEY). As in the kernel, keys that come and
   * go meanwhile may be missed or met twice.
   */
  async *keys(): AsyncGenerator<Uint8Array> {
    let key: Uint8Array | null = null;
    for (;;) {
      try {
        const next: { next_key: Uint8Array } = await this.session.bpf(rows.MAP_GET_NEXT_KEY, {
          map_fd: this,
          key,
        });
        key = next.next_key;
      } catch (error) {
        if (isAbsent(error)) return;
        throw error;
      }
      yield key;
    }
  }

  /** Yields every key and its value; see {@link keys}. */
  async *[Symbol.asyncIterator](): AsyncGenerator<[Uint8Array, Uint8Array]> {
    for await (const key of this.keys()) {
      const value = await this.lookup(key);
      if (value !== undefined) yield [key, value];
    }
  }
}
