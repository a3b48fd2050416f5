/* A deadline for a process on a machine that may be busy with others. */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * A deadline for a process. Time in which the process was ready to run but did not get a processor
 * does not count. So the deadline tells a process that hangs from a slow machine: it passes for a
 * process that loops, which gets its share of the processors, and for one that sleeps.
 */
export class Deadline {
  readonly #pid: number;
  readonly #endMs: number;

  /** @param timeoutMs how long the process may take from now on, in milliseconds */
  constructor(pid: number, timeoutMs: number) {
    this.#pid = pid;
    this.#endMs = performance.now() + timeoutMs - waitedMs(pid);
  }

  /** The time that is left, in milliseconds; never less than 0. */
  get remainingMs(): number {
    return Math.max(0, this.#endMs + waitedMs(this.#pid) - performance.now());
  }

  /** Resolves with `undefined` once no time is left. It does not keep this program running. */
  async passed(): Promise<undefined> {
    for (let leftMs = this.remainingMs; leftMs > 0; leftMs = this.remainingMs) {
      await sleep(Math.min(leftMs, 1000), undefined, { ref: false });
    }
  }
}

/**
 * Returns how long a process waited for a processor, in milliseconds: the longest wait of any of
 * its threads (`run_delay`, Documentation/scheduler/sched-stats.rst). It is 0 if the kernel does
 * not count it.
 */
function waitedMs(pid: number): number {
  const tasks = `/proc/${pid}/task`;
  try {
    const delaysNs = readdirSync(tasks).map((task) => {
      const [, delayNs = '0'] = readFileSync(`${tasks}/${task}/schedstat`, 'utf8').split(' ');
      return Number(delayNs);
    });
    return Math.max(0, ...delaysNs) / 1e6;
  } catch {
    return 0;
  }
}
