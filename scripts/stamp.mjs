// Whether something was made from exactly these files.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

function* filesBelow(path, suffixes) {
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    const name = join(path, entry.name);
    if (entry.isDirectory()) yield* filesBelow(name, suffixes);
    else if (suffixes.some((suffix) => name.endsWith(suffix))) yield name;
  }
}

/** A hash of files and of all files with these suffixes in folders. */
export function hashOf({ files = [], folders = [], suffixes = [], text = '' }) {
  const hash = createHash('sha256').update(text);
  const all = [...files, ...folders.flatMap((folder) => [...filesBelow(folder, suffixes)])].sort();
  for (const file of all) hash.update(`\0${file}\0`).update(readFileSync(file));
  return hash.digest('hex');
}

export function isCurrent(stamp, hash) {
  return existsSync(stamp) && readFileSync(stamp, 'utf8') === hash;
}

export function setCurrent(stamp, hash) {
  mkdirSync(dirname(stamp), { recursive: true });
  writeFileSync(stamp, hash);
}
