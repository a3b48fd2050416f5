import { failure } from '../errors.js';
import type { KernelInfo } from '../frame/index.js';
import { setVdsoVersion, versionCode } from './vdso.js';

/** What has to be done with each program that is started, before it does anything. */
export class StartedPrograms {
  /** Processes that have asked to become another program, and have not been seen since. */
  readonly #about = new Set<number>();
  readonly #code: number;
  readonly #warnOnce: (error: Error) => void;

  constructor({ release, version }: KernelInfo, warnOnce: (error: Error) => void) {
    this.#code = versionCode(release, version);
    this.#warnOnce = warnOnce;
  }

  /** A process is about to become another program. */
  about(process: number): void {
    this.#about.add(process);
  }

  /** A thread makes a call: if it is the first of a program, the vDSO is seen to. */
  first(thread: number): void {
    if (this.#about.size === 0 || !this.#about.delete(thread)) return;
    if (setVdsoVersion(thread, this.#code)) return;
    const what = "The version of the kernel in the program's vDSO is this machine's";
    const instead = 'What uname(2) tells is the guest\u2019s.';
    this.#warnOnce(failure('ERR_RUN_NOTICE', { what, instead }));
  }
}
