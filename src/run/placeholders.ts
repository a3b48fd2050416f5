import type { Handle } from '../call.js';
import { systemError } from '../errors.js';
import { native } from '../native.js';

const READABLE = 1;

interface Placeholder {
  readonly handle: Handle;
  readonly close: () => void;
}

/** Called for what the program does with its descriptors. */
export interface DescriptorListener {
  /** A call is about to use an object. */
  used(handle: Handle): void;
  /** The program no longer holds an object. */
  gone(handle: Handle): void;
}

/** The result of native.identify() for a descriptor. */
type Identity = number;

/**
 * The sockets that the program holds in place of the guest's objects.
 *
 * A socket is recognised by its inode, so copies of the descriptor by dup(2), fork(2), exec(2) or
 * SCM_RIGHTS stand for the same object. This process keeps the other end, which gets a hang-up when
 * the last copy is closed. Reading from the socket fails as reading from an object does.
 *
 * A socket cannot be mapped, nor waited for. For an object that the program maps or waits for,
 * shared memory or an eventfd stands in instead. Nothing reports when their last copy is closed, so
 * such an object lasts until {@link close}.
 */
export class Placeholders {
  readonly #placeholders = new Map<Identity, Placeholder>();
  readonly #lasting = new Set<Handle>();
  readonly #listener: DescriptorListener;

  constructor(listener: DescriptorListener) {
    this.#listener = listener;
  }

  /**
   * Makes a placeholder and passes it to `give`, which returns whether the program has it. If the
   * program does not get one, its object is gone.
   */
  create(handle: Handle, give: (fd: number) => boolean): void {
    let taken = false;
    try {
      taken = this.#make(handle, give);
    } finally {
      if (!taken) this.#listener.gone(handle);
    }
  }

  #make(handle: Handle, give: (fd: number) => boolean): boolean {
    const pair = new Int32Array(2);
    const status = native.deafPair(pair);
    if (status < 0) throw systemError('socket', status);
    const [kept = -1, given = -1] = pair;
    const identity = native.identify(process.pid, given);
    const poller = new native.Poller(kept, () => {
      this.#placeholders.delete(identity);
      close();
      if (!this.#lasting.has(handle)) this.#listener.gone(handle);
    });
    const close = () => {
      poller.close();
      native.close(kept);
    };
    this.#placeholders.set(identity, { handle, close });
    const taken = give(given);
    native.close(given);
    if (!taken) {
      this.#placeholders.delete(identity);
      close();
      return false;
    }
    poller.poll(READABLE);
    return true;
  }

  /** Whether the program holds any object of the guest. */
  get any(): boolean {
    return this.#placeholders.size > 0;
  }

  /** Like {@link adopt}, for shared memory or an eventfd of this process. */
  add(handle: Handle, fd: number): () => void {
    this.#lasting.add(handle);
    // Seal its size: if the program truncated it, this process would get SIGBUS. Eventfds have
    // none.
    native.sealMemory(fd);
    return this.adopt(handle, fd);
  }

  /**
   * Makes `fd`, a socket of this process, stand for an object until the returned function is
   * called.
   */
  adopt(handle: Handle, fd: number): () => void {
    const identity = native.identify(process.pid, fd);
    this.#placeholders.set(identity, { handle, close: () => {} });
    return () => this.#placeholders.delete(identity);
  }

  /** Returns the object behind a descriptor of a thread, or 0 if it is no object of the guest. */
  handleOf(thread: number, descriptor: number): Handle {
    if (descriptor < 0) return 0;
    const handle = this.#placeholders.get(native.identify(thread, descriptor))?.handle ?? 0;
    if (handle !== 0) this.#listener.used(handle);
    return handle;
  }

  close(): void {
    for (const { close } of this.#placeholders.values()) close();
    this.#placeholders.clear();
  }
}
