import type { Handle } from '../call.js';
import { systemError } from '../errors.js';
import { native } from '../native.js';

const READABLE = 1;

interface Placeholder {
  readonly handle: Handle;
  readonly close: () => void;
}

/** Hears of what the program does with its descriptors. */
export interface DescriptorListener {
  /** Something is about to be done with an object. */
  used(handle: Handle): void;
  /** The program does not hold an object any longer. */
  gone(handle: Handle): void;
}

/** What native.identify() says of a descriptor. */
type Identity = number;

/**
 * What the program holds in the place of the guest's objects: sockets.
 *
 * A socket is known by its inode, so that copies of the descriptor, by dup(2), fork(2), exec(2) or
 * SCM_RIGHTS, mean the same object; and its peer, which stays here, hears when the last copy is
 * gone. Reading from one fails as reading from an object does.
 *
 * Sockets can be neither mapped nor waited for. An object that is, is stood for by shared memory or
 * an eventfd instead, which tell nobody when they are gone: it lasts until {@link close}.
 */
export class Placeholders {
  readonly #placeholders = new Map<Identity, Placeholder>();
  readonly #lasting = new Set<Handle>();
  readonly #listener: DescriptorListener;

  constructor(listener: DescriptorListener) {
    this.#listener = listener;
  }

  /** Makes a placeholder and hands it to `give`, which says whether the program has it now. */
  create(handle: Handle, give: (fd: number) => boolean): boolean {
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

  /** Whether the program holds anything of the guest's. */
  get any(): boolean {
    return this.#placeholders.size > 0;
  }

  /** As {@link adopt}, for shared memory or an eventfd of this process. */
  add(handle: Handle, fd: number): () => void {
    this.#lasting.add(handle);
    // A program that cut it short would end this process. Eventfds need nothing of the kind.
    native.sealMemory(fd);
    return this.adopt(handle, fd);
  }

  /** Has `fd`, a socket of this process, stand for an object until the result is called. */
  adopt(handle: Handle, fd: number): () => void {
    const identity = native.identify(process.pid, fd);
    this.#placeholders.set(identity, { handle, close: () => {} });
    return () => this.#placeholders.delete(identity);
  }

  /** The object behind a descriptor of a thread, or 0 when it is none of the guest's. */
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
