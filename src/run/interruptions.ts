import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { enums } from '../bpf/index.js';
import { systemError } from '../errors.js';
import type { Notification } from './notification.js';

const LOOK_MS = 20;
const { errno } = constants;
const { BPF_PROG_LOAD, BPF_PROG_TEST_RUN } = enums.Cmd;
const { BPF_COMMON_ATTRS } = enums.CallFlag;

/** The commands during which the kernel looks for signals, and what it answers when there is one. */
const noticing: ReadonlyMap<number, number> = new Map([
  [BPF_PROG_LOAD, errno.EAGAIN],
  [BPF_PROG_TEST_RUN, errno.EINTR],
]);

interface Waiting {
  readonly call: Notification;
  readonly controller: AbortController;
  readonly errno: number;
  /** Whether there was a signal for its thread at the last look. */
  signalled: boolean;
}

/**
 * Ends what is under way for callers that do not wait for it any more: because they have ended, or
 * because there is a signal for them that bpf(2) would have noticed. Nothing tells of signals to a
 * thread whose call is being answered, so they are looked for every 20 ms.
 */
export class Interruptions {
  readonly #waiting = new Set<Waiting>();
  #timer: NodeJS.Timeout | undefined;

  /**
   * Has the guest make a call.
   *
   * @param make is given the options by which the call is ended, and kept from ending by itself,
   *   where the kernel looks for signals during the command
   * @throws what the kernel says to a caller who is interrupted
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

  /** Ends all that is under way. */
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
      // A signal for the process may be one that another of its threads is about to take.
      const signalled = hasSignal(waiting.call.thread);
      if ((signalled && waiting.signalled) || !waiting.call.waits) end(waiting);
      waiting.signalled = signalled;
    }
  }
}

function end({ controller, errno: told }: Waiting): void {
  controller.abort(systemError('bpf', -told));
}

/** Whether a signal is pending for a thread that neither blocks nor ignores it. */
function hasSignal(thread: number): boolean {
  let status: string;
  try {
    status = readFileSync(`/proc/${thread}/status`, 'latin1');
  } catch {
    return false;
  }
  const mask = (name: string) =>
    BigInt(`0x${new RegExp(`^${name}:\\s*(\\w+)$`, 'm').exec(status)?.[1] ?? '0'}`);
  return ((mask('SigPnd') | mask('ShdPnd')) & ~mask('SigBlk') & ~mask('SigIgn')) !== 0n;
}
