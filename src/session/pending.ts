import type { ChainReply, Handle, Reply } from '../call.js';
import { failure } from '../errors.js';
import type { OptionNames } from '../known-options.js';
import { MAX_TIMER_MS } from '../timer.js';
import { suspicionOf } from '../transport/mux.js';

/** A request that was sent and not answered yet. */
export interface Pending {
  readonly id: number;
  readonly promise: Promise<Reply>;
  resolve: (reply: Reply) => void;
  /** For a chain: the lengths of the outputs of each call. Then the answer is a ChainReply. */
  chain: readonly (readonly number[])[] | undefined;
  readonly reject: (error: Error) => void;
  /** The lengths of the reply's outputs in full, or undefined to take them as they travel. */
  readonly lengths: readonly number[] | undefined;
  /** The handle that the request will bind, or 0. */
  readonly makes: Handle;
  readonly deadlineMs: number;
  /** The time limit as it was given. */
  readonly timeoutMs: number;
  readonly name: string | number;
  readonly signal: AbortSignal | undefined;
  onAbort: (() => void) | undefined;
}

/** How long to wait for an answer. An operation of several calls waits so long for each of them. */
export interface Patience {
  /**
   * The time limit for the answer, in milliseconds. It includes the time until the request can be
   * sent: while the session is interrupted, and while too much waits to be sent. With a limit of a second or more, the wait may
   * be up to half a second longer. Default: the session's `callTimeoutMs`.
   */
  timeoutMs?: number | undefined;
  /**
   * Stops the wait, and asks the guest to cancel the call. If the call has not begun, it never
   * will, and a run of the verifier is interrupted. If the request comes too late, an object that
   * the call makes is closed again.
   */
  signal?: AbortSignal | undefined;
}

export const patienceNames: OptionNames<Patience> = { timeoutMs: true, signal: true };

/* One function serves every promise. A closure for each promise would cost more. */
const settlers: { resolve: (reply: Reply) => void; reject: (error: Error) => void } = {
  resolve: () => {},
  reject: () => {},
};
function takeSettlers(resolve: (reply: Reply) => void, reject: (error: Error) => void): void {
  settlers.resolve = resolve;
  settlers.reject = reject;
}

/**
 * Returns the name of a request in errors: its own name, or that of a bpf command by its number.
 */
export function requestName(name: string | number): string {
  return typeof name === 'string' ? name : `bpf command ${name}`;
}

/** How often deadlines are checked, unless a deadline is so near that it needs its own time. */
const SWEEP_MS = 250;

/**
 * The requests of one connection that are under way, with their deadlines and signals. Also the
 * abandoned requests, whose answers are still to come.
 */
export class PendingRequests {
  readonly #address: string;
  readonly #timeoutMs: number;
  readonly #onAbort: (id: number) => void;
  readonly #pending = new Map<number, Pending>();
  /** Requests that nobody waits for any more, with the handles that they will bind, or 0. */
  readonly #abandoned = new Map<number, Handle>();
  #nextId = 1;
  #timer: NodeJS.Timeout | undefined;
  #timerDueMs = 0;
  #coarseNowMs = 0;

  /**
   * @param timeoutMs the time limit of a request that sets none itself
   * @param onAbort called with the id of a request whose signal was aborted
   */
  constructor(address: string, timeoutMs: number, onAbort: (id: number) => void) {
    this.#address = address;
    this.#timeoutMs = timeoutMs;
    this.#onAbort = onAbort;
  }

  get size(): number {
    return this.#pending.size;
  }

  /** Returns an id that no request under way has. */
  newId(): number {
    do {
      this.#nextId = this.#nextId >= 0xffffffff ? 1 : this.#nextId + 1;
    } while (this.#pending.has(this.#nextId) || this.#abandoned.has(this.#nextId));
    return this.#nextId;
  }

  /**
   * Adds a request. Must be called before its answer can arrive.
   *
   * @param waitedMs how much of its time the request has waited to be sent
   */
  add(
    id: number,
    name: string | number,
    patience: Patience | undefined,
    lengths: readonly number[] | undefined,
    makes: Handle,
    waitedMs = 0,
  ): Pending {
    const timeoutMs = patience?.timeoutMs ?? this.#timeoutMs;
    const signal = patience?.signal;
    const promise = new Promise<Reply>(takeSettlers);
    const pending: Pending = {
      id,
      promise,
      resolve: settlers.resolve,
      chain: undefined,
      reject: settlers.reject,
      lengths,
      makes,
      deadlineMs: this.#deadline(timeoutMs - waitedMs),
      timeoutMs,
      name,
      signal,
      onAbort: undefined,
    };
    this.#pending.set(id, pending);
    if (signal !== undefined) {
      pending.onAbort = () => {
        this.#abandon(pending);
        pending.reject(this.aborted(name, signal));
        this.#onAbort(id);
      };
      signal.addEventListener('abort', pending.onAbort, { once: true });
    }
    return pending;
  }

  /** Adds a chain of calls, with the lengths of the outputs of each. */
  addChain(
    id: number,
    name: string | number,
    patience: Patience | undefined,
    chain: readonly (readonly number[])[],
    waitedMs: number,
  ): Promise<ChainReply> {
    const pending = this.add(id, name, patience, undefined, 0, waitedMs);
    pending.chain = chain;
    // Whoever reads the answer sees `chain`, too.
    return pending.promise as Promise<unknown> as Promise<ChainReply>;
  }

  /** Returns the error of a request whose signal is aborted. */
  aborted(name: string | number, signal: AbortSignal, unsent = false): Error {
    const detail = { call: requestName(name), address: this.#address, unsent };
    return failure('ERR_CALL_ABORTED', detail, signal.reason);
  }

  /**
   * Waits for something that has to happen before a request can be sent.
   *
   * @param waitedMs how long the request has waited before
   * @returns how long the request has waited now, in milliseconds
   * @throws ERR_CALL_TIMEOUT, ERR_CALL_ABORTED, and what `wait` rejects with
   */
  async unsent(
    wait: Promise<void>,
    name: string | number,
    patience: Patience | undefined,
    waitedMs: number,
  ): Promise<number> {
    const sinceMs = performance.now() - waitedMs;
    const timeoutMs = patience?.timeoutMs ?? this.#timeoutMs;
    const signal = patience?.signal;
    let timer: NodeJS.Timeout | undefined;
    let onAbort = () => {};
    const givenUp = new Promise<never>((_, reject) => {
      const late = () => reject(this.#late(name, timeoutMs, true));
      // Node's longest timer is shorter than some limits, such as Infinity, and than any session.
      const leftMs = timeoutMs - waitedMs;
      if (leftMs <= MAX_TIMER_MS) timer = setTimeout(late, Math.max(leftMs, 1)).unref();
      if (signal !== undefined) onAbort = () => reject(this.aborted(name, signal, true));
    });
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      await Promise.race([wait, givenUp]);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    }
    return performance.now() - sinceMs;
  }

  #late(name: string | number, timeoutMs: number, unsent = false): Error {
    return failure('ERR_CALL_TIMEOUT', {
      call: requestName(name),
      address: this.#address,
      timeoutMs,
      unsent,
      suspicion: suspicionOf(this.#address),
    });
  }

  /** Removes and returns the request that an answer belongs to. */
  take(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    if (pending !== undefined) this.#remove(pending);
    return pending;
  }

  /** Removes and returns every request that is waited for. */
  takeAll(): Pending[] {
    const all = [...this.#pending.values()];
    for (const pending of all) this.#remove(pending);
    return all;
  }

  /**
   * Removes an abandoned request whose answer has come. Returns the handle that it was to bind, or
   * 0, or `undefined` if there is no such request.
   */
  takeAbandoned(id: number): Handle | undefined {
    const makes = this.#abandoned.get(id);
    this.#abandoned.delete(id);
    return makes;
  }

  /**
   * Removes all abandoned requests, whose answers will not come. Returns the handles that they were
   * to bind.
   */
  takeAllAbandoned(): Handle[] {
    const handles = [...this.#abandoned.values()];
    this.#abandoned.clear();
    return handles;
  }

  /** Stops watching deadlines. */
  stop(): void {
    clearTimeout(this.#timer);
  }

  #abandon(pending: Pending): void {
    this.#remove(pending);
    this.#abandoned.set(pending.id, pending.makes);
  }

  #remove(pending: Pending): void {
    this.#pending.delete(pending.id);
    if (pending.onAbort !== undefined) {
      pending.signal?.removeEventListener('abort', pending.onAbort);
    }
  }

  /*
   * To read the clock and arm a timer for every call would cost more than the rest of the call's
   * work here. So one timer checks all deadlines now and then, and keeps the time meanwhile.
   */
  #deadline(timeoutMs: number): number {
    if (timeoutMs < 4 * SWEEP_MS) {
      const deadlineMs = performance.now() + timeoutMs;
      if (this.#timer === undefined || deadlineMs < this.#timerDueMs) this.#schedule(timeoutMs);
      return deadlineMs;
    }
    if (this.#timer === undefined) this.#schedule(SWEEP_MS);
    return this.#coarseNowMs + SWEEP_MS + timeoutMs;
  }

  #schedule(delayMs: number): void {
    clearTimeout(this.#timer);
    this.#coarseNowMs = performance.now();
    this.#timerDueMs = this.#coarseNowMs + delayMs;
    // Answers that arrived while the thread was busy are handled first.
    const expire = () => setImmediate(() => this.#expire());
    this.#timer = setTimeout(expire, Math.max(delayMs, 1)).unref();
  }

  #expire(): void {
    this.#timer = undefined;
    const nowMs = performance.now();
    let nextMs = nowMs + SWEEP_MS;
    for (const pending of this.#pending.values()) {
      if (pending.deadlineMs > nowMs) {
        nextMs = Math.min(nextMs, pending.deadlineMs);
        continue;
      }
      this.#abandon(pending);
      pending.reject(this.#late(pending.name, pending.timeoutMs));
    }
    if (this.#pending.size > 0) this.#schedule(nextMs - nowMs);
  }
}
