import { failure } from '../../src/errors.js';
import { ExecutorProcess } from './executor.js';
import type { Ending, Keeper } from './keeper.js';

/**
 * Gives sessions their executors. It can keep one ready, so that a session does not wait for a
 * start. A start takes a tenth of a second in an emulated guest.
 */
export class ExecutorPool {
  readonly #begin: () => Promise<Keeper>;
  readonly #keepsOne: boolean;
  #keeper: Promise<Keeper> | undefined;
  #running: Keeper | undefined;
  #spare: ExecutorProcess | undefined;
  readonly #taken = new Set<ExecutorProcess>();
  #closed = false;

  /** @param begin returns the object that starts executors; it is called once */
  constructor(begin: () => Promise<Keeper>, keepsOne: boolean) {
    this.#begin = begin;
    this.#keepsOne = keepsOne;
  }

  /**
   * Begins to start executors. The caller awaits it before it takes the first.
   *
   * @returns a promise that resolves when the keeper has ended; no executor can be taken after that
   */
  async start(): Promise<{ ended: Promise<Ending> }> {
    this.#keeper ??= this.#begin();
    this.#running = await this.#keeper;
    return { ended: this.#running.ended };
  }

  /** The process id of the executor that is kept ready, if there is one. */
  get sparePid(): number | undefined {
    return this.#spare?.pid;
  }

  /** Returns an executor that no session has had. */
  take(): ExecutorProcess {
    const taken = this.#spare ?? this.#make();
    this.#spare = undefined;
    this.#taken.add(taken);
    void taken.ended.then(() => this.#taken.delete(taken));
    return taken;
  }

  /**
   * Starts an executor to keep ready, if the pool keeps one. It should be called while there is no
   * session: a start uses the processor, and a session that traces the guest would see it.
   */
  fill(): void {
    if (!this.#keepsOne || this.#closed || this.#spare !== undefined) return;
    const spare = this.#make();
    this.#spare = spare;
    void spare.ended.then(() => {
      if (this.#spare === spare) this.#spare = undefined;
    });
  }

  /** Keeps no executor ready any more. Ends when the executors that were taken have ended. */
  async close(): Promise<void> {
    this.#closed = true;
    const spare = this.#spare;
    spare?.kill();
    await spare?.ended;
    await Promise.all([...this.#taken].map(({ ended }) => ended));
    await (await this.#keeper?.catch(() => undefined))?.close();
  }

  #make(): ExecutorProcess {
    if (this.#running === undefined) {
      throw failure('ERR_AGENT_KEEPER', { why: 'it was not started' });
    }
    return new ExecutorProcess(this.#running);
  }
}
