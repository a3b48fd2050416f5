/* How long a process may take, on a machine that may be busy with others. */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * A deadline for a process. The time in which the process wanted to run and this machine's
 * processors ran others does not count, so that a slow machine is told from a process that hangs.
 * A process that hangs in a loop uses its share of the processors, and one that sleeps needs none:
 * the deadline passes for both.
 */
export class Deadline {
  readonly #pid: number;
  readonly #endMs: number;

  /** @param timeoutMs how long the process may take from now on, in milliseconds */
  constructor(pid: number, timeoutMs: number) {
    this.#pid = pid;
    this.#endMs = performance.now() + timeoutMs - waitedMs(pid);
  }

  /** How much of the time is left, in milliseconds; never less than 0. */
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
 * How long that thread of a process which waited longest was ready to run and did not, in
 * milliseconds (`run_delay`, Documentation/scheduler/sched-stats.rst). 0 where the kernel does not
 * tell.
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
