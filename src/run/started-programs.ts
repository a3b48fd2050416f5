import { failure } from '../errors.js';
import type { KernelInfo } from '../frame/index.js';
import { setVdsoVersion, versionCode } from './vdso.js';

/** Prepares each program that is started, before it makes its first call. */
export class StartedPrograms {
  /** Processes that called execve(2) and have made no call since. */
  readonly #about = new Set<number>();
  readonly #code: number;
  readonly #warnOnce: (error: Error) => void;

  constructor({ release, version }: KernelInfo, warnOnce: (error: Error) => void) {
    this.#code = versionCode(release, version);
    this.#warnOnce = warnOnce;
  }

  /** Called when a process is about to execute another program. */
  about(process: number): void {
    this.#about.add(process);
  }

  /** Called when a thread makes a call. For the first call of a program, it changes the vDSO. */
  first(thread: number): void {
    if (this.#about.size === 0 || !this.#about.delete(thread)) return;
    if (setVdsoVersion(thread, this.#code)) return;
    const what = "The version of the kernel in the program's vDSO is this machine's";
    const instead = 'What uname(2) tells is the guest\u2019s.';
    this.#warnOnce(failure('ERR_RUN_NOTICE', { what, instead }));
  }
}
