/*
 * Feature probes: tools load thousands of tiny programs to learn what a kernel can do. A kernel
 * always says the same, so it is asked once.
 */
import { constants } from 'node:os';
import { enums } from '../bpf/index.js';
import { type Call, type CallBuffer, type Handle, Relocation, type Reply } from '../call.js';
import { outputLengths } from '../frame/index.js';
import type { Session } from '../session/index.js';
import type { GuestCache } from '../view/index.js';
import { encodeVerdicts, type Verdict, VerdictFile } from './verdicts.js';

const { errno } = constants;
const { BPF_PROG_LOAD } = enums.Cmd;

const NAME_OFFSET = 48;
const NAME_BYTES = 16;
/** Programs of use are longer. */
const MAX_PROBE_BYTES = 512;
const MAX_KEPT = 16_384;
/** How many loads are made ahead of a tool that counts. */
const AHEAD = 24;
const FILE = 'verdicts';

/** Refusals that may have been for want of something just then, or of a privilege. */
const passing: ReadonlySet<number> = new Set([
  errno.EPERM,
  errno.EINTR,
  errno.EAGAIN,
  errno.ENOMEM,
  errno.EMFILE,
  errno.ENFILE,
]);

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
  /** What was known from the start. */
  #before: VerdictFile | undefined;
  #latest: Call | undefined;
  /** Up to which value of the counted word loads have been made ahead; 0 when nothing is counted. */
  #horizon = 0;
  #news = false;

  constructor(session: Session, cache: GuestCache) {
    this.#session = session;
    this.#cache = cache;
  }

  /**
   * Makes a call, or has it that it was made. The outputs may be shared with other replies: they
   * are to be read only.
   */
  call(call: Call, name: string): Reply | Promise<Reply> {
    if (lists.has(call.command)) this.#loadAll();
    const key = keyOf(call);
    if (key === undefined) return this.#session.call(call, { name });
    this.#before ??= new VerdictFile(this.#cache.read(FILE) ?? new Uint8Array(0));
    const known = this.#verdicts.get(key) ?? this.#before.get(key);
    // What was known from the start is so for the rest of the count, most likely.
    if (known === undefined || this.#horizon > 0) this.#expect(call);
    this.#latest = call;
    if (known === undefined) return this.#ask(call, name, key);
    if (known instanceof Promise) return known.then((verdict) => this.#recall(call, verdict));
    return this.#recall(call, known);
  }

  async #ask(call: Call, name: string, key: string): Promise<Reply> {
    const reply = await this.#session.call(call, { name });
    this.#keep(key, [reply.result < 0 ? reply.errno : 0, reply.outputs]);
    return reply;
  }

  #recall(call: Call, [error, outputs]: Verdict): Reply {
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
    const verdicts: [string, Verdict][] = [...(this.#before ?? [])];
    for (const [key, verdict] of this.#verdicts) {
      if (!(verdict instanceof Promise)) verdicts.push([key, verdict]);
    }
    await this.#cache.write(FILE, encodeVerdicts(verdicts));
  }

  #loadAll(): void {
    for (const handle of [...this.#deferred.keys()]) this.use(handle);
  }

  get #full(): boolean {
    return this.#verdicts.size + (this.#before?.size ?? 0) >= MAX_KEPT;
  }

  #keep(key: string, verdict: Verdict): void {
    this.#verdicts.delete(key);
    if (passing.has(verdict[0]) || this.#full) return;
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
      if (key === undefined || this.#verdicts.has(key) || this.#before?.has(key) || this.#full) {
        continue;
      }
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
      // Until the answer is there, the tool can be told of earlier ones.
      const options = { name: 'BPF_PROG_LOAD', ahead: true };
      const reply = await session.call({ ...call, result: handle }, options);
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

/** Commands whose results show which programs there are. */
const lists: ReadonlySet<number> = new Set([
  enums.Cmd.BPF_PROG_GET_NEXT_ID,
  enums.Cmd.BPF_PROG_GET_FD_BY_ID,
]);

function bytesOf(buffer: CallBuffer | undefined): Uint8Array | undefined {
  if (buffer === undefined || typeof buffer === 'number') return undefined;
  return buffer instanceof Uint8Array ? buffer : buffer.inout;
}

/** Numbers, each 32 bits, that go before the bytes in a key. */
const KEY_NUMBERS = 64;
const keyBytes = Buffer.alloc(4 * KEY_NUMBERS + MAX_PROBE_BYTES);

/**
 * What the kernel's answer to a probe depends on: the lengths of all buffers, the relocations, and
 * the bytes that go in, as characters of a byte each. `undefined` for what is no probe.
 */
function keyOf({ command, args, buffers, relocations }: Call): string | undefined {
  if (command !== BPF_PROG_LOAD || args !== 1) return undefined;
  if (1 + buffers.length + relocations.length > KEY_NUMBERS) return undefined;
  for (let at = 2; at < relocations.length; at += 4) {
    if (relocations[at] !== Relocation.POINTER) return undefined;
  }
  const attribute = bytesOf(buffers[0]);
  for (let at = NAME_OFFSET; at < NAME_OFFSET + NAME_BYTES; at++) {
    if ((attribute?.[at] ?? 0) !== 0) return undefined;
  }
  let end = keyBytes.writeInt32LE(buffers.length);
  for (const buffer of buffers) {
    end = keyBytes.writeInt32LE(typeof buffer === 'number' ? ~buffer : lengthOf(buffer), end);
  }
  for (const number of relocations) end = keyBytes.writeInt32LE(number, end);
  const start = end;
  for (const buffer of buffers) {
    const bytes = bytesOf(buffer);
    if (bytes === undefined) continue;
    if (end + bytes.length - start > MAX_PROBE_BYTES) return undefined;
    keyBytes.set(bytes, end);
    end += bytes.length;
  }
  return keyBytes.toString('latin1', 0, end);
}

function lengthOf(buffer: CallBuffer): number {
  return bytesOf(buffer)?.length ?? 0;
}

/** Without the zeroes at the end, which most of an output is. */
function trimmed(bytes: Uint8Array): Uint8Array {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end--;
  return bytes.slice(0, end);
}

/** Outputs of zeroes, which most are, by their length. */
const zeroes = new Map<number, Uint8Array>();
const MAX_ZEROES = 64;

function filled(outputs: readonly Uint8Array[], lengths: readonly number[]): Uint8Array[] {
  return lengths.map((length, index) => {
    const output = outputs[index];
    const shared = output === undefined || output.length === 0;
    const known = shared ? zeroes.get(length) : undefined;
    if (known !== undefined) return known;
    const bytes = new Uint8Array(length);
    if (!shared) bytes.set(output.subarray(0, length));
    else if (zeroes.size < MAX_ZEROES) zeroes.set(length, bytes);
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
