import { fstatSync, openSync } from 'node:fs';
import { native } from '../native.js';
import type { GuestFiles } from './guest-files.js';

const KEPT_MS = 5000;
const MAX_KEPT_BYTES = 128 * 1024 * 1024;
/** Programs can be larger than any file of a kernel's own. */
const MAX_PROGRAM_BYTES = 256 * 1024 * 1024;

interface Kept {
  readonly fd: number;
  readonly sizeBytes: number;
  readonly forget: NodeJS.Timeout;
}

/**
 * Copies of what the guest's processes run, which are there until five seconds after their last use.
 *
 * Who wants the names of addresses opens a program and its libraries several times for each, and
 * counts on a descriptor to stay good when the process has ended meanwhile.
 */
export class RecentFiles {
  readonly #files: GuestFiles;
  readonly #kept = new Map<string, Kept>();
  #keptBytes = 0;

  constructor(files: GuestFiles) {
    this.#files = files;
  }

  /** Whether a copy is there. */
  has(path: string): boolean {
    return this.#kept.has(path);
  }

  /**
   * Returns a descriptor to read a copy of a file from, which the caller closes.
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
