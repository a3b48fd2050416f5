import type { Handle } from '../call.js';
import type { Caller } from '../session/caller.js';

/**
 * Closes the handles of objects that JavaScript has collected, many at a time, but none that an
 * open object needs: the kernel empties a map of programs, for one, when its last descriptor is
 * closed, even where a program uses it. It holds neither the objects nor their session.
 */
export class Collector {
  readonly #session: WeakRef<Caller>;
  readonly #registry: FinalizationRegistry<Handle>;
  /** The objects that each open object needs. */
  readonly #needs = new Map<Handle, readonly Handle[]>();
  /** How many open objects need it. */
  readonly #needed = new Map<Handle, number>();
  /** Objects that were collected while they were needed. */
  readonly #kept = new Set<Handle>();
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

  /** Keeps the objects that an object was made with, as long as it is open. */
  needs(handle: Handle, others: readonly Handle[]): void {
    if (others.length === 0) return;
    this.#needs.set(handle, [...(this.#needs.get(handle) ?? []), ...others]);
    for (const other of others) this.#needed.set(other, (this.#needed.get(other) ?? 0) + 1);
  }

  /** Called when a handle is closed. Objects that only it needed may be closed. */
  closed(handle: Handle): void {
    this.#kept.delete(handle);
    const others = this.#needs.get(handle);
    if (others === undefined) return;
    this.#needs.delete(handle);
    for (const other of others) {
      const count = (this.#needed.get(other) ?? 1) - 1;
      if (count > 0) this.#needed.set(other, count);
      else {
        this.#needed.delete(other);
        if (this.#kept.delete(other)) this.#collected(other);
      }
    }
  }

  /** All handles have been closed. */
  clear(): void {
    this.#needs.clear();
    this.#needed.clear();
    this.#kept.clear();
  }

  #collected(handle: Handle): void {
    if (this.#needed.has(handle)) {
      this.#kept.add(handle);
      return;
    }
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
