import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { cacheFolder, makeFolder } from '../../src/paths.js';
import { tryLock } from './lock.js';

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

/** How long an unused folder is kept, in milliseconds. */
export const keptForMs = 30 * 24 * 60 * 60 * 1000;

/**
 * The folder `kind/key` of the cache; `fill` makes its contents when it is not there.
 *
 * `fill` writes into a temporary folder, which gets its name only when it is complete. Others that
 * need the same folder wait for the first builder. A folder that `complete` does not accept, by
 * default an empty one, is replaced.
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
  const isWhole = async (tells = false) =>
    (await complete(folder)) && (await isUndamaged(folder, tells));
  if (await isWhole()) {
    // The modification time says when it was last used. The folder may belong to another user.
    const now = new Date();
    await utimes(folder, now, now).catch(() => {});
    return folder;
  }
  await locked(`${kind}-${key}`, async () => {
    if (await isWhole(true)) return;
    const draft = join(
      cacheFolder(),
      kind,
      `.${key}-${process.pid}-${randomBytes(4).toString('hex')}`,
    );
    try {
      makeFolder(draft);
      await fill(draft);
      if (!(await complete(draft))) throw new Error(`what was made for ${folder} is not complete`);
      await rm(folder, { recursive: true, force: true });
      await rename(draft, folder);
      await writeWhole(manifestOf(folder), JSON.stringify(await describe(folder)));
    } finally {
      await rm(draft, { recursive: true, force: true });
    }
  });
  return folder;
}

/** A file of the cache: its length, the time when it was written, and its SHA-256. */
type Described = Record<string, readonly [bytes: number, mtimeMs: number, sha256: string]>;

const manifestOf = (folder: string) =>
  join(cacheFolder(), 'manifests', relative(cacheFolder(), folder).replaceAll('/', '-'));

async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath ?? entry.path, entry.name)));
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return hash.digest('hex');
}

async function describe(folder: string): Promise<Described> {
  const described: Described = {};
  for (const name of await filesIn(folder)) {
    const path = join(folder, name);
    const { size, mtimeMs } = await stat(path);
    described[name] = [size, mtimeMs, await hashOf(path)];
  }
  return described;
}

/**
 * Returns whether the files of a folder are unchanged since they were put there. It does not read a
 * file whose length and time are the same.
 *
 * @param tells whether to print on standard error which file is damaged and will be made again
 */
export async function isUndamaged(folder: string, tells = false): Promise<boolean> {
  let described: Described;
  try {
    described = JSON.parse(await readFile(manifestOf(folder), 'utf8')) as Described;
  } catch {
    // Without a complete note, the folder cannot be checked.
    described = {};
  }
  for (const [name, [bytes, mtimeMs, sha256]] of Object.entries(described)) {
    const path = join(folder, name);
    const found = await stat(path).catch(() => undefined);
    if (found?.size === bytes && found.mtimeMs === mtimeMs) continue;
    if (found?.size === bytes && (await hashOf(path)) === sha256) continue;
    const why = found === undefined ? 'is gone' : `has changed since, or not all of it is there`;
    if (tells) console.error(`waep: ${path} ${why}; ${folder} is made again`);
    return false;
  }
  return true;
}

/**
 * Removes the folders of a kind that were not used for {@link keptForMs}, and unfinished folders
 * that are as old.
 */
export async function prune(kind: string): Promise<void> {
  const parent = join(cacheFolder(), kind);
  const oldest = Date.now() - keptForMs;
  for (const name of await readdir(parent).catch(() => [])) {
    const path = join(parent, name);
    // Another process may be removing the same one.
    const found = await stat(path).catch(() => undefined);
    if (found === undefined || !found.isDirectory() || found.mtimeMs >= oldest) continue;
    await rm(manifestOf(path), { force: true });
    await rm(path, { recursive: true, force: true });
  }
}

async function hasEntries(folder: string): Promise<boolean> {
  return (await readdir(folder).catch(() => [])).length > 0;
}

/** Writes a file so that others see either all of it or nothing. */
export async function writeWhole(path: string, content: string): Promise<void> {
  makeFolder(dirname(path));
  const draft = `${path}.${process.pid}-${randomBytes(4).toString('hex')}`;
  try {
    await writeFile(draft, content);
    await rename(draft, path);
  } finally {
    await rm(draft, { force: true });
  }
}

/** How long {@link locked} waits before it prints that it waits, in milliseconds. */
const SILENT_MS = 3000;

/**
 * Runs `action` under a lock: no other process of this user runs one of the same name meanwhile.
 * The kernel releases the lock when its process ends. A process that waits for long prints that.
 */
export async function locked<T>(name: string, action: () => Promise<T>): Promise<T> {
  const path = join(cacheFolder(), 'locks', name.replaceAll('/', '-'));
  makeFolder(dirname(path));
  const beganMs = performance.now();
  let warned = false;
  let lock = tryLock(path);
  while (lock === undefined) {
    if (!warned && performance.now() - beganMs > SILENT_MS) {
      warned = true;
      console.error(`waep: waiting for another process, which makes ${name} (it holds ${path})`);
    }
    await sleep(100);
    lock = tryLock(path);
  }
  try {
    return await action();
  } finally {
    lock.release();
  }
}
