import { fstatSync, openSync } from 'node:fs';
import { native } from '../native.js';
import type { GuestFiles } from './guest-files.js';

const KEPT_MS = 5000;
const MAX_KEPT_BYTES = 128 * 1024 * 1024;
/** The largest program to copy. It is larger than any file of a kernel's own. */
const MAX_PROGRAM_BYTES = 256 * 1024 * 1024;

interface Kept {
  readonly fd: number;
  readonly sizeBytes: number;
  readonly forget: NodeJS.Timeout;
}

/**
 * Copies of the files that the guest's processes run. A copy stays until five seconds after its
 * last use.
 *
 * A tool that looks up the names of addresses opens a program and its libraries several times for
 * each address. It expects a descriptor to stay valid when the process has ended.
 */
export class RecentFiles {
  readonly #files: GuestFiles;
  readonly #kept = new Map<string, Kept>();
  #keptBytes = 0;

  constructor(files: GuestFiles) {
    this.#files = files;
  }

  /** Returns whether there is a copy. */
  has(path: string): boolean {
    return this.#kept.has(path);
  }

  /**
   * Returns a descriptor of a copy of a file. The caller closes it.
   *
   * @throws as {@link GuestFiles.open}
   */
  async open(path: string): Promise<number> {
    const kept = this.#kept.get(path);
    kept?.forget.refresh();
    const fd = kept?.fd ?? (await this.#files.open(path, MAX_PROGRAM_BYTES));
    if (kept === undefined) this.#keep(path, fd);
    // A description of its own: readers do not share a position.
    const opened = openSync(`/proc/self/fd/${fd}`, 'r');
    if (!this.#kept.has(path)) native.close(fd);
    return opened;
  }

  close(): void {
    for (const path of [...this.#kept.keys()]) this.#forget(path);
  }

  #keep(path: string, fd: number): void {
    const sizeBytes = fstatSync(fd).size;
    this.#forget(path);
    if (sizeBytes > MAX_KEPT_BYTES) return;
    for (const oldest of this.#kept.keys()) {
      if (this.#keptBytes + sizeBytes <= MAX_KEPT_BYTES) break;
      this.#forget(oldest);
    }
    const forget = setTimeout(() => this.#forget(path), KEPT_MS).unref();
    this.#kept.set(path, { fd, sizeBytes, forget });
    this.#keptBytes += sizeBytes;
  }

  #forget(path: string): void {
    const kept = this.#kept.get(path);
    if (kept === undefined) return;
    clearTimeout(kept.forget);
    this.#kept.delete(path);
    this.#keptBytes -= kept.sizeBytes;
    native.close(kept.fd);
  }
}
