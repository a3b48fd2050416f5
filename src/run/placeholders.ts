import { readlinkSync } from 'node:fs';
import type { Handle } from '../call.js';
import { systemError } from '../errors.js';
import { native } from '../native.js';

const READABLE = 1;

interface Placeholder {
  readonly handle: Handle;
  readonly close: () => void;
}

/**
 * What the program holds in the place of the guest's objects: ends of socket pairs.
 *
 * A socket is known by its inode, so that copies of the descriptor, by dup(2), fork(2), exec(2) or
 * SCM_RIGHTS, mean the same object; and its other end, which stays here, hears when the last copy
 * is gone.
 */
export class Placeholders {
  readonly #handles = new Map<number, Placeholder>();
  readonly #onGone: (handle: Handle) => void;

  /** @param onGone is told of each object that the program holds no longer */
  constructor(onGone: (handle: Handle) => void) {
    this.#onGone = onGone;
  }

  /** Makes a placeholder and hands it to `give`, which says whether the program has it now. */
  create(handle: Handle, give: (fd: number) => boolean): boolean {
    const pair = new Int32Array(2);
    const status = native.socketPair(pair);
    if (status < 0) throw systemError('socketpair', status);
    const [kept = -1, given = -1] = pair;
    const inode = inodeOf(given);
    const poller = new native.Poller(kept, () => {
      this.#handles.delete(inode);
      close();
      this.#onGone(handle);
    });
    const close = () => {
      poller.close();
      native.close(kept);
    };
    this.#handles.set(inode, { handle, close });
    const taken = give(given);
    native.close(given);
    if (!taken) {
      this.#handles.delete(inode);
      close();
      return false;
    }
    poller.poll(READABLE);
    return true;
  }

  /** The object behind a descriptor of a thread, or 0 when it is none of the guest's. */
  handleOf(thread: number, descriptor: number): Handle {
    if (descriptor < 0) return 0;
    const inode = native.socketInode(thread, descriptor);
    return inode <= 0 ? 0 : (this.#handles.get(inode)?.handle ?? 0);
  }

  close(): void {
    for (const { close } of this.#handles.values()) close();
    this.#handles.clear();
  }
}

function inodeOf(fd: number): number {
  return Number(readlinkSync(`/proc/self/fd/${fd}`).replace(/^socket:\[(\d+)\]$/, '$1'));
}
