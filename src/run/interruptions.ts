import { constants } from 'node:os';
import { enums } from '../bpf/index.js';
import { systemError } from '../errors.js';
import type { Notification } from './notification.js';
import { threadStatus } from './thread-status.js';

const LOOK_MS = 20;
const { errno } = constants;
const { BPF_PROG_LOAD, BPF_PROG_TEST_RUN } = enums.Cmd;
const { BPF_COMMON_ATTRS } = enums.CallFlag;

/**
 * The commands during which the kernel checks for signals, with the error of each when it finds
 * one.
 */
const noticing: ReadonlyMap<number, number> = new Map([
  [BPF_PROG_LOAD, errno.EAGAIN],
  [BPF_PROG_TEST_RUN, errno.EINTR],
]);

interface Waiting {
  readonly call: Notification;
  readonly controller: AbortController;
  readonly errno: number;
  /** Whether the thread had a signal at the last check. */
  signalled: boolean;
}

/**
 * Ends calls in the guest whose callers no longer wait: because the caller has ended, or because it
 * has a signal that bpf(2) would have noticed. The kernel does not report signals to a thread whose
 * call is being answered, so this class checks for them every 20 ms.
 */
export class Interruptions {
  readonly #waiting = new Set<Waiting>();
  #timer: NodeJS.Timeout | undefined;

  /**
   * Makes a call in the guest.
   *
   * @param make gets the call's options. If the kernel checks for signals during the command, they
   *   have a signal that ends the call, and no time limit
   * @throws the kernel's error for an interrupted call
   */
  async during<T>(
    call: Notification,
    command: number,
    make: (options: { signal?: AbortSignal; timeoutMs?: number }) => Promise<T>,
  ): Promise<T> {
    const told = noticing.get(command & ~BPF_COMMON_ATTRS);
    if (told === undefined) return make({});
    const controller = new AbortController();
    const waiting = { call, controller, errno: told, signalled: false };
    this.#waiting.add(waiting);
    this.#timer ??= setInterval(() => this.#look(), LOOK_MS);
    try {
      return await make({ signal: controller.signal, timeoutMs: Number.POSITIVE_INFINITY });
    } catch (error) {
      throw controller.signal.aborted ? controller.signal.reason : error;
    } finally {
      this.#waiting.delete(waiting);
    }
  }

  /** Ends all current calls. */
  close(): void {
    for (const waiting of this.#waiting) end(waiting);
    clearInterval(this.#timer);
  }

  #look(): void {
    if (this.#waiting.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
    for (const waiting of this.#waiting) {
      // Another thread of the process may be about to take the signal.
      const signalled = hasSignal(waiting.call.thread);
      if ((signalled && waiting.signalled) || !waiting.call.waits) end(waiting);
      waiting.signalled = signalled;
    }
  }
}

function end({ controller, errno: told }: Waiting): void {
  controller.abort(systemError('bpf', -told));
}

/** Returns whether a thread has a pending signal that it neither blocks nor ignores. */
function hasSignal(thread: number): boolean {
  const status = threadStatus(thread);
  const mask = (name: string) => BigInt(`0x${status(name) ?? '0'}`);
  return ((mask('SigPnd') | mask('ShdPnd')) & ~mask('SigBlk') & ~mask('SigIgn')) !== 0n;
}
