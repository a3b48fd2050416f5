import { openSync, readFileSync } from 'node:fs';
import type { Handle } from '../call.js';
import { type SystemError, systemError } from '../errors.js';
import { native } from '../native.js';
import type { Session } from '../session/index.js';
import type { GuestCache } from './guest-cache.js';

/** A whole number of pages; files of the kernel that are larger come in as many turns. */
const READ_BYTES = 1024 * 1024;
const PAGE_BYTES = 4096;
/** No file of the kernel's view that is worth having is larger. */
const MAX_FILE_BYTES = 256 * 1024 * 1024;

/** Files that stay as they are for as long as the guest's kernel runs, apart from its modules'. */
const lasting =
  /^\/(sys\/kernel\/btf\/vmlinux|proc\/config\.gz|proc\/version|proc\/version_signature|boot\/config-.*)$/;

/**
 * Copies of files of the guest's kernel, such as `/sys/kernel/btf/vmlinux`, as descriptors of
 * this process.
 *
 * A file is copied as a whole when it is opened, so that it is one state of it that is read. Copies
 * are nameless and end with their last descriptor; those of files that never change come from
 * the cache.
 */
export class GuestFiles {
  readonly #session: Session;
  readonly #cache: GuestCache;
  readonly #texts = new Map<string, Promise<string>>();
  /** Whether files that never change are there: libbpf asks before each load of some types. */
  readonly #reached = new Map<string, Promise<void>>();

  constructor(session: Session, cache: GuestCache) {
    this.#session = session;
    this.#cache = cache;
  }

  /**
   * Copies a file of the guest and returns a descriptor to read the copy, which the caller closes.
   *
   * @throws the guest's system error, such as ENOENT; ERR_POLICY_REFUSED
   */
  async open(path: string): Promise<number> {
    if (!lasting.test(path)) return this.#hold(await this.#copy(path));
    const name = encodeURIComponent(path);
    const cached = this.#cache.open(name);
    if (cached !== undefined) return cached;
    const bytes = await this.#copy(path);
    await this.#cache.write(name, bytes);
    return this.#hold(bytes);
  }

  /**
   * The bytes of a file of the guest.
   *
   * @throws as {@link open}
   */
  async bytes(path: string): Promise<Uint8Array> {
    const fd = await this.open(path);
    try {
      return readFileSync(fd);
    } finally {
      native.close(fd);
    }
  }

  /** Returns a descriptor to read `bytes` from, which the caller closes. */
  #hold(bytes: Uint8Array): number {
    if (bytes.length === 0) return openSync('/dev/null', 'r');
    const memory = native.shareMemory(bytes.length);
    if (typeof memory === 'number') throw systemError('memfd_create', memory);
    memory.set(bytes);
    try {
      return openSync(`/proc/self/fd/${memory.fd}`, 'r');
    } finally {
      native.close(memory.fd);
    }
  }

  /**
   * Reads a short file of the guest, which never changes, as text.
   *
   * @throws as {@link open}
   */
  read(path: string): Promise<string> {
    const known = this.#texts.get(path) ?? this.#text(path);
    this.#texts.set(path, known);
    return known;
  }

  /**
   * Whether the guest has a file and lets it be read.
   *
   * @throws as {@link open}
   */
  access(path: string): Promise<void> {
    if (!lasting.test(path)) return this.#reach(path);
    const known = this.#reached.get(path);
    if (known !== undefined) return known;
    const reached = this.#reach(path);
    this.#reached.set(path, reached);
    reached.catch((error: Partial<SystemError>) => {
      // Only the guest's kernel can say that it is not there.
      if (error.side !== 'guest') this.#reached.delete(path);
    });
    return reached;
  }

  async #reach(path: string): Promise<void> {
    const handle = await this.#session.open(path);
    this.#release(handle);
  }

  async #text(path: string): Promise<string> {
    return Buffer.from(await this.#copy(path, PAGE_BYTES))
      .toString()
      .trim();
  }

  async #copy(path: string, atMost = MAX_FILE_BYTES): Promise<Uint8Array> {
    const session = this.#session;
    const handle = session.newHandle();
    const turnBytes = Math.min(READ_BYTES, atMost);
    // The requests are on the way together: what is opened has been when it is to be read.
    const opened = session.open(path, { handle });
    let next = session.read(handle, turnBytes);
    // If it is not, the opening says why.
    next.catch(() => {});
    await opened;
    try {
      const chunks: Uint8Array[] = [];
      for (let sizeBytes = 0; ; ) {
        const bytes = (await next) ?? new Uint8Array(0);
        chunks.push(bytes);
        sizeBytes += bytes.length;
        // Reading stops early at the end only.
        if (bytes.length < turnBytes || sizeBytes >= atMost) break;
        next = session.read(handle, turnBytes);
      }
      return chunks.length === 1 ? (chunks[0] as Uint8Array) : Buffer.concat(chunks);
    } finally {
      this.#release(handle);
    }
  }

  #release(handle: Handle): void {
    // Nothing depends on it, and nobody else has it.
    this.#session.release([handle]).catch(() => {});
  }
}
