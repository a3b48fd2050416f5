import { readFileSync } from 'node:fs';
import type { Write } from '../bpf/index.js';
import { native, Verdict, type VerdictCache } from '../native.js';

const ENOENT = -2;
const PROT_WRITE = 2;
/** O_CLOEXEC, as fdinfo shows it. */
const CLOSE_ON_EXEC = 0o2000000;

/** Returns whether execve(2) closes a thread's descriptor. */
function closesOnExec(thread: number, descriptor: number): boolean {
  try {
    const info = readFileSync(`/proc/${thread}/fdinfo/${descriptor}`, 'latin1');
    const flags = /^flags:\s*([0-7]+)$/m.exec(info)?.[1] ?? '0';
    return (Number.parseInt(flags, 8) & CLOSE_ON_EXEC) !== 0;
  } catch {
    return true;
  }
}

/** One system call of the program. The program's thread waits until it is answered. */
export class Notification {
  #succeeds: boolean;
  readonly #listener: number;
  readonly #words: BigUint64Array;

  /** @param words the words of the notification, which are copied */
  constructor(listener: number, words: BigUint64Array, succeeds = false) {
    this.#succeeds = succeeds;
    this.#listener = listener;
    this.#words = words.slice();
  }

  /**
   * Whether the call will succeed as it did before. The kernel's output is already in the program's
   * memory.
   */
  get knownToSucceed(): boolean {
    return this.#succeeds;
  }

  /** Answers the call from the cache if it failed before. Returns whether it is answered. */
  answerFrom(cache: VerdictCache): boolean {
    const verdict = cache.answer(this.#listener, this.#words);
    this.#succeeds = verdict === Verdict.SUCCEEDS;
    return verdict === Verdict.ANSWERED || verdict === Verdict.NOTIFY;
  }

  /**
   * The capabilities that the thread has given up since the program began, as a mask: bit N is
   * number N in linux/capability.h. It is below 2⁵³.
   */
  get lost(): number {
    return Number(this.#words[10]);
  }

  /** The id of the thread that made the call, in this process's PID namespace. */
  get thread(): number {
    return Number(this.#words[1]);
  }

  /** The `AUDIT_ARCH_*` to which the call's number belongs. */
  get architecture(): number {
    return Number(this.#words[2]);
  }

  get number(): number {
    return Number(this.#words[3]);
  }

  /** Returns an argument with the 64 bits of its register. */
  word(index: number): bigint {
    return this.#words[4 + index] ?? 0n;
  }

  /** Returns the low 32 bits of an argument as an unsigned number. */
  argument(index: number): number {
    return Number(this.word(index) & 0xffffffffn);
  }

  /** Returns an argument that is a descriptor. */
  descriptor(index: number): number {
    return this.argument(index) | 0;
  }

  /** Whether the thread is still the one that made the call. */
  get waits(): boolean {
    return native.seccompCheck(this.#listener, this.#words) === 0;
  }

  /**
   * Writes parts in order to the memory of the process that made the call. Returns the number of
   * bytes that were written, or a negative errno. Writes nothing if the call no longer waits.
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

  /** Lets the call return a copy of a descriptor. Returns false if the call no longer waits. */
  giveDescriptor(fd: number, closeOnExec = true): boolean {
    const status = native.seccompRespondDescriptor(this.#listener, this.#words, fd, closeOnExec);
    if (status >= 0) return true;
    // The program may have no free descriptor, for example. The error is the program's.
    if (status !== ENOENT) this.fail(-status);
    return false;
  }

  /**
   * Replaces the program's descriptor `number` by a copy of `fd`.
   *
   * @param closeOnExec whether execve(2) closes it. Default: as the descriptor that it replaces
   * @returns whether that succeeded
   */
  replaceDescriptor(
    fd: number,
    number: number,
    closeOnExec = closesOnExec(this.thread, number),
  ): boolean {
    const { seccompReplaceDescriptor: replace } = native;
    return replace(this.#listener, this.#words, fd, number, closeOnExec) >= 0;
  }

  /**
   * Lets mmap(2) map memory of this process in place of the object behind its descriptor.
   *
   * Memory that is mapped to be read only stays so: mprotect(2) cannot make it writable, as
   * bpf_map_mmap() in kernel/bpf/syscall.c takes VM_MAYWRITE from such a mapping of a map.
   */
  mapMemory(fd: number): void {
    const writes = (this.argument(2) & PROT_WRITE) !== 0;
    const given = writes ? fd : native.readableCopy(fd);
    if (given < 0) {
      this.fail(-given);
      return;
    }
    try {
      if (this.replaceDescriptor(given, this.descriptor(4))) this.proceed();
    } finally {
      if (!writes) native.close(given);
    }
  }

  /**
   * Lets this machine's kernel make the call. The kernel reads the memory behind the arguments
   * again, and another thread of the program may have changed that memory. So a call may proceed
   * only if it gives the program nothing that the program could not have otherwise. For example, a
   * file is opened with the program's own rights, and the program could have reached the file by a
   * call that waep does not catch. bpf(2) and perf_event_open(2) must never reach this machine's
   * kernel, and never proceed.
   */
  proceed(): void {
    native.seccompContinue(this.#listener, this.#words);
  }
}
