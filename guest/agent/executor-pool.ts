import { ExecutorProcess } from './executor.js';

/**
 * Where sessions get their executors from. It can keep one ready, whose start, a tenth of a second
 * in an emulated guest, no session then waits for.
 */
export class ExecutorPool {
  readonly #rules: Uint8Array;
  readonly #eventNice: number;
  readonly #keepsOne: boolean;
  #spare: ExecutorProcess | undefined;
  #closed = false;

  /**
   * @param rules from `encodeRules`
   * @param eventNice as in `AgentOptions`
   */
  constructor(rules: Uint8Array, eventNice: number, keepsOne: boolean) {
    this.#rules = rules;
    this.#eventNice = eventNice;
    this.#keepsOne = keepsOne;
  }

  /** The process id of the executor that is kept ready, if there is one. */
  get sparePid(): number | undefined {
    return this.#spare?.pid;
  }

  /** Returns an executor that no session has had. */
  take(): ExecutorProcess {
    const taken = this.#spare ?? new ExecutorProcess(this.#rules, this.#eventNice);
    this.#spare = undefined;
    return taken;
  }

  /**
   * Gets one ready, if one is to be kept. To be called while there is no session: a start takes the
   * processor, and whoever looks at what the guest executes sees it.
   */
  fill(): void {
    if (!this.#keepsOne || this.#closed || this.#spare !== undefined) return;
    const spare = new ExecutorProcess(this.#rules, this.#eventNice);
    this.#spare = spare;
    const gone = () => {
      if (this.#spare === spare) this.#spare = undefined;
    };
    spare.ended.then(gone, gone);
  }

  /** Ends what is kept, and keeps no more. */
  async close(): Promise<void> {
    this.#closed = true;
    const spare = this.#spare;
    spare?.kill();
    await spare?.ended.catch(() => {});
  }
}
