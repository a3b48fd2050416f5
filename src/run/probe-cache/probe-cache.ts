/*
 * Feature probes: tools load thousands of tiny programs to learn what a kernel supports. A kernel
 * always gives the same answer, so it is asked only once.
 */
import { constants } from 'node:os';
import { type EncodedCall, enums, rows } from '../../bpf/index.js';
import { type Call, type CallBuffer, type Handle, Relocation, type Reply } from '../../call.js';
import { outputLengths } from '../../frame/index.js';
import { native, type VerdictCache } from '../../native.js';
import type { CallOptions } from '../../session/index.js';
import type { Session } from '../../session.js';
import type { GuestCache } from '../../view/index.js';
import type { Notification } from '../notification.js';
import { BPF, X86_64 } from '../numbers.js';
import {
  differing,
  type Expected,
  isMark,
  Readahead,
  stepped,
  stretches,
  wordAt,
} from './readahead.js';
import { type Recipe, recipeOf, recipeWords } from './recipe.js';

const { errno } = constants;
const FILE = 'verdicts';
/** A load that asks for more output than this is not made ahead. */
const MAX_OUTPUT_BYTES = 64 * 1024;

/**
 * Errors that may have another reason than the kernel's features, so they are not cached: a
 * temporary lack of a resource, a missing privilege, or memory of the program that cannot take the
 * output.
 */
const passing: ReadonlySet<number> = new Set([
  errno.EPERM,
  errno.EINTR,
  errno.EAGAIN,
  errno.ENOMEM,
  errno.EMFILE,
  errno.ENFILE,
  errno.EFAULT,
]);

export interface Load {
  /** The bytes by which loads are distinguished. */
  readonly key: Uint8Array;
  readonly encoded: EncodedCall;
  /** The attribute, and its address in the program's memory. */
  readonly image: Uint8Array;
  readonly address: bigint;
}

/**
 * Answers loads of programs with earlier answers of the same kernel.
 *
 * Only feature probes are answered so: nameless programs of at most 512 bytes, license included,
 * that refer to no descriptor. {@link verdicts} answers a load that fails, without the guest. If a
 * load would succeed, the program gets a descriptor. The guest makes such a load only when the
 * descriptor is used, or when programs are listed. Probes close the descriptor at once, so the
 * guest makes few of these loads. While a tool counts, for example through the numbers of helpers,
 * the next loads are made ahead of the tool.
 */
export class ProbeCache {
  /** The results of loads. */
  readonly verdicts: VerdictCache;
  readonly #recipe: Recipe;
  readonly #session: Session;
  readonly #cache: GuestCache;
  /** Loads that are made ahead, by their keys' bytes as characters. */
  readonly #ahead = new Map<string, Promise<void>>();
  /** Programs of which the program has descriptors, but which the guest has not loaded. */
  readonly #deferred = new Map<Handle, Call>();
  readonly #readahead = new Readahead();
  /** The latest load of the current count whose every part was read. */
  #sample: Load | undefined;
  /** Programs of loads that were made ahead, which must be closed. */
  #unwanted: Handle[] = [];
  #hasRead = false;
  #news = false;
  #isFull = false;

  constructor(session: Session, cache: GuestCache) {
    this.#session = session;
    this.#cache = cache;
    this.#recipe = recipeOf(rows.PROG_LOAD, ['prog_name']);
    this.verdicts = new native.VerdictCache(recipeWords(this.#recipe, X86_64, BPF));
  }

  /**
   * Returns the key of the call that has just arrived, if it is a probe whose result is not known.
   */
  keyOf(call: Notification): Uint8Array | undefined {
    return call.knownToSucceed || call.lost !== 0 ? undefined : this.verdicts.key;
  }

  /** Waits for a load ahead that gives the result of a call. Returns false if there is none. */
  async await(key: Uint8Array): Promise<boolean> {
    if (!this.#hasRead) {
      this.#hasRead = true;
      const file = this.#cache.read(FILE);
      if (file !== undefined) this.verdicts.load(file);
      return true;
    }
    const ahead = this.#ahead.get(nameOf(key));
    if (ahead === undefined) return false;
    this.follow(key);
    await ahead;
    return true;
  }

  /** Whether the program counts, so that {@link follow} must be called for each answered load. */
  get counting(): boolean {
    return this.#readahead.active;
  }

  /** Called for each load that was answered or will be. The load may continue a count. */
  follow(key: Uint8Array): void {
    const expected = this.#readahead.next(key);
    if (expected === undefined) return;
    try {
      this.#makeAhead(key, expected);
    } catch {
      // The tool changed the attribute while it was read. Nothing is predicted from this load.
      this.#sample = undefined;
    }
  }

  /** Makes a load whose result is not known. */
  async load(load: Load, options: CallOptions): Promise<Reply> {
    // The cache answers most loads without a call of {@link follow}, so the position is updated
    // here.
    this.#readahead.reached(this.verdicts.latest);
    this.#sample = load;
    this.follow(load.key);
    const { call, shape } = load.encoded;
    const reply = await this.#session.call(call, { name: shape.name, ...options });
    this.#insert(load.key, load, reply, false);
    return reply;
  }

  /** Postpones a load that is known to succeed until its program is used. */
  defer(call: Call): void {
    this.#deferred.set(call.result, call);
  }

  /** Called before each call. Loads deferred programs before a command that lists programs. */
  about(command: number): void {
    if (!lists.has(command)) return;
    for (const handle of [...this.#deferred.keys()]) this.use(handle);
  }

  /** Called before a call uses an object. */
  use(handle: Handle): void {
    const call = this.#deferred.get(handle);
    if (call === undefined) return;
    this.#deferred.delete(handle);
    // The call that uses the program runs after the load. If the load fails, that call fails as
    // well.
    this.#session.call(call, { name: rows.PROG_LOAD.name }).catch(() => {});
  }

  /** Forgets an object. Returns whether it was never in the guest. */
  drop(handle: Handle): boolean {
    return this.#deferred.delete(handle);
  }

  /** Stores what was learned for the next program. */
  async close(): Promise<void> {
    if (this.#news) await this.#cache.write(FILE, this.verdicts.save());
  }

  #insert(key: Uint8Array, load: Load, reply: Reply, notify: boolean): void {
    const error = reply.result < 0 ? reply.errno : 0;
    if (passing.has(error)) return;
    if (this.verdicts.insert(key, error, this.#writesOf(load, reply), notify)) this.#news = true;
    else this.#isFull = true;
  }

  /** Returns the kernel's output in the parts that {@link VerdictCache.insert} takes. */
  #writesOf({ encoded, image, address }: Load, reply: Reply): Uint8Array {
    const view = new DataView(image.buffer, image.byteOffset, image.length);
    const regions = this.#recipe.pointers.map(({ offset }) =>
      offset + 8 <= image.length ? view.getBigUint64(offset, true) : 0n,
    );
    regions.unshift(address);
    const parts: Uint8Array[] = [];
    for (const { address: start, bytes } of encoded.writes(reply)) {
      let region = 0;
      for (const [index, base] of regions.entries()) {
        const nearer = base <= start && base >= (regions[region] as bigint);
        if (nearer || (regions[region] as bigint) > start) region = index;
      }
      const offset = Number(start - (regions[region] as bigint));
      parts.push(Buffer.from(Uint32Array.of(region, offset, bytes.length).buffer), bytes);
    }
    return Buffer.concat(parts);
  }

  /** Makes the loads that the tool will make next if it goes on counting from `key`. */
  #makeAhead(key: Uint8Array, expected: Expected): void {
    const sample = this.#sample;
    if (sample === undefined || this.#isFull) return;
    const { offset } = expected;
    const differs = differing(sample.key, key);
    const place = placeOf(this.#recipe, sample, offset);
    if (place === undefined || (differs !== offset && Buffer.compare(sample.key, key) !== 0))
      return;
    const passed = wordAt(key, offset) - wordAt(sample.key, offset);
    const lengths = outputLengths(sample.encoded.call);
    if (lengths.some((length) => length > MAX_OUTPUT_BYTES)) return;
    for (const [first, last] of stretches(expected)) {
      const names: string[] = [];
      const keys: Uint8Array[] = [];
      const calls: Call[] = [];
      const notify: boolean[] = [];
      for (let step = first; step <= last; step++) {
        const next = stepped(key, offset, step);
        const name = nameOf(next);
        if (this.#ahead.has(name) || this.verdicts.find(next) !== undefined) continue;
        names.push(name);
        keys.push(next);
        calls.push(later(sample.encoded.call, place, passed + step, this.#session.newHandle()));
        notify.push(isMark(step, expected.last));
      }
      const replies = this.#session.callAll(calls, { name: rows.PROG_LOAD.name, trimmed: true });
      for (const [index, name] of names.entries()) {
        const settled = (reply?: Reply) => {
          this.#ahead.delete(name);
          // The load did not arrive. The call that waits for it makes it itself.
          if (reply === undefined) return;
          if (reply.result >= 0) this.#release(reply.result);
          const { result, errno: error } = reply;
          const outputs = filled(reply.outputs, lengths);
          if (outputs === undefined) return;
          const made = keys[index] as Uint8Array;
          this.#insert(made, sample, { result, errno: error, outputs }, notify[index] as boolean);
        };
        const reply = replies[index] as Promise<Reply>;
        this.#ahead.set(
          name,
          reply.then(settled, () => settled()),
        );
      }
    }
  }

  /** Closes a program later, together with others. */
  #release(handle: Handle): void {
    if (this.#unwanted.push(handle) > 1) return;
    setImmediate(() => {
      const handles = this.#unwanted;
      this.#unwanted = [];
      this.#session.release(handles).catch(() => {});
    });
  }
}

/** Commands whose results depend on which programs are loaded. */
const lists: ReadonlySet<number> = new Set([
  enums.Cmd.BPF_PROG_GET_NEXT_ID,
  enums.Cmd.BPF_PROG_GET_FD_BY_ID,
]);

function nameOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.length).toString('latin1');
}

/** Reused buffers for outputs. Only one reply is examined at a time. */
const rooms = new Map<string, Uint8Array>();
const MAX_ROOMS = 64;

/**
 * Returns the outputs, each with trailing zeros up to its full size. They are valid until the next
 * call.
 */
function filled(
  outputs: readonly Uint8Array[],
  lengths: readonly number[],
): Uint8Array[] | undefined {
  if (outputs.length !== lengths.length) return undefined;
  const whole: Uint8Array[] = [];
  for (const [index, output] of outputs.entries()) {
    const length = lengths[index] as number;
    if (output.length > length) return undefined;
    const name = `${index} ${length}`;
    const room = rooms.get(name) ?? new Uint8Array(length);
    if (rooms.size < MAX_ROOMS) rooms.set(name, room);
    room.fill(0, output.length);
    room.set(output);
    whole.push(room);
  }
  return whole;
}

/** A key begins with the command and the size of the attribute. */
const KEY_HEAD_BYTES = 8;

interface Place {
  readonly buffer: number;
  readonly offset: number;
}

/** Returns the address of the word in a call that is at `offset` of its key. */
function placeOf(recipe: Recipe, { key, encoded, image }: Load, offset: number): Place | undefined {
  let start = KEY_HEAD_BYTES + image.length;
  if (offset + 4 <= start) return { buffer: 0, offset: offset - KEY_HEAD_BYTES };
  if (offset < start) return undefined;
  for (const pointer of recipe.pointers) {
    const target = targetOf(encoded.call, pointer.offset);
    if (target === undefined) continue;
    start += 4;
    if (pointer.kind === 'output') continue;
    const length = wordAt(key, start - 4);
    if (offset >= start && offset + 4 <= start + length)
      return { buffer: target, offset: offset - start };
    start += length;
  }
  return undefined;
}

/**
 * Returns the buffer to which the pointer at an offset of the attribute leads, or undefined for
 * NULL.
 */
function targetOf({ relocations }: Call, offset: number): number | undefined {
  for (let at = 0; at < relocations.length; at += 4) {
    const [buffer, place, kind, target] = relocations.slice(at, at + 4);
    if (buffer === 0 && place === offset && kind === Relocation.POINTER) return target;
  }
  return undefined;
}

/** Returns a copy of a call in which one word is larger by `step`. */
function later(call: Call, { buffer, offset }: Place, step: number, result: Handle): Call {
  const buffers = call.buffers.map((source, index): CallBuffer => {
    if (index !== buffer || typeof source === 'number') return source;
    if (source instanceof Uint8Array) return stepped(source, offset, step);
    return { inout: stepped(source.inout, offset, step) };
  });
  return { ...call, buffers, result };
}
