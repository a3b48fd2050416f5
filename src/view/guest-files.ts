import { openSync, readFileSync } from 'node:fs';
import type { Handle } from '../call.js';
import { type SystemError, systemError } from '../errors.js';
import { readFile } from '../kernel/index.js';
import { native } from '../native.js';
import type { Session } from '../session.js';
import type { GuestCache } from './guest-cache.js';

const PAGE_BYTES = 4096;

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
   * @param maxBytes how large a file may be that is not one of the kernel's own
   * @throws the guest's system error, such as ENOENT; ERR_POLICY_REFUSED; ERR_GUEST_FILE when it
   *   is larger
   */
  async open(path: string, maxBytes?: number): Promise<number> {
    if (!lasting.test(path)) return this.#hold(await this.#copy(path, maxBytes));
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

  #copy(path: string, maxBytes?: number): Promise<Uint8Array> {
    return readFile(this.#session, path, maxBytes);
  }

  #release(handle: Handle): void {
    // Nothing depends on it, and nobody else has it.
    this.#session.release([handle]).catch(() => {});
  }
}
