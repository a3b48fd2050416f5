import type { Lab } from './lab.js';

/** A lab that several experiments use, one after the other, to save the time of their boots. */
export class SharedLab implements AsyncDisposable {
  #lab: Promise<Lab> | undefined;

  /** The lab, opened if there is none. Disposing of it leaves it to the next experiment. */
  async use(open: () => Promise<Lab>): Promise<Lab> {
    this.#lab ??= open();
    try {
      return { ...(await this.#lab), [Symbol.asyncDispose]: async () => {} };
    } catch (error) {
      this.#lab = undefined;
      throw error;
    }
  }

  /** Disposes of the lab, so that the next experiment gets a new one. */
  async drop(): Promise<void> {
    const lab = this.#lab;
    this.#lab = undefined;
    await (await lab?.catch(() => undefined))?.[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.drop();
  }
}
