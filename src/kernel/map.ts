import { type MapSpec, rows } from '../bpf/index.js';
import type { Handle } from '../call.js';
import { type Codec, encodeValue, perCpu, viewOf, within } from '../codec/index.js';
import { errnoNumber } from '../errno.js';
import { failure } from '../errors.js';
import { refuseUnknownOptions } from '../known-options.js';
import { type Patience, patienceNames, type RingWriter } from '../session/caller.js';
import { type BpfOptions, patient } from './bpf-calls.js';
import { openBtf } from './btf.js';
import type { GuestKernel } from './guest-kernel.js';
import { PinnableObject } from './guest-object.js';
import { type MapInfo, mapInfo } from './info.js';
import { type Batch, type BatchOptions, batchesOf, EntryIterator } from './map-batches.js';
import { deleteMany, updateMany } from './map-bulk.js';
import { checkOperation } from './map-operations.js';
import { boundCodecs, type CodedMap, type MapCodecs } from './map-options.js';
import { type RecordOptions, RecordStream } from './record-stream.js';

const ENOENT = errnoNumber('ENOENT');
/** How many single calls are under way at a time where many are made. */
const WINDOW = 256;

/**
 * A map in the guest.
 *
 * Keys and values are what the map's codecs make of them; without codecs they are bytes, as the
 * kernel has them. Of a per-CPU map a value is an array with an element for each possible CPU.
 *
 * The last argument of an operation may say how long its answer is waited for ({@link Patience}).
 *
 * @example
 * ```ts
 * for await (const [key, value] of map) console.log(key, value);
 * ```
 *
 * @typeParam K what keys are read as
 * @typeParam V what values are read as
 * @typeParam KIn what keys may be written from
 * @typeParam VIn what values may be written from
 */
export class BpfMap<K = Uint8Array, V = Uint8Array, KIn = K, VIn = V>
  extends PinnableObject<'map'>
  implements CodedMap<K, V, KIn, VIn>
{
  /** The map's type and sizes. */
  readonly spec: MapSpec;
  /** How keys lie in memory. */
  readonly key: Codec<K, KIn>;
  /** How values lie in memory, as bpf(2) copies them: those of all CPUs, one after the other. */
  readonly value: Codec<V, VIn>;
  readonly #about: BpfOptions = { subject: this };
  readonly #rawKeys: boolean;
  readonly #rawValues: boolean;
  #writer: RingWriter | undefined;

  constructor(
    session: GuestKernel,
    handle: Handle,
    spec: MapSpec,
    codecs: MapCodecs<K, V, KIn, VIn>,
    name = '',
  ) {
    super(session, handle, 'map', name);
    this.spec = spec;
    const { key, value } = boundCodecs(codecs, spec, session.kernel.possibleCpus);
    this.key = key;
    this.value = value;
    this.#rawKeys = codecs.key === undefined;
    this.#rawValues = codecs.value === undefined;
  }

  /**
   * Returns the value under `key`, or `undefined` (BPF_MAP_LOOKUP_ELEM, map_lookup_elem() in
   * kernel/bpf/syscall.c).
   *
   * @param flags `BPF_F_LOCK`, or 0
   */
  async lookup(key: KIn, flags = 0, patience?: Patience): Promise<V | undefined> {
    checkOperation(this, 'lookup', patience);
    const values = { map_fd: this, key: this.#keyBytes(key), flags };
    const about = patient(this.#about, patience);
    const outcome = await this.session.tryBpf(rows.MAP_LOOKUP_ELEM, values, about);
    if (outcome.errno === ENOENT) return undefined;
    if (outcome.result < 0) throw outcome.error();
    return this.value.read(viewOf(outcome.values().value), 0);
  }

  /** Returns the values under many keys, in their order; the look-ups are all under way at once. */
  async lookupMany(keys: Iterable<KIn>, patience?: Patience): Promise<(V | undefined)[]> {
    checkOperation(this, 'lookupMany', patience);
    const values: (V | undefined)[] = [];
    for (const window of windows(keys)) {
      values.push(...(await Promise.all(window.map((key) => this.lookup(key, 0, patience)))));
    }
    return values;
  }

  /**
   * Sets the value under `key` (BPF_MAP_UPDATE_ELEM, map_update_elem() in kernel/bpf/syscall.c).
   *
   * @param flags 0 sets in any case, 1 (BPF_NOEXIST) only a new key, 2 (BPF_EXIST) only an old one
   * @throws EEXIST or ENOENT by `flags`, E2BIG when the map is full, EPERM when it is frozen;
   *   ERR_CODEC_VALUE for a key or a value that does not fit
   */
  async update(key: KIn, value: VIn, flags = 0, patience?: Patience): Promise<void> {
    checkOperation(this, 'update', patience);
    const values = {
      map_fd: this,
      key: this.#keyBytes(key),
      value: this.#valueBytes(value),
      flags,
    };
    const about = patient(this.#about, patience);
    const outcome = await this.session.tryBpf(rows.MAP_UPDATE_ELEM, values, about);
    if (outcome.result < 0) throw outcome.error();
  }

  /**
   * Sets many values, a large batch at a time where the kernel can (BPF_MAP_UPDATE_BATCH,
   * generic_map_update_batch() in kernel/bpf/syscall.c), else one by one without waiting in
   * between. Resolves with how many were set.
   *
   * @param options `flags` are BPF_ANY, BPF_NOEXIST or BPF_EXIST for each of them
   * @throws as {@link update}; the error says which entry it was about, and those before it are set
   */
  async updateMany(
    entries: Iterable<readonly [key: KIn, value: VIn]>,
    options: { flags?: number; batchEntries?: number } & Patience = {},
  ): Promise<number> {
    checkOperation(this, 'updateMany', options);
    return updateMany(this, entries, options);
  }

  /**
   * Removes `key`; resolves with whether it was there (BPF_MAP_DELETE_ELEM, map_delete_elem() in
   * kernel/bpf/syscall.c).
   */
  async delete(key: KIn, patience?: Patience): Promise<boolean> {
    checkOperation(this, 'delete', patience);
    const values = { map_fd: this, key: this.#keyBytes(key) };
    const about = patient(this.#about, patience);
    const outcome = await this.session.tryBpf(rows.MAP_DELETE_ELEM, values, about);
    if (outcome.errno === ENOENT) return false;
    if (outcome.result < 0) throw outcome.error();
    return true;
  }

  /**
   * Removes many keys (BPF_MAP_DELETE_BATCH, or one by one without waiting in between); resolves
   * with how many were there.
   */
  async deleteMany(
    keys: Iterable<KIn>,
    options: { batchEntries?: number } & Patience = {},
  ): Promise<number> {
    checkOperation(this, 'deleteMany', options);
    return deleteMany(this, keys, options);
  }

  /**
   * Removes `key` and returns the value that it had, or `undefined`
   * (BPF_MAP_LOOKUP_AND_DELETE_ELEM; hash tables have it since 5.14).
   *
   * @throws EOPNOTSUPP or ENOTSUPP where the type of map does not have the operation
   */
  async lookupAndDelete(key: KIn, patience?: Patience): Promise<V | undefined> {
    checkOperation(this, 'lookupAndDelete', patience);
    return this.#take(this.#keyBytes(key), patience);
  }

  /**
   * Adds a value to a queue, a stack or a bloom filter (BPF_MAP_UPDATE_ELEM without a key).
   *
   * @param flags 2 (BPF_EXIST) drops the oldest value when it is full
   * @throws E2BIG when it is full
   */
  async push(value: VIn, flags = 0, patience?: Patience): Promise<void> {
    checkOperation(this, 'push', patience);
    const values = { map_fd: this, key: null, value: this.#valueBytes(value), flags };
    await this.session.bpf(rows.MAP_UPDATE_ELEM, values, patient(this.#about, patience));
  }

  /** Returns the next value of a queue or a stack and leaves it there, or `undefined`. */
  async peek(patience?: Patience): Promise<V | undefined> {
    checkOperation(this, 'peek', patience);
    const values = { map_fd: this, key: null };
    const about = patient(this.#about, patience);
    const outcome = await this.session.tryBpf(rows.MAP_LOOKUP_ELEM, values, about);
    if (outcome.errno === ENOENT) return undefined;
    if (outcome.result < 0) throw outcome.error();
    return this.value.read(viewOf(outcome.values().value), 0);
  }

  /** Takes the next value out of a queue or a stack, or returns `undefined`. */
  async pop(patience?: Patience): Promise<V | undefined> {
    checkOperation(this, 'pop', patience);
    return this.#take(null, patience);
  }

  /** Whether a value may be in a bloom filter; `false` is certain. */
  async mayHave(value: VIn, patience?: Patience): Promise<boolean> {
    checkOperation(this, 'mayHave', patience);
    const values = { map_fd: this, key: null, value: this.#valueBytes(value) };
    const row = rows.MAP_LOOKUP_ELEM_BLOOM_FILTER;
    const outcome = await this.session.tryBpf(row, values, patient(this.#about, patience));
    if (outcome.errno === ENOENT) return false;
    if (outcome.result < 0) throw outcome.error();
    return true;
  }

  /**
   * Returns the key after `key`, the first one without `key`, or `undefined` after the last
   * (BPF_MAP_GET_NEXT_KEY). After a key that is not there, the first.
   */
  async nextKey(key?: KIn, patience?: Patience): Promise<K | undefined> {
    checkOperation(this, 'nextKey', patience);
    const values = { map_fd: this, key: key === undefined ? null : this.#keyBytes(key) };
    const about = patient(this.#about, patience);
    const outcome = await this.session.tryBpf(rows.MAP_GET_NEXT_KEY, values, about);
    if (outcome.errno === ENOENT) return undefined;
    if (outcome.result < 0) throw outcome.error();
    return this.key.read(viewOf(outcome.values().next_key), 0);
  }

  /** Yields every key; see {@link entries}. */
  async *keys(options: BatchOptions = {}): AsyncGenerator<K> {
    checkOperation(this, 'keys', options);
    for await (const batch of batchesOf(this, options)) {
      for (let at = 0; at < batch.length; at++) yield batch.keyAt(at);
    }
  }

  /**
   * Yields every key with its value. As in the kernel, what is added or removed meanwhile may be
   * missed, and keys may be met twice when others are removed meanwhile.
   *
   * Entries travel many at a time (BPF_MAP_LOOKUP_BATCH) where the kernel and the type of map can,
   * and the next ones are on their way while these are looked at; else one by one
   * (BPF_MAP_GET_NEXT_KEY and BPF_MAP_LOOKUP_ELEM).
   */
  entries(options: BatchOptions = {}): AsyncIterableIterator<[K, V]> {
    checkOperation(this, 'entries', options);
    return new EntryIterator(batchesOf(this, options));
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<[K, V]> {
    return this.entries();
  }

  /** Yields the entries in batches as they arrive, undecoded; see {@link entries}. */
  batches(options: BatchOptions = {}): AsyncGenerator<Batch<K, V>> {
    checkOperation(this, 'batches', options);
    return batchesOf(this, options);
  }

  /**
   * Yields every key with its value and removes them (BPF_MAP_LOOKUP_AND_DELETE_BATCH, else one by
   * one with BPF_MAP_LOOKUP_AND_DELETE_ELEM): no update in between is lost, but where the type of
   * map has neither, between a look-up and a deletion. What has been taken when the loop is left
   * is gone.
   */
  drain(options: BatchOptions = {}): AsyncIterableIterator<[K, V]> {
    checkOperation(this, 'drain', options);
    return new EntryIterator(batchesOf(this, { ...options, remove: true }));
  }

  /**
   * Makes the map read-only for user space, for good; programs may still write (BPF_MAP_FREEZE,
   * map_freeze() in kernel/bpf/syscall.c).
   */
  async freeze(patience: Patience = {}): Promise<void> {
    refuseUnknownOptions('freeze()', patience, patienceNames);
    await this.session.bpf(rows.MAP_FREEZE, { map_fd: this }, patient(this.#about, patience));
  }

  /**
   * The codecs that the map's own types describe, for maps that compilers made: open it anew with
   * them. A key or a value without a type is left to the caller.
   *
   * @example
   * ```ts
   * const found = await session.map({ id });
   * const typed = await session.map({ id }, await found.codecs());
   * ```
   *
   * @throws ERR_BTF_TYPE when the map was made without types
   */
  async codecs(): Promise<MapCodecs<unknown, unknown>> {
    const { btfId, keyType, valueType } = await this.info();
    if (btfId === 0) {
      throw failure('ERR_BTF_TYPE', {
        type: `of ${this}`,
        why: 'the map was made without types',
        cure: 'Describe its keys and values with codecs of your own.',
      });
    }
    await using btf = await openBtf(this.session, btfId);
    const types = await btf.types();
    const value = valueType === 0 ? undefined : types.codec(valueType);
    const isPerCpu = this.value.sizeBytes !== this.spec.valueSize;
    return {
      ...(keyType === 0 ? {} : { key: types.codec(keyType) }),
      ...(value === undefined ? {} : { value: isPerCpu ? perCpu(value) : value }),
    } as MapCodecs<unknown, unknown>;
  }

  /**
   * Returns the kernel's information about the map (BPF_OBJ_GET_INFO_BY_FD,
   * bpf_map_get_info_by_fd()).
   */
  async info(patience: Patience = {}): Promise<MapInfo> {
    refuseUnknownOptions('info()', patience, patienceNames);
    const about = patient(this.#about, patience);
    const { info } = await this.session.bpf(rows.OBJ_GET_INFO_BY_FD_MAP, { bpf_fd: this }, about);
    return mapInfo(info);
  }

  /**
   * The records that programs write to the map, a RINGBUF or a PERF_EVENT_ARRAY, as they come.
   * A ring buffer should have only one reader, because each record goes to the first that takes it.
   */
  records<T = Uint8Array>(options: RecordOptions<T> = {}): RecordStream<T> {
    return new RecordStream(this as never, options);
  }

  /**
   * Writes records to a USER_RINGBUF, in their order, for programs to take with
   * bpf_user_ringbuf_drain(). Waits while it is full.
   *
   * @throws E2BIG for a record that it is too small for
   */
  async submit(records: readonly Uint8Array[], signal?: AbortSignal): Promise<void> {
    checkOperation(this, 'submit');
    this.#writer ??= this.session.ringWriter(this.handle, this.spec.maxEntries);
    await this.#writer.write(records, signal);
  }

  async #take(key: Uint8Array | null, patience: Patience | undefined): Promise<V | undefined> {
    const values = { map_fd: this, key };
    const row = rows.MAP_LOOKUP_AND_DELETE_ELEM;
    const outcome = await this.session.tryBpf(row, values, patient(this.#about, patience));
    if (outcome.errno === ENOENT) return undefined;
    if (outcome.result < 0) throw outcome.error();
    return this.value.read(viewOf(outcome.values().value), 0);
  }

  #keyBytes(key: KIn): Uint8Array {
    return this.#bytes('key', this.key, key, this.#rawKeys);
  }

  #valueBytes(value: VIn): Uint8Array {
    return this.#bytes('value', this.value, value, this.#rawValues);
  }

  #bytes<In>(part: string, codec: Codec<unknown, In>, value: In, raw: boolean): Uint8Array {
    // What are bytes already need not be copied.
    if (raw && value instanceof Uint8Array && value.byteLength === codec.sizeBytes) return value;
    try {
      return encodeValue(codec, value);
    } catch (error) {
      throw within(`${this} ${part}`, error);
    }
  }
}

function* windows<T>(items: Iterable<T>): Generator<T[]> {
  let window: T[] = [];
  for (const item of items) {
    if (window.push(item) < WINDOW) continue;
    yield window;
    window = [];
  }
  if (window.length > 0) yield window;
}
