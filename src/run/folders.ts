/* Folders of the guest that the program has opened. */
import type { Handle } from '../call.js';
import { eachEntry } from '../kernel/guest-folder.js';
import type { GuestFiles } from '../view/index.js';

interface Folder {
  readonly path: string;
  /** Its entries, from the first listing until the listing begins again. */
  entries?: Buffer | undefined;
  /** Where the next entry begins. */
  position: number;
}

/**
 * The guest's folders that the program has opened: the path of each, and how far it has been
 * listed.
 */
export class Folders {
  readonly #files: GuestFiles;
  readonly #known = new Map<Handle, Folder>();

  constructor(files: GuestFiles) {
    this.#files = files;
  }

  add(handle: Handle, path: string): void {
    this.#known.set(handle, { path, position: 0 });
  }

  remove(handle: Handle): void {
    this.#known.delete(handle);
  }

  pathOf(handle: Handle): string | undefined {
    return this.#known.get(handle)?.path;
  }

  /** Begins the listing of a folder again. */
  rewind(handle: Handle): void {
    const folder = this.#known.get(handle);
    if (folder === undefined) return;
    folder.entries = undefined;
    folder.position = 0;
  }

  /**
   * Returns the next records of a folder that fit into `maxBytes`: none at the end, and undefined
   * if not even one fits.
   *
   * @throws the guest's system error; ERR_POLICY_REFUSED
   */
  async next(handle: Handle, maxBytes: number): Promise<Uint8Array | undefined> {
    const folder = this.#known.get(handle) as Folder;
    folder.entries ??= await this.#files.list(folder.path);
    const rest = folder.entries.subarray(folder.position);
    let end = 0;
    for (const start of [...eachEntry(rest, folder.path).slice(1), rest.length]) {
      if (start > maxBytes) break;
      end = start;
    }
    if (end === 0 && rest.length > 0) return undefined;
    folder.position += end;
    return rest.subarray(0, end);
  }
}
