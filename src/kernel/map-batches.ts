/*
 * Going through a map: in batches where the kernel and the type of map can, else key by key.
 *
 * Kernel source: bpf_map_do_batch() and generic_map_lookup_batch() in kernel/bpf/syscall.c,
 * __htab_map_lookup_and_delete_batch() in kernel/bpf/hashtab.c.
 */
import { batchTokenBytes, type EncodedCall, encode, mapKind, rows } from '../bpf/index.js';
import type { ChainedCall, Copied } from '../call.js';
import { type Codec, viewOf } from '../codec/index.js';
import { errnoName } from '../errno.js';
import { type SystemError, WaepError } from '../errors.js';
import type { Patience } from '../session/caller.js';
import { type BpfOptions, type Outcome, outcomeOf, patient } from './bpf-calls.js';
import type { CodedMap } from './map-options.js';

/** How a map is gone through. */
export interface BatchOptions extends Patience {
  /**
   * How many entries to ask the kernel for at a time; 1 goes key by key, with many keys in a
   * message where the agent can. Other small batches come as many at a time as fit into 64 KiB, so
   * each is as old as the first of them. Default: what fits into 1 MiB. When a bucket of a hash table has
   * more, the kernel refuses and twice as many are asked for.
   */
  batchEntries?: number;
}

const BATCH_BYTES = 1024 * 1024;
/** The most that is asked for in one call of a chain, where a call may have 64 KiB. */
const CHAIN_BYTES = 32 * 1024;
/** A chain ends when its answer has this many bytes. */
const ANSWER_BYTES = 64 * 1024;
/**
 * A batch of a changing map may be interrupted; the kernel itself gives up after three attempts.
 */
const MAX_INTERRUPTIONS = 16;

/** Entries of a map as they arrived; keys and values are decoded when they are asked for. */
export class Batch<K, V> {
  /** The number of the entries. */
  readonly length: number;
  /** The keys' bytes, one after the other. */
  readonly keyBytes: Uint8Array;
  /** The values' bytes, one after the other. */
  readonly valueBytes: Uint8Array;
  readonly #key: Codec<K, never>;
  readonly #value: Codec<V, never>;
  readonly #keys: DataView;
  readonly #values: DataView;

  constructor(
    length: number,
    keyBytes: Uint8Array,
    valueBytes: Uint8Array,
    key: Codec<K, never>,
    value: Codec<V, never>,
  ) {
    this.length = length;
    this.keyBytes = keyBytes;
    this.valueBytes = valueBytes;
    this.#key = key;
    this.#value = value;
    this.#keys = viewOf(keyBytes);
    this.#values = viewOf(valueBytes);
  }

  /** The key of entry `index`, from 0. */
  keyAt(index: number): K {
    return this.#key.read(this.#keys, index * this.#key.sizeBytes);
  }

  /** The value of entry `index`, from 0. */
  valueAt(index: number): V {
    return this.#value.read(this.#values, index * this.#value.sizeBytes);
  }

  *[Symbol.iterator](): Generator<[K, V]> {
    for (let at = 0; at < this.length; at++) yield [this.keyAt(at), this.valueAt(at)];
  }
}

/** The entries of batches, one by one. It costs less per entry than a generator. */
export class EntryIterator<K, V> implements AsyncIterableIterator<[K, V]> {
  readonly #batches: AsyncGenerator<Batch<K, V>>;
  #batch: Batch<K, V> | undefined;
  #at = 0;
  /** While the next batch is awaited: resolves with whether there was none. */
  #refill: Promise<boolean> | undefined;

  constructor(batches: AsyncGenerator<Batch<K, V>>) {
    this.#batches = batches;
  }

  next(): Promise<IteratorResult<[K, V], undefined>> {
    const batch = this.#batch;
    if (batch !== undefined && this.#at < batch.length) {
      const at = this.#at++;
      return Promise.resolve({ done: false, value: [batch.keyAt(at), batch.valueAt(at)] });
    }
    return this.#more();
  }

  async #more(): Promise<IteratorResult<[K, V], undefined>> {
    // Two calls that wait at the same time wait for one batch.
    this.#refill ??= this.#fill().finally(() => {
      this.#refill = undefined;
    });
    if (await this.#refill) return { done: true, value: undefined };
    return this.next();
  }

  async #fill(): Promise<boolean> {
    const { done, value } = await this.#batches.next();
    if (done === true) return true;
    this.#batch = value;
    this.#at = 0;
    return false;
  }

  async return(): Promise<IteratorResult<[K, V], undefined>> {
    this.#batch = undefined;
    await this.#batches.return(undefined);
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

type AnyMap<K, V> = CodedMap<K, V, never, never>;
type Settings = BatchOptions & { remove?: boolean };

/** The entries of a map, in batches. */
export async function* batchesOf<K, V>(
  map: AnyMap<K, V>,
  options: Settings,
): AsyncGenerator<Batch<K, V>> {
  const about = patient({ subject: map }, options);
  const entryBytes = map.key.sizeBytes + map.value.sizeBytes;
  let count = options.batchEntries ?? Math.max(1, Math.floor(BATCH_BYTES / entryBytes));
  count = Math.min(count, Math.max(map.spec.maxEntries, 1));
  if (options.batchEntries === 1) {
    yield* oneByOne(map, options, about);
    return;
  }
  let token: Uint8Array | null = null;
  let interruptions = 0;
  let asked: Promise<Answer> | undefined;
  try {
    for (;;) {
      let answer: Answer;
      try {
        answer = await (asked ?? ask(map, options, about, token, count));
        asked = undefined;
      } catch (error) {
        if (token !== null || !isRefused(error)) throw error;
        yield* oneByOne(map, options, about);
        return;
      }
      const batches: Batch<K, V>[] = [];
      let code = '';
      let { error } = answer;
      for (const outcome of answer.outcomes) {
        code = outcome.errno === 0 ? '' : errnoName(outcome.errno);
        if (token === null && unsupported.has(code)) {
          yield* oneByOne(map, options, about);
          return;
        }
        if (code === 'ENOSPC' && count < map.spec.maxEntries) {
          count = Math.min(count * 2, map.spec.maxEntries);
          break;
        }
        const goesOn = code === '' || code === 'ENOENT';
        if (!goesOn && (code !== 'EINTR' || ++interruptions > MAX_INTERRUPTIONS)) {
          error = outcome.error();
          break;
        }
        const { count: length, keys, values, out_batch: next } = outcome.values();
        if (length === 0) continue;
        if (next !== undefined) token = next;
        batches.push(new Batch(length, keys, values, map.key, map.value));
      }
      // While these are looked at the next ones are on their way; but not those that are removed,
      // which the caller may not want any more.
      if (code === '' && error === undefined && options.remove !== true) {
        asked = ask(map, options, about, token, count);
        asked.catch(() => {});
      }
      yield* batches;
      if (error !== undefined) throw error;
      if (code === 'ENOENT') return;
    }
  } finally {
    asked?.catch(() => {});
  }
}

interface Answer {
  /** What came of each batch that was asked for, until one was refused. */
  readonly outcomes: readonly Outcome<typeof rows.MAP_LOOKUP_BATCH>[];
  /** The error of the batch behind these. */
  readonly error: Error | undefined;
}

/**
 * Asks for the batch behind a position. If batches are small, it asks for as many as fit into one
 * answer, each of which begins where the one before has ended.
 */
async function ask<K, V>(
  map: AnyMap<K, V>,
  { remove, timeoutMs, signal }: Settings,
  about: BpfOptions,
  token: Uint8Array | null,
  count: number,
): Promise<Answer> {
  const { session, spec } = map;
  const row = remove === true ? rows.MAP_LOOKUP_AND_DELETE_BATCH : rows.MAP_LOOKUP_BATCH;
  const any = new Uint8Array(batchTokenBytes(spec));
  const bytes = any.length + count * (map.key.sizeBytes + map.value.sizeBytes);
  // Those that are removed must reach the caller, so no others are removed ahead of them.
  const isOne = remove === true || count >= spec.maxEntries || bytes > CHAIN_BYTES;
  const most = isOne ? 1 : Math.min(session.chainCalls, Math.floor(ANSWER_BYTES / bytes));
  if (most <= 1) {
    const values = { map_fd: map, in_batch: token, count };
    return { outcomes: [await session.tryBpf(row, values, about)], error: undefined };
  }
  const { knownMaps } = session.calls;
  const first = encode(row, { map_fd: map, in_batch: token, count }, knownMaps);
  const next = encode(row, { map_fd: map, in_batch: any, count }, knownMaps);
  const output = next.outputOf('out_batch');
  const calls: ChainedCall[] = [first.call];
  for (let call = 0; call < most - 1; call++) calls.push(having(next, any, { call, output }));
  const { replies, error } = await session.chain(calls, { name: row.name, timeoutMs, signal });
  if (replies.length === 0 && error !== undefined) throw error;
  const encoded = (at: number) => (at === 0 ? first : next);
  return { outcomes: replies.map((one, at) => outcomeOf(encoded(at), one, about.subject)), error };
}

/** A call with other bytes in the place of one of its buffers. */
function having(
  { call }: EncodedCall,
  buffer: Uint8Array,
  bytes: Uint8Array | Copied,
): ChainedCall {
  return { ...call, buffers: call.buffers.map((one) => (one === buffer ? bytes : one)) };
}

/** The errors of a map without batches, because its type or the kernel lacks them. */
const unsupported = new Set(['ENOTSUPP', 'EOPNOTSUPP', 'EINVAL']);

/** Whether the guest's owner does not allow batches; the single operations may be. */
function isRefused(error: unknown): boolean {
  return error instanceof WaepError && error.code === 'ERR_POLICY_REFUSED';
}

/** Batches of one. */
function oneByOne<K, V>(
  map: AnyMap<K, V>,
  options: Settings,
  about: BpfOptions,
): AsyncGenerator<Batch<K, V>> {
  // An entry that is removed must reach the caller, so no other is removed ahead of it.
  if (options.remove === true) return stepByStep(map, options, about);
  const kind = mapKind(map.spec.type);
  if (kind?.indexed === true) return byIndex(map, options, about);
  const fits = map.key.sizeBytes + map.value.sizeBytes <= CHAIN_BYTES;
  // The keys of other maps may be descriptors, which no output of a call has.
  const canChain = map.session.chainCalls > 1 && kind?.entries === 'counted' && fits;
  return canChain ? inChains(map, options, about) : stepByStep(map, options, about);
}

/** The most elements of an array that are asked for together. */
const AT_ONCE = 64;

/** The keys of an array are known, so many values are asked for together. */
async function* byIndex<K, V>(
  map: AnyMap<K, V>,
  { timeoutMs, signal }: Settings,
  about: BpfOptions,
): AsyncGenerator<Batch<K, V>> {
  const { session, spec } = map;
  const row = rows.MAP_LOOKUP_ELEM;
  const atOnce = Math.max(1, Math.min(AT_ONCE, Math.floor(BATCH_BYTES / map.value.sizeBytes)));
  const ask = async (first: number): Promise<Batch<K, V>[]> => {
    const count = Math.max(0, Math.min(atOnce, spec.maxEntries - first));
    const keys = Array.from(
      { length: count },
      (_, i) => new Uint8Array(Uint32Array.of(first + i).buffer),
    );
    const looks = keys.map((key) => encode(row, { map_fd: map, key }, session.calls.knownMaps));
    const calls = looks.map(({ call }) => call);
    const replies = session.callAll(calls, { name: row.name, timeoutMs, signal });
    const batches: Batch<K, V>[] = [];
    for (const [i, reply] of (await Promise.all(replies)).entries()) {
      const taken = valueFound(outcomeOf(looks[i] as (typeof looks)[number], reply, about.subject));
      if (taken === undefined) continue;
      batches.push(new Batch(1, keys[i] as Uint8Array, taken, map.key, map.value));
    }
    return batches;
  };
  let asked = ask(0);
  for (let first = atOnce; first < spec.maxEntries + atOnce; first += atOnce) {
    const batches = await asked;
    asked = ask(first);
    asked.catch(() => {});
    yield* batches;
  }
}

/**
 * Each chain looks up a key, asks for the next one, looks that one up, and so on. The next chain is
 * on its way while the entries of this one are looked at.
 */
async function* inChains<K, V>(
  map: AnyMap<K, V>,
  { timeoutMs, signal }: Settings,
  about: BpfOptions,
): AsyncGenerator<Batch<K, V>> {
  const { session } = map;
  const { knownMaps } = session.calls;
  const first = encode(rows.MAP_GET_NEXT_KEY, { map_fd: map, key: null }, knownMaps);
  const any = new Uint8Array(map.key.sizeBytes);
  const next = encode(rows.MAP_GET_NEXT_KEY, { map_fd: map, key: any }, knownMaps);
  const look = encode(rows.MAP_LOOKUP_ELEM, { map_fd: map, key: any }, knownMaps);
  const output = next.outputOf('next_key');
  const ask = (key: Uint8Array | null, looks: boolean) => {
    const calls = looks && key !== null ? [having(look, any, key)] : [];
    calls.push(key === null ? first.call : having(next, any, key));
    while (calls.length + 2 <= session.chainCalls) {
      const found = { call: calls.length - 1, output };
      calls.push(having(look, any, found), having(next, any, found));
    }
    return session.chain(calls, { name: next.shape.name, timeoutMs, signal });
  };
  let key: Uint8Array | null = null;
  let looks = false;
  let asked = ask(key, looks);
  try {
    for (;;) {
      const { replies, error } = await asked;
      const batches: Batch<K, V>[] = [];
      let end: Outcome<typeof next.shape> | undefined;
      for (const reply of replies) {
        if (looks && key !== null) {
          const taken = valueFound(outcomeOf(look, reply, about.subject));
          if (taken !== undefined) batches.push(new Batch(1, key, taken, map.key, map.value));
          looks = false;
          continue;
        }
        const found = outcomeOf(next, reply, about.subject);
        if (found.result < 0) end = found;
        else {
          key = found.values().next_key;
          looks = true;
        }
      }
      const goesOn = end === undefined && error === undefined;
      if (goesOn) {
        asked = ask(key, looks);
        asked.catch(() => {});
      }
      yield* batches;
      if (error !== undefined) throw error;
      if (end !== undefined) {
        const refused = end.error();
        if (refused.code !== 'ENOENT') throw refused;
        return;
      }
    }
  } finally {
    asked.catch(() => {});
  }
}

/** The next key is asked for together with the value of this one. */
async function* stepByStep<K, V>(
  map: AnyMap<K, V>,
  options: Settings,
  about: BpfOptions,
): AsyncGenerator<Batch<K, V>> {
  const { session } = map;
  const next = (key: Uint8Array | null) =>
    session.tryBpf(rows.MAP_GET_NEXT_KEY, { map_fd: map, key }, about);
  const value = options.remove === true ? taker(map, about) : looker(map, about);
  let found = await next(null);
  while (found.result >= 0) {
    const key = found.values().next_key;
    const [after, taken] = await Promise.all([next(key), value(key)]);
    if (taken !== undefined) yield new Batch(1, key, taken, map.key, map.value);
    found = after;
  }
  const error: SystemError = found.error();
  if (error.code !== 'ENOENT') throw error;
}

type ValueOf = (key: Uint8Array) => Promise<Uint8Array | undefined>;

function looker<K, V>(map: AnyMap<K, V>, about: BpfOptions): ValueOf {
  return async (key) => {
    const values = { map_fd: map, key };
    return valueFound(await map.session.tryBpf(rows.MAP_LOOKUP_ELEM, values, about));
  };
}

/** Returns the value that was found, or undefined if there is none any more. */
function valueFound(outcome: Outcome<typeof rows.MAP_LOOKUP_ELEM>): Uint8Array | undefined {
  if (outcome.result >= 0) return outcome.values().value;
  if (errnoName(outcome.errno) === 'ENOENT') return undefined;
  throw outcome.error();
}

/** Removes as it looks: in one call where the kernel can, else in two. */
function taker<K, V>(map: AnyMap<K, V>, about: BpfOptions): ValueOf {
  const { session } = map;
  const look = looker(map, about);
  let atOnce = true;
  return async (key) => {
    if (atOnce) {
      const row = rows.MAP_LOOKUP_AND_DELETE_ELEM;
      const outcome = await session.tryBpf(row, { map_fd: map, key }, about);
      if (outcome.result >= 0) return outcome.values().value;
      const code = errnoName(outcome.errno);
      if (code === 'ENOENT') return undefined;
      if (!unsupported.has(code)) throw outcome.error();
      atOnce = false;
    }
    const value = await look(key);
    const outcome = await session.tryBpf(rows.MAP_DELETE_ELEM, { map_fd: map, key }, about);
    if (outcome.result < 0 && errnoName(outcome.errno) !== 'ENOENT') throw outcome.error();
    return value;
  };
}
