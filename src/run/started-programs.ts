import { failure } from '../errors.js';
import type { KernelInfo } from '../frame/index.js';
import type { Notification } from './notification.js';
import { EXECVE } from './numbers.js';
import { setVdsoVersion, versionCode } from './vdso.js';

/** Prepares each program that is started, before it makes its first call. */
export class StartedPrograms {
  /** Processes that called execve(2) and have made no call since. */
  readonly #about = new Set<number>();
  /** Its byte is 1 while there are such processes: {@link first} must hear of their first call. */
  readonly begins = new Uint8Array(1);
  readonly #code: number;
  readonly #warnOnce: (error: Error) => void;

  constructor({ release, version }: KernelInfo, warnOnce: (error: Error) => void) {
    this.#code = versionCode(release, version);
    this.#warnOnce = warnOnce;
  }

  /** Called when a process is about to execute another program. */
  about(process: number): void {
    this.#about.add(process);
    this.begins[0] = 1;
  }

  /** Called when a thread makes a call. For the first call of a program, it changes the vDSO. */
  first({ thread, number }: Notification): void {
    // After execve(2) has failed it is called again, for the next folder of PATH.
    if (this.#about.size === 0 || number === EXECVE || !this.#about.delete(thread)) return;
    if (this.#about.size === 0) this.begins[0] = 0;
    if (setVdsoVersion(thread, this.#code)) return;
    const what = "The version of the kernel in the program's vDSO is this machine's";
    const instead = 'What uname(2) tells is the guest\u2019s.';
    this.#warnOnce(failure('ERR_RUN_NOTICE', { what, instead }));
  }
}
