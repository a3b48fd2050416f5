import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import {
  link,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { cacheFolder } from '../../src/paths.js';

/** A key for content: the first 16 hex digits of the SHA-256 over the parts, in order. */
export function contentKey(...parts: ReadonlyArray<string | Uint8Array>): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(`${part.length}:`).update(part);
  return hash.digest('hex').slice(0, 16);
}

/** The files below a folder, sorted, for their contents to be part of a key. */
export async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  const files = entries.map((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? filesBelow(path) : [path];
  });
  return (await Promise.all(files)).flat().sort();
}

/** For how long a folder is kept that nobody asks for. */
export const keptForMs = 30 * 24 * 60 * 60 * 1000;

/**
 * The folder `kind/key` of the cache; `fill` makes its contents when it is not there.
 *
 * `fill` writes into a folder of its own that gets its name only when complete, so that nobody
 * sees half of it; builders of the same folder wait for the first. A folder that `complete` does
 * not accept, by default an empty one, counts as not there and is replaced.
 *
 * @throws what `fill` throws, and an error when `complete` does not accept what `fill` made
 */
export async function cached(
  kind: string,
  key: string,
  fill: (folder: string) => Promise<void>,
  complete: (folder: string) => Promise<boolean> = hasEntries,
): Promise<string> {
  const folder = join(cacheFolder(), kind, key);
  if (await complete(folder)) {
    // The time of modification says when it was last asked for. The folder may be another user's.
    const now = new Date();
    await utimes(folder, now, now).catch(() => {});
    return folder;
  }
  await locked(`${kind}-${key}`, async () => {
    if (await complete(folder)) return;
    const draft = join(
      cacheFolder(),
      kind,
      `.${key}-${process.pid}-${randomBytes(4).toString('hex')}`,
    );
    try {
      await mkdir(draft, { recursive: true });
      await fill(draft);
      if (!(await complete(draft))) throw new Error(`what was made for ${folder} is not complete`);
      if (await complete(folder)) return;
      await rm(folder, { recursive: true, force: true });
      await rename(draft, folder);
    } finally {
      await rm(draft, { recursive: true, force: true });
    }
  });
  return folder;
}

/**
 * Removes the folders of a kind that nobody has asked for within {@link keptForMs}, and what
 * interrupted builders left behind as long ago.
 */
export async function prune(kind: string): Promise<void> {
  const parent = join(cacheFolder(), kind);
  const oldest = Date.now() - keptForMs;
  for (const name of await readdir(parent).catch(() => [])) {
    const path = join(parent, name);
    // Another process may be removing the same one.
    const found = await stat(path).catch(() => undefined);
    if (found === undefined || !found.isDirectory() || found.mtimeMs >= oldest) continue;
    await rm(path, { recursive: true, force: true });
  }
}

async function hasEntries(folder: string): Promise<boolean> {
  return (await readdir(folder).catch(() => [])).length > 0;
}

/** Writes a file that others see whole or not at all. */
export async function writeWhole(path: string, content: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const draft = `${path}.${process.pid}-${randomBytes(4).toString('hex')}`;
  try {
    await writeFile(draft, content);
    await rename(draft, path);
  } finally {
    await rm(draft, { force: true });
  }
}

/** Runs `action` while no other process of this user runs one under the same name. */
export async function locked<T>(name: string, action: () => Promise<T>): Promise<T> {
  const path = join(cacheFolder(), 'locks', name.replaceAll('/', '-'));
  await mkdir(dirname(path), { recursive: true });
  while (!(await acquire(path))) await sleep(100);
  try {
    return await action();
  } finally {
    await unlink(path);
  }
}

async function acquire(path: string): Promise<boolean> {
  // A lock appears with its owner's number already in it, or not at all.
  const mine = `${path}.${process.pid}.${randomBytes(4).toString('hex')}`;
  await writeFile(mine, `${process.pid}\n`);
  try {
    await link(mine, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    await unlink(mine);
  }
  const owner = (await readFile(path, 'utf8').catch(() => '')).trim();
  // An owner that is gone left its lock behind. Two waiters may both remove it: the worst that
  // follows is that both build, and the rename of a complete folder settles it.
  if (owner !== '' && !existsSync(`/proc/${owner}`)) await unlink(path).catch(() => {});
  return false;
}
