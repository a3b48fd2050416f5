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
import { Count, stepped, stretches } from './count.js';
import { encodeVerdicts, type Verdict, VerdictFile } from './verdicts.js';

const { errno } = constants;
const { BPF_PROG_LOAD } = enums.Cmd;

const NAME_OFFSET = 48;
const NAME_BYTES = 16;
/** Programs of use are longer. */
const MAX_PROBE_BYTES = 512;
const MAX_KEPT = 16_384;
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
  readonly #count = new Count();
  /** Programs of loads that were made ahead, to be closed. */
  #unwanted: Handle[] = [];
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
    if (known === undefined || this.#count.active) this.#expect(call);
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
    const expected = this.#count.next(call.buffers.map((buffer) => bytesOf(buffer) ?? nothing));
    if (expected === undefined) return;
    for (const [first, last] of stretches(expected)) {
      const calls = new Map<string, Call>();
      for (let step = first; step <= last; step++) {
        const buffers = call.buffers.map((buffer, part) =>
          part === expected.word.part ? later(buffer, expected.word.offset, step) : buffer,
        );
        const next = { ...call, buffers, result: this.#session.newHandle() };
        const key = keyOf(next);
        if (key === undefined || this.#verdicts.has(key) || this.#before?.has(key) || this.#full) {
          continue;
        }
        calls.set(key, next);
      }
      this.#ahead(calls);
    }
  }

  /** Makes loads that nobody waits for yet. */
  #ahead(calls: ReadonlyMap<string, Call>): void {
    const made = [...calls.values()];
    const replies = this.#session.callAll(made, { name: 'BPF_PROG_LOAD' });
    for (const [index, key] of [...calls.keys()].entries()) {
      const reply = replies[index] as Promise<Reply>;
      const verdict = reply.then(
        (reply): Verdict => {
          if (reply.result >= 0) this.#release(reply.result);
          const verdict: Verdict = [reply.result < 0 ? reply.errno : 0, reply.outputs];
          this.#keep(key, verdict);
          return verdict;
        },
        (error) => {
          this.#verdicts.delete(key);
          throw error;
        },
      );
      // If nobody asks for it, nobody need know that it failed.
      verdict.catch(() => {});
      this.#verdicts.set(key, verdict);
    }
  }

  /** Has a program closed, together with others. */
  #release(handle: Handle): void {
    if (this.#unwanted.push(handle) > 1) return;
    setImmediate(() => {
      const handles = this.#unwanted;
      this.#unwanted = [];
      this.#session.release(handles).catch(() => {});
    });
  }
}

const nothing = new Uint8Array(0);

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

/** A copy of a buffer, one of whose words is larger by `step`. */
function later(buffer: CallBuffer, offset: number, step: number): CallBuffer {
  if (typeof buffer === 'number') return buffer;
  if (buffer instanceof Uint8Array) return stepped(buffer, offset, step);
  return { inout: stepped(buffer.inout, offset, step) };
}
