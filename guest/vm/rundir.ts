import { randomBytes } from 'node:crypto';
import { copyFileSync, lstatSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { onExit } from 'signal-exit';
import { failure } from '../../src/errors.js';
import { makeFolder } from '../../src/paths.js';
import { type Lock, tryLock } from '../image/lock.js';

const LOCK = '.lock';
/** A socket's path has at most 107 bytes; the names below a run folder take up to 40 of them. */
const MAX_ROOT_BYTES = 60;

/** A folder for sockets, logs and archives of one guest. Its path is short, as sockets need. */
export interface RunFolder {
  path: string;
  /** Makes sure that a process is killed when the folder is removed, however this process ends. */
  kill(pid: number): void;
  /** Copies a file out of the folder before the folder is removed, however this process ends. */
  keep(file: string, copy: string): void;
  /** Ends the watched processes with SIGKILL and removes the folder. */
  remove(): void;
}

const open = new Set<RunFolder>();

/**
 * Makes a run folder. First it removes the run folders whose process has ended. All run folders of
 * a user lie in one folder that other users cannot enter: `waep` in `XDG_RUNTIME_DIR`, else
 * `waep-UID` in the folder for temporary files. Each run folder has a lock beside it, which its
 * process holds.
 *
 * @throws ERR_FOLDER_UNSAFE when somebody else could write there, ERR_FOLDER_UNUSABLE when that
 *   folder cannot be made
 */
export function makeRunFolder(): RunFolder {
  const root = runRoot();
  sweep(root);
  installHandlers();
  const path = join(root, randomBytes(4).toString('hex'));
  // Before the folder is there, so that nobody finds it without its lock.
  const lock = tryLock(path + LOCK);
  if (lock === undefined) return makeRunFolder();
  mkdirSync(path, { mode: 0o700 });
  const pids = new Set<number>();
  const copies = new Map<string, string>();
  const folder: RunFolder = {
    path,
    kill(pid) {
      pids.add(pid);
    },
    keep(file, copy) {
      copies.set(file, copy);
    },
    remove() {
      open.delete(folder);
      for (const pid of pids) killQuietly(pid);
      pids.clear();
      for (const [file, copy] of copies) copyQuietly(file, copy);
      removeFolder(path, lock);
    },
  };
  open.add(folder);
  return folder;
}

function runRoot(): string {
  const { XDG_RUNTIME_DIR: xdg } = process.env;
  const uid = process.geteuid?.() ?? 0;
  const parent = xdg?.startsWith('/') && isOwn(xdg, uid) ? xdg : undefined;
  const wanted = parent === undefined ? join(tmpdir(), `waep-${uid}`) : join(parent, 'waep');
  const path = Buffer.byteLength(wanted) > MAX_ROOT_BYTES ? `/tmp/waep-${uid}` : wanted;
  const cure = 'Name another folder in XDG_RUNTIME_DIR or TMPDIR.';
  makeFolder(path, { mode: 0o700, cure });
  if (isOwn(path, uid)) return path;
  throw failure('ERR_FOLDER_UNSAFE', {
    path,
    why: 'it is not a folder of this user that nobody else can enter (mode 0700)',
    cure: `Remove it. ${cure}`,
  });
}

/** Returns whether a path is a folder, not a link, that only this user can use. */
function isOwn(path: string, uid: number): boolean {
  const found = lstatSync(path, { throwIfNoEntry: false });
  return found?.isDirectory() === true && found.uid === uid && (found.mode & 0o077) === 0;
}

function sweep(root: string): void {
  for (const name of readdirSync(root)) {
    if (!name.endsWith(LOCK)) continue;
    const lock = tryLock(join(root, name));
    if (lock !== undefined) removeFolder(join(root, basename(name, LOCK)), lock);
  }
}

/** Removes the folder before the lock: who finds the lock free finds the folder, too. */
function removeFolder(path: string, lock: Lock): void {
  rmSync(path, { recursive: true, force: true });
  lock.release();
}

function copyQuietly(file: string, copy: string): void {
  try {
    copyFileSync(file, copy);
  } catch (error) {
    process.stderr.write(`${file} could not be kept: ${(error as Error).message}\n`);
  }
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // The process had already ended.
  }
}

let installed = false;

function installHandlers(): void {
  if (installed) return;
  installed = true;
  // At an end of any kind but SIGKILL. A program with signal handlers of its own decides itself
  // when it ends.
  onExit(() => {
    for (const folder of [...open]) folder.remove();
  });
}
