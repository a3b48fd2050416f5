import { mkdtempSync, openSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Session } from '../session/index.js';

/** A whole number of pages; files of the kernel that are larger come in as many turns. */
const READ_BYTES = 1024 * 1024;
/** No file of the kernel's view that is worth having is larger. */
const MAX_FILE_BYTES = 256 * 1024 * 1024;

/** Files that stay as they are for as long as the guest's kernel runs, apart from its modules'. */
const lasting = /^\/(sys\/kernel\/btf\/vmlinux|proc\/config\.gz|proc\/version|boot\/config-.*)$/;

/**
 * Copies of files of the guest's kernel, such as `/sys/kernel/btf/vmlinux`, as descriptors of
 * this process.
 *
 * A file is copied as a whole when it is opened, so that it is one state of it that is read. Copies
 * are nameless and end with their last descriptor; those of files that never change are kept until
 * {@link close}.
 */
export class GuestFiles {
  readonly #session: Session;
  readonly #folder = mkdtempSync(join(tmpdir(), 'waep-view-'));
  readonly #kept = new Map<string, Promise<string>>();
  #count = 0;

  constructor(session: Session) {
    this.#session = session;
  }

  /**
   * Copies a file of the guest and returns a descriptor to read the copy, which the caller closes.
   *
   * @throws the guest's system error, such as ENOENT; ERR_POLICY_REFUSED
   */
  async open(path: string): Promise<number> {
    if (!lasting.test(path)) {
      return this.#nameless(await this.#copy(path));
    }
    const kept = this.#kept.get(path) ?? this.#copy(path);
    this.#kept.set(path, kept);
    kept.catch(() => this.#kept.delete(path));
    return openSync(await kept, 'r');
  }

  /**
   * Whether the guest has a file and lets it be read.
   *
   * @throws as {@link open}
   */
  async access(path: string): Promise<void> {
    await this.#session.release([await this.#session.open(path)]);
  }

  /** Deletes what was kept. Descriptors that were handed out stay good. */
  close(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #nameless(copy: string): number {
    const fd = openSync(copy, 'r');
    rmSync(copy);
    return fd;
  }

  async #copy(path: string): Promise<string> {
    const session = this.#session;
    const handle = await session.open(path);
    const copy = join(this.#folder, String(this.#count++));
    const file = await open(copy, 'wx', 0o600);
    try {
      let sizeBytes = 0;
      for (;;) {
        const bytes = await session.read(handle, READ_BYTES);
        if (bytes === undefined || bytes.length === 0) break;
        await file.write(bytes);
        sizeBytes += bytes.length;
        if (sizeBytes > MAX_FILE_BYTES) break;
      }
      return copy;
    } finally {
      await Promise.all([file.close(), session.release([handle])]);
    }
  }
}
