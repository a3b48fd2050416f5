import type { Handle } from '../call.js';
import type { Caller } from '../session/caller.js';

/**
 * Closes the handles of objects that have been collected, many at a time. It holds neither the
 * objects nor their session.
 */
export class Collector {
  readonly #session: WeakRef<Caller>;
  readonly #registry: FinalizationRegistry<Handle>;
  #handles: Handle[] = [];

  constructor(session: Caller) {
    this.#session = new WeakRef(session);
    this.#registry = new FinalizationRegistry((handle) => this.#collected(handle));
  }

  register(object: object, handle: Handle, token: object): void {
    this.#registry.register(object, handle, token);
  }

  unregister(token: object): void {
    this.#registry.unregister(token);
  }

  #collected(handle: Handle): void {
    if (this.#handles.push(handle) > 1) return;
    setImmediate(() => {
      const handles = this.#handles;
      this.#handles = [];
      const session = this.#session.deref();
      // Nobody waits for this, and a session that has ended has closed them.
      if (session?.closed === false) session.release(handles).catch(() => {});
    });
  }
}
