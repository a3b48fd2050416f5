import type { Write } from '../bpf/index.js';
import { native, Verdict, type VerdictCache } from '../native.js';

const ENOENT = -2;

/** One system call of the program, which waits until it is answered. */
export class Notification {
  #succeeds: boolean;
  readonly #listener: number;
  readonly #words: BigUint64Array;

  /** @param words the call's, which are copied */
  constructor(listener: number, words: BigUint64Array, succeeds = false) {
    this.#succeeds = succeeds;
    this.#listener = listener;
    this.#words = words.slice();
  }

  /** Whether it succeeds as it did before, and what the kernel writes has been written. */
  get knownToSucceed(): boolean {
    return this.#succeeds;
  }

  /** Has the call answered as it was before, if it failed then. Returns whether it is. */
  answerFrom(cache: VerdictCache): boolean {
    const verdict = cache.answer(this.#listener, this.#words);
    this.#succeeds = verdict === Verdict.SUCCEEDS;
    return verdict === Verdict.ANSWERED || verdict === Verdict.NOTIFY;
  }

  /**
   * The capabilities that the thread had when the program began, and has given up: bits by their
   * numbers in linux/capability.h, below 2⁵³.
   */
  get lost(): number {
    return Number(this.#words[10]);
  }

  /** The thread that made the call, as this process sees it. */
  get thread(): number {
    return Number(this.#words[1]);
  }

  /** The `AUDIT_ARCH_*` that the call's number is one of. */
  get architecture(): number {
    return Number(this.#words[2]);
  }

  get number(): number {
    return Number(this.#words[3]);
  }

  /** An argument as the register holds it. */
  word(index: number): bigint {
    return this.#words[4 + index] ?? 0n;
  }

  /** The low half of an argument, as a number without sign. */
  argument(index: number): number {
    return Number(this.word(index) & 0xffffffffn);
  }

  /** An argument that is a descriptor. */
  descriptor(index: number): number {
    return this.argument(index) | 0;
  }

  /** Whether the thread is still the one that made the call. */
  get waits(): boolean {
    return native.seccompCheck(this.#listener, this.#words) === 0;
  }

  /**
   * Writes parts to the memory of whoever made the call, in their order, and returns how many bytes
   * could be written, or a negative errno: none when the call waits no more.
   */
  write(parts: readonly Write[]): number {
    return native.writeMemory(this.#listener, this.#words, parts);
  }

  /** Lets the call return `value`. */
  succeed(value: number): void {
    native.seccompRespond(this.#listener, this.#words, value, 0);
  }

  /** Lets the call fail. */
  fail(errno: number): void {
    native.seccompRespond(this.#listener, this.#words, 0, errno);
  }

  /** Lets the call return a copy of a descriptor. Returns false when nobody waits any more. */
  giveDescriptor(fd: number, closeOnExec = true): boolean {
    const status = native.seccompRespondDescriptor(this.#listener, this.#words, fd, closeOnExec);
    if (status >= 0) return true;
    // The program has no descriptor left, say: that is its error, not ours.
    if (status !== ENOENT) this.fail(-status);
    return false;
  }

  /**
   * Puts a copy of `fd` in the place of the program's descriptor `number`.
   *
   * @returns whether it is there now
   */
  replaceDescriptor(fd: number, number: number): boolean {
    return native.seccompReplaceDescriptor(this.#listener, this.#words, fd, number, true) >= 0;
  }

  /**
   * Has this machine's kernel make the call. The kernel reads anew what the arguments point to, and
   * another thread of the program may have changed that. So only such a call proceeds that gives the
   * program nothing it did not have: a file is opened with the program's own rights, and the program
   * could have named it in a way that nobody looks at, such as relative to a folder. What must not
   * reach this machine's kernel at all, bpf(2) and perf_event_open(2), never proceeds.
   */
  proceed(): void {
    native.seccompContinue(this.#listener, this.#words);
  }
}
