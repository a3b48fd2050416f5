import { createHash, randomBytes } from 'node:crypto';
import { closeSync, fstatSync, openSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { open, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { makeFolder } from '../paths.js';
import type { Session } from '../session.js';

/** The number of guests with a cache. The one that was used longest ago is removed. */
const MAX_GUESTS = 16;
const MAX_FILE_BYTES = 64 * 1024 * 1024;
const OTHERS_MAY_WRITE = 0o022;

/**
 * Files about a guest's kernel that are kept from one program to the next.
 *
 * The cache of a guest is found by its address, boot id, kernel version and profile, so that no
 * guest can change what is cached of another. A file is read only if the user owns it and its
 * folder, and nobody else may write to them. The name of a file ends with its length, and a file with
 * another length is not used. If the cache cannot be used, everything works without it.
 */
export class GuestCache {
  readonly #root: string | undefined;
  readonly #folder: string;

  /** @param root the folder for all guests; without one nothing is cached */
  constructor(session: Session, root: string | undefined) {
    const { bootId, release, version } = session.kernel;
    const identity = JSON.stringify([session.address, bootId, release, version, session.profile]);
    this.#root = root;
    this.#folder = join(
      root ?? '',
      createHash('sha256').update(identity).digest('hex').slice(0, 32),
    );
  }

  /** Opens a file for reading, if it exists. Returns its descriptor, which the caller closes. */
  open(name: string): number | undefined {
    if (this.#root === undefined) return undefined;
    try {
      if (!isPrivate(statSync(this.#folder))) return undefined;
      const [whole] = copiesOf(name, readdirSync(this.#folder));
      if (whole === undefined) return undefined;
      const fd = openSync(join(this.#folder, whole), 'r');
      const facts = fstatSync(fd);
      const isWhole = facts.isFile() && whole === nameWith(name, facts.size);
      if (isWhole && isPrivate(facts) && facts.size <= MAX_FILE_BYTES) return fd;
      closeSync(fd);
    } catch {}
    return undefined;
  }

  /** Returns the contents of a file, if it exists. */
  read(name: string): Uint8Array | undefined {
    const fd = this.open(name);
    if (fd === undefined) return undefined;
    try {
      return readFileSync(fd);
    } finally {
      closeSync(fd);
    }
  }

  /** Writes bytes under a name. Others see either all of them or nothing. */
  async write(name: string, bytes: Uint8Array): Promise<void> {
    const root = this.#root;
    if (root === undefined || bytes.length > MAX_FILE_BYTES) return;
    const draft = join(this.#folder, `.${randomBytes(8).toString('hex')}`);
    try {
      makeFolder(this.#folder, { mode: 0o700 });
      if (!isPrivate(await stat(this.#folder))) return;
      const file = await open(draft, 'wx', 0o600);
      try {
        await file.writeFile(bytes);
      } finally {
        await file.close();
      }
      const whole = nameWith(name, bytes.length);
      await rename(draft, join(this.#folder, whole));
      for (const copy of copiesOf(name, await readdir(this.#folder))) {
        if (copy !== whole) await rm(join(this.#folder, copy), { force: true });
      }
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

/** No name that {@link GuestCache} gets has this sign. */
const LENGTH_SIGN = '=';

function nameWith(name: string, bytes: number): string {
  return `${name}${LENGTH_SIGN}${bytes}`;
}

function copiesOf(name: string, files: readonly string[]): string[] {
  return files.filter((file) => file.startsWith(`${name}${LENGTH_SIGN}`));
}

function isPrivate({ uid, mode }: { uid: number; mode: number }): boolean {
  return uid === process.getuid?.() && (mode & OTHERS_MAY_WRITE) === 0;
}
