/*
 * Feature probes: tools load thousands of tiny programs to learn what a kernel can do. A kernel
 * always says the same, so it is asked once.
 */
import { createHash } from 'node:crypto';
import { constants } from 'node:os';
import { Decoder, Encoder } from 'cbor-x';
import { enums } from '../bpf/index.js';
import { type Call, type CallBuffer, type Handle, Relocation, type Reply } from '../call.js';
import { outputLengths } from '../frame/index.js';
import type { Session } from '../session/index.js';
import type { GuestCache } from '../view/index.js';

const { errno } = constants;
const { BPF_PROG_LOAD } = enums.Cmd;

const NAME_OFFSET = 48;
const NAME_BYTES = 16;
/** Programs of use are longer. */
const MAX_PROBE_BYTES = 512;
const MAX_KEPT = 16_384;
/** How many loads are made ahead of a tool that counts. */
const AHEAD = 24;
const FILE = 'probes';

/** Refusals that may have been for want of something just then, or of a privilege. */
const passing: ReadonlySet<number> = new Set([
  errno.EPERM,
  errno.EINTR,
  errno.EAGAIN,
  errno.ENOMEM,
  errno.EMFILE,
  errno.ENFILE,
]);

/** What came of a load: the errno, 0 if it succeeded, and the outputs. */
type Verdict = readonly [errno: number, outputs: readonly Uint8Array[]];

/**
 * Answers loads of programs from what the same kernel has said before.
 *
 * Only loads that ask nothing but whether they are possible are answered so: of a nameless program
 * of at most 512 bytes in all, that refers to no descriptor. When the answer is that it is, the
 * program is loaded as soon as its descriptor is used for anything, or programs are listed;
 * probes close it at once. While a tool counts, through the numbers of helpers for instance,
 * the loads that are to be expected are made ahead.
 */
export class Probes {
  readonly #session: Session;
  readonly #cache: GuestCache;
  readonly #verdicts = new Map<string, Verdict | Promise<Verdict>>();
  /** Programs that the program has descriptors of and the guest has not loaded. */
  readonly #deferred = new Map<Handle, Call>();
  #loaded = false;
  #latest: Call | undefined;
  /** Up to which value of the counted word loads have been made ahead; 0 when nothing is counted. */
  #horizon = 0;
  #news = false;

  constructor(session: Session, cache: GuestCache) {
    this.#session = session;
    this.#cache = cache;
  }

  /** Makes a call, or has it that it was made. */
  async call(call: Call, name: string): Promise<Reply> {
    const session = this.#session;
    if (lists.has(call.command)) this.#loadAll();
    if (!isProbe(call)) return session.call(call, { name });
    if (!this.#loaded) this.#load();
    const key = keyOf(call);
    const known = this.#verdicts.get(key);
    // What was known from the start is so for the rest of the count, most likely.
    if (known === undefined || this.#horizon > 0) this.#expect(call);
    this.#latest = call;
    if (known === undefined) {
      const reply = await session.call(call, { name });
      this.#keep(key, [reply.result < 0 ? reply.errno : 0, reply.outputs]);
      return reply;
    }
    const [error, outputs] = known instanceof Promise ? await known : known;
    if (error === 0) this.#deferred.set(call.result, call);
    const result = error === 0 ? call.result : -1;
    return { result, errno: error, outputs: filled(outputs, outputLengths(call)) };
  }

  /** Something is about to be done with an object. */
  use(handle: Handle): void {
    const call = this.#deferred.get(handle);
    if (call === undefined) return;
    this.#deferred.delete(handle);
    // Whatever uses it is executed after it; if it fails, that finds out.
    this.#session.call(call, { name: 'BPF_PROG_LOAD' }).catch(() => {});
  }

  /** Forgets an object. Returns whether it was never in the guest. */
  drop(handle: Handle): boolean {
    return this.#deferred.delete(handle);
  }

  /** Keeps what was learnt for the next program. */
  async close(): Promise<void> {
    if (!this.#news) return;
    const verdicts: [string, Verdict][] = [];
    for (const [key, verdict] of this.#verdicts) {
      if (!(verdict instanceof Promise)) verdicts.push([key, verdict]);
    }
    await this.#cache.write(FILE, encoder.encode(verdicts));
  }

  #loadAll(): void {
    for (const handle of [...this.#deferred.keys()]) this.use(handle);
  }

  #load(): void {
    this.#loaded = true;
    const bytes = this.#cache.read(FILE);
    if (bytes === undefined) return;
    try {
      for (const [key, verdict] of decoder.decode(bytes)) this.#verdicts.set(key, verdict);
    } catch {
      // Somebody has written something else there.
    }
  }

  #keep(key: string, verdict: Verdict): void {
    this.#verdicts.delete(key);
    if (passing.has(verdict[0]) || this.#verdicts.size >= MAX_KEPT) return;
    this.#news = true;
    this.#verdicts.set(key, [verdict[0], verdict[1].map(trimmed)]);
  }

  /** Makes the loads that follow if the tool goes on as from the load before this one. */
  #expect(call: Call): void {
    const word = this.#latest === undefined ? undefined : nextWord(this.#latest, call);
    if (word === undefined) {
      this.#horizon = 0;
      return;
    }
    const value = wordAt(bytesOf(call.buffers[word.buffer]) ?? new Uint8Array(0), word.offset);
    const first = Math.max(value, this.#horizon) + 1;
    this.#horizon = value + AHEAD;
    for (let next = first; next <= this.#horizon; next++) {
      const expected = { ...call, buffers: stepped(call.buffers, word, next - value) };
      const key = keyOf(expected);
      if (this.#verdicts.has(key) || this.#verdicts.size >= MAX_KEPT) continue;
      const verdict = this.#ahead(key, expected);
      // If nobody asks for it, nobody need know that it failed.
      verdict.catch(() => {});
      this.#verdicts.set(key, verdict);
    }
  }

  async #ahead(key: string, call: Call): Promise<Verdict> {
    const session = this.#session;
    const handle = session.newHandle();
    try {
      const reply = await session.call({ ...call, result: handle }, { name: 'BPF_PROG_LOAD' });
      if (reply.result >= 0) session.release([handle]).catch(() => {});
      const verdict: Verdict = [reply.result < 0 ? reply.errno : 0, reply.outputs];
      this.#keep(key, verdict);
      return verdict;
    } catch (error) {
      this.#verdicts.delete(key);
      throw error;
    }
  }
}

const encoder = new Encoder({ useRecords: false, tagUint8Array: false });
const decoder = new Decoder({ useRecords: false });

/** Commands whose results show which programs there are. */
const lists: ReadonlySet<number> = new Set([
  enums.Cmd.BPF_PROG_GET_NEXT_ID,
  enums.Cmd.BPF_PROG_GET_FD_BY_ID,
]);

function isProbe({ command, args, buffers, relocations }: Call): boolean {
  if (command !== BPF_PROG_LOAD || args !== 1) return false;
  for (let at = 2; at < relocations.length; at += 4) {
    if (relocations[at] !== Relocation.POINTER) return false;
  }
  const sizes = buffers.map((buffer) => bytesOf(buffer)?.length ?? 0);
  if (sizes.reduce((sum, size) => sum + size, 0) > MAX_PROBE_BYTES) return false;
  const attribute = bytesOf(buffers[0]) ?? new Uint8Array(0);
  return attribute.subarray(NAME_OFFSET, NAME_OFFSET + NAME_BYTES).every((byte) => byte === 0);
}

function bytesOf(buffer: CallBuffer | undefined): Uint8Array | undefined {
  if (buffer === undefined || typeof buffer === 'number') return undefined;
  return buffer instanceof Uint8Array ? buffer : buffer.inout;
}

/** What the kernel's answer depends on. */
function keyOf({ buffers, relocations }: Call): string {
  const hash = createHash('sha256');
  const lengths = buffers.map((buffer) => bytesOf(buffer)?.length ?? -1 - Number(buffer));
  hash.update(JSON.stringify([lengths, relocations]));
  for (const buffer of buffers) hash.update(bytesOf(buffer) ?? '');
  return hash.digest('base64url').slice(0, 22);
}

/** Without the zeroes at the end, which most of an output is. */
function trimmed(bytes: Uint8Array): Uint8Array {
  return bytes.slice(0, bytes.findLastIndex((byte) => byte !== 0) + 1);
}

function filled(outputs: readonly Uint8Array[], lengths: readonly number[]): Uint8Array[] {
  return lengths.map((length, index) => {
    const bytes = new Uint8Array(length);
    bytes.set(outputs[index]?.subarray(0, length) ?? []);
    return bytes;
  });
}

interface Word {
  readonly buffer: number;
  readonly offset: number;
}

/** The one word that is larger by one in `after`, if that is all the difference. */
function nextWord(before: Call, after: Call): Word | undefined {
  if (before.buffers.length !== after.buffers.length) return undefined;
  let found: Word | undefined;
  for (let buffer = 0; buffer < after.buffers.length; buffer++) {
    const was = bytesOf(before.buffers[buffer]);
    const is = bytesOf(after.buffers[buffer]);
    if (was?.length !== is?.length) return undefined;
    if (was === undefined || is === undefined || Buffer.compare(was, is) === 0) continue;
    for (let offset = 0; offset + 4 <= is.length; offset += 4) {
      const difference = wordAt(is, offset) - wordAt(was, offset);
      if (difference === 0) continue;
      if (difference !== 1 || found !== undefined) return undefined;
      found = { buffer, offset };
    }
  }
  return found;
}

function wordAt(bytes: Uint8Array, offset: number): number {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).readUInt32LE(offset);
}

/** Copies of buffers, one of whose words is larger by `step`. */
function stepped(buffers: readonly CallBuffer[], { buffer, offset }: Word, step: number) {
  return buffers.map((source, index): CallBuffer => {
    const bytes = bytesOf(source);
    if (bytes === undefined || index !== buffer) return source;
    const copy = Buffer.from(bytes);
    copy.writeUInt32LE((copy.readUInt32LE(offset) + step) >>> 0, offset);
    return source instanceof Uint8Array ? copy : { inout: copy };
  });
}
