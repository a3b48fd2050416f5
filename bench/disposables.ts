/**
 * Things to be disposed of together, last first. Node 20 has the protocol but not yet
 * `AsyncDisposableStack`.
 */
export class Disposables implements AsyncDisposable {
  #resources: AsyncDisposable[] = [];

  /** Adds a resource and returns it. */
  use<T extends AsyncDisposable>(resource: T): T {
    this.#resources.push(resource);
    return resource;
  }

  /** Adds resources that are being made; throws the first failure once all of them are settled. */
  async useAll<const T extends readonly Promise<AsyncDisposable>[]>(
    making: T,
  ): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
    for (const made of await Promise.allSettled(making)) {
      if (made.status === 'fulfilled') this.use(made.value);
    }
    return (await Promise.all(making)) as { -readonly [K in keyof T]: Awaited<T[K]> };
  }

  /** Hands everything over to a new owner, so that disposing of this one does nothing. */
  move(): Disposables {
    const next = new Disposables();
    next.#resources = this.#resources;
    this.#resources = [];
    return next;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const resource of this.#resources.splice(0).reverse()) {
      await resource[Symbol.asyncDispose]();
    }
  }
}
