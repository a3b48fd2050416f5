import { createHash, randomBytes } from 'node:crypto';
import { closeSync, fstatSync, openSync, readFileSync, statSync } from 'node:fs';
import { mkdir, open, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import type { Session } from '../session.js';

/** Guests whose facts are kept; the one used longest ago makes room. */
const MAX_GUESTS = 16;
const MAX_FILE_BYTES = 64 * 1024 * 1024;
const OTHERS_MAY_WRITE = 0o022;

/**
 * What is known of a guest's kernel from one program to the next, as files.
 *
 * A guest is known by its address, boot id and kernel version, so that one guest cannot say
 * anything about another, and by the profile that its agent grants. Files are read only when they
 * and their folder are the user's own, and nobody else may write to them. A cache that cannot be
 * used is none: nothing fails because of it.
 */
export class GuestCache {
  readonly #root: string | undefined;
  readonly #folder: string;

  /** @param root the folder of all guests; without one nothing is kept */
  constructor(session: Session, root: string | undefined) {
    const { bootId, release, version } = session.kernel;
    const identity = JSON.stringify([session.address, bootId, release, version, session.profile]);
    this.#root = root;
    this.#folder = join(
      root ?? '',
      createHash('sha256').update(identity).digest('hex').slice(0, 32),
    );
  }

  /** Opens a file for reading and returns its descriptor, which the caller closes, if there is one. */
  open(name: string): number | undefined {
    if (this.#root === undefined) return undefined;
    try {
      if (!isPrivate(statSync(this.#folder))) return undefined;
      const fd = openSync(join(this.#folder, name), 'r');
      const facts = fstatSync(fd);
      if (facts.isFile() && isPrivate(facts) && facts.size <= MAX_FILE_BYTES) return fd;
      closeSync(fd);
    } catch {}
    return undefined;
  }

  /** The whole of a file, if there is one. */
  read(name: string): Uint8Array | undefined {
    const fd = this.open(name);
    if (fd === undefined) return undefined;
    try {
      return readFileSync(fd);
    } finally {
      closeSync(fd);
    }
  }

  /** Keeps bytes under a name. Others see all of them or none. */
  async write(name: string, bytes: Uint8Array): Promise<void> {
    const root = this.#root;
    if (root === undefined || bytes.length > MAX_FILE_BYTES) return;
    const draft = join(this.#folder, `.${randomBytes(8).toString('hex')}`);
    try {
      await mkdir(this.#folder, { recursive: true, mode: 0o700 });
      if (!isPrivate(await stat(this.#folder))) return;
      const file = await open(draft, 'wx', 0o600);
      try {
        await file.writeFile(bytes);
      } finally {
        await file.close();
      }
      await rename(draft, join(this.#folder, name));
      await this.#makeRoom(root);
    } catch {
      await rm(draft, { force: true }).catch(() => {});
    }
  }

  async #makeRoom(root: string): Promise<void> {
    const now = new Date();
    await utimes(this.#folder, now, now);
    const guests = await Promise.all(
      (await readdir(root)).map(async (name) => {
        const folder = join(root, name);
        return { folder, usedMs: (await stat(folder)).mtimeMs };
      }),
    );
    const old = guests.sort((a, b) => b.usedMs - a.usedMs).slice(MAX_GUESTS);
    await Promise.all(old.map(({ folder }) => rm(folder, { recursive: true, force: true })));
  }
}

function isPrivate({ uid, mode }: { uid: number; mode: number }): boolean {
  return uid === process.getuid?.() && (mode & OTHERS_MAY_WRITE) === 0;
}
