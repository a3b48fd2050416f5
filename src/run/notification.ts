import { NOTIFICATION_WORDS, native } from '../native.js';

const ENOENT = -2;

/** One system call of the program, which waits until it is answered. */
export class Notification {
  readonly #listener: number;
  readonly #words: BigUint64Array;

  private constructor(listener: number, words: BigUint64Array) {
    this.#listener = listener;
    this.#words = words;
  }

  /** Takes the next call that waits, or returns `undefined` when its thread has gone meanwhile. */
  static receive(listener: number): Notification | undefined {
    const words = new BigUint64Array(NOTIFICATION_WORDS);
    return native.seccompReceive(listener, words) < 0
      ? undefined
      : new Notification(listener, words);
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

  /** Has this machine's kernel make the call. */
  proceed(): void {
    native.seccompContinue(this.#listener, this.#words);
  }
}
