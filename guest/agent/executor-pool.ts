import { failure } from '../../src/errors.js';
import { ExecutorProcess } from './executor.js';
import type { Ending, Keeper } from './keeper.js';

/**
 * Where sessions get their executors from. It can keep one ready, whose start, a tenth of a second
 * in an emulated guest, no session then waits for.
 */
export class ExecutorPool {
  readonly #begin: () => Promise<Keeper>;
  readonly #keepsOne: boolean;
  #keeper: Promise<Keeper> | undefined;
  #running: Keeper | undefined;
  #spare: ExecutorProcess | undefined;
  readonly #taken = new Set<ExecutorProcess>();
  #closed = false;

  /** @param begin gets what starts executors; it is called once */
  constructor(begin: () => Promise<Keeper>, keepsOne: boolean) {
    this.#begin = begin;
    this.#keepsOne = keepsOne;
  }

  /**
   * Has executors be started from now on. To be awaited before the first is taken.
   *
   * @returns resolves at the end of what starts them, after which none can be taken any more
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
   * Gets one ready, if one is to be kept. To be called while there is no session: a start takes the
   * processor, and whoever looks at what the guest executes sees it.
   */
  fill(): void {
    if (!this.#keepsOne || this.#closed || this.#spare !== undefined) return;
    const spare = this.#make();
    this.#spare = spare;
    void spare.ended.then(() => {
      if (this.#spare === spare) this.#spare = undefined;
    });
  }

  /** Keeps none ready any more, and ends when those that were taken have ended. */
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
