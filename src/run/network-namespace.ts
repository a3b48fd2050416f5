/*
 * The network namespace of the program. Programs name it to bpf(2) by a descriptor, such as that of
 * /proc/self/ns/net, and mean the network that they see. That is the guest's.
 */
import type { Handle } from '../call.js';
import type { WaepError } from '../errors.js';
import type { Session } from '../session.js';
import type { Objects } from './objects.js';
import { namespaceOf } from './own-processes.js';
import type { ProcessMemory } from './process-memory.js';

/** The guest's namespace for which the program's own stands. */
export class NetworkNamespace {
  readonly #session: Session;
  readonly #objects: Objects;
  readonly #own = namespaceOf('self', 'net');
  #handle: Promise<Handle> | undefined;

  constructor(session: Session, objects: Objects) {
    this.#session = session;
    this.#objects = objects;
  }

  /**
   * Lets the descriptors of the program's namespace, among those of a call, stand for the guest's.
   * A namespace that the program has made is one of this machine. Returns whether there are any.
   */
  async replaceIn(memory: ProcessMemory): Promise<boolean> {
    const descriptors = memory
      .others()
      .filter(({ name }) => name === this.#own)
      .map(({ descriptor }) => descriptor);
    if (descriptors.length === 0) return false;
    const handle = await this.#open();
    if (handle !== undefined) memory.replace(descriptors, handle);
    return handle !== undefined;
  }

  /** Returns undefined if the guest's policy does not allow the namespace to be opened. */
  async #open(): Promise<Handle | undefined> {
    this.#handle ??= this.#session.open('/proc/1/ns/net').then((handle) => {
      this.#objects.add(handle, 'netns');
      return handle;
    });
    try {
      return await this.#handle;
    } catch (error) {
      if ((error as Partial<WaepError>).code !== 'ERR_POLICY_REFUSED') throw error;
      return undefined;
    }
  }
}
