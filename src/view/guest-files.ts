import { openSync, readFileSync } from 'node:fs';
import { FileOperation } from '../call.js';
import { failure, type SystemError, systemError } from '../errors.js';
import { askFile, listFolder } from '../kernel/guest-folder.js';
import { readFile } from '../kernel/index.js';
import { native } from '../native.js';
import type { Session } from '../session.js';
import type { GuestCache } from './guest-cache.js';

const PAGE_BYTES = 4096;
const STATX_BYTES = 256;

/** The beginning of the names of copies, and the longest name that memfd_create(2) takes. */
const COPY_OF = 'waep:';
const MAX_NAME_BYTES = 249;

/**
 * Returns the guest's path of the file of which a descriptor is a copy.
 *
 * @param link what the descriptor's link in /proc leads to
 */
export function copiedFrom(link: string): string | undefined {
  return /^\/memfd:waep:(\/.*) \(deleted\)$/s.exec(link)?.[1];
}

/** Files that do not change while the guest's kernel runs, without those of modules. */
const lasting =
  /^\/(sys\/kernel\/btf\/vmlinux|proc\/config\.gz|proc\/version|proc\/version_signature|boot\/config-.*)$/;

/**
 * Copies of files of the guest's kernel, such as `/sys/kernel/btf/vmlinux`, as descriptors of
 * this process.
 *
 * A file is copied whole when it is opened, so all reads see the same state. Copies have no name
 * and end with their last descriptor. Copies of files that never change come from the cache.
 */
export class GuestFiles {
  readonly #session: Session;
  readonly #cache: GuestCache;
  readonly #texts = new Map<string, Promise<string>>();
  /**
   * Status of files that never change, because libbpf asks for it before each load of some types.
   */
  readonly #looked = new Map<string, Promise<Buffer>>();

  constructor(session: Session, cache: GuestCache) {
    this.#session = session;
    this.#cache = cache;
  }

  /**
   * Copies a file of the guest and returns a descriptor to read the copy, which the caller closes.
   *
   * @param maxBytes the largest size of a file that is not one of the kernel's own
   * @throws the guest's system error, such as ENOENT; ERR_POLICY_REFUSED; ERR_GUEST_FILE when it
   *   is larger
   */
  async open(path: string, maxBytes?: number): Promise<number> {
    if (!lasting.test(path)) return this.hold(await this.#copy(path, maxBytes), path);
    const name = encodeURIComponent(path);
    const cached = this.#cache.open(name);
    if (cached !== undefined) return cached;
    const bytes = await this.#copy(path);
    await this.#cache.write(name, bytes);
    return this.hold(bytes);
  }

  /**
   * Returns the contents of a file of the guest.
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

  /**
   * Returns a descriptor to read `bytes` from, which the caller closes.
   *
   * @param path the guest's path that {@link copiedFrom} finds by the link to the descriptor
   */
  hold(bytes: Uint8Array, path?: string): number {
    if (bytes.length === 0) return openSync('/dev/null', 'r');
    const name = `${COPY_OF}${path}`;
    const named = path !== undefined && Buffer.byteLength(name) <= MAX_NAME_BYTES;
    const memory = native.shareMemory(bytes.length, named ? name : undefined);
    if (typeof memory === 'number') throw systemError('memfd_create', memory);
    memory.set(bytes);
    try {
      return openSync(`/proc/self/fd/${memory.fd}`, 'r');
    } finally {
      native.close(memory.fd);
    }
  }

  /**
   * Returns the text of a short file of the guest that never changes.
   *
   * @throws as {@link open}
   */
  read(path: string): Promise<string> {
    const known = this.#texts.get(path) ?? this.#text(path);
    this.#texts.set(path, known);
    return known;
  }

  /**
   * Returns the guest's `struct statx` of a path.
   *
   * @param follow whether a link at its end is followed
   * @throws the guest's system error, such as ENOENT; ERR_POLICY_REFUSED; ERR_AGENT_LACKS
   */
  look(path: string, follow = true): Promise<Buffer> {
    if (!lasting.test(path)) return this.#look(path, follow);
    const known = this.#looked.get(path) ?? this.#look(path, follow);
    this.#looked.set(path, known);
    known.catch((error: Partial<SystemError>) => {
      // Only the guest's kernel can say that it is not there.
      if (error.side !== 'guest') this.#looked.delete(path);
    });
    return known;
  }

  /**
   * Returns the guest's `struct statfs` of a path.
   *
   * @throws as {@link look}
   */
  fileSystem(path: string): Promise<Uint8Array> {
    return askFile(this.#session, { operation: FileOperation.STATFS, path });
  }

  /**
   * Returns where a link of the guest leads.
   *
   * @throws as {@link look}; EINVAL for what is no link
   */
  async link(path: string): Promise<Buffer> {
    const bytes = await askFile(this.#session, { operation: FileOperation.READLINK, path });
    return Buffer.from(bytes);
  }

  /**
   * Returns the entries of a folder of the guest, as getdents64(2) writes them.
   *
   * @throws as {@link look}; ENOTDIR
   */
  list(path: string): Promise<Buffer> {
    return listFolder(this.#session, path);
  }

  async #look(path: string, follow: boolean): Promise<Buffer> {
    const number = follow ? 0 : 1;
    const bytes = await askFile(this.#session, { operation: FileOperation.STAT, path, number });
    if (bytes.length === STATX_BYTES) return Buffer.from(bytes);
    const received = `${bytes.length} bytes about ${path}`;
    throw failure('ERR_PROTOCOL_UNEXPECTED', { received, expected: `${STATX_BYTES}` });
  }

  async #text(path: string): Promise<string> {
    return Buffer.from(await this.#copy(path, PAGE_BYTES))
      .toString()
      .trim();
  }

  #copy(path: string, maxBytes?: number): Promise<Uint8Array> {
    return readFile(this.#session, path, maxBytes);
  }
}
