import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onExit } from 'signal-exit';

const PREFIX = 'waep-';

/** A folder for sockets, logs and archives of one guest. Its path is short, as sockets need. */
export interface RunFolder {
  path: string;
  /** Kills this process when the folder goes, however this process ends. */
  kill(pid: number): void;
  /** Copies a file of the folder out of it when the folder goes, however this process ends. */
  keep(file: string, copy: string): void;
  /** Ends the watched processes with SIGKILL and removes the folder. */
  remove(): void;
}

const open = new Set<RunFolder>();

/** Makes a run folder, after removing those whose process is gone. */
export function makeRunFolder(): RunFolder {
  sweep();
  installHandlers();
  const path = mkdtempSync(join(tmpdir(), PREFIX));
  writeFileSync(join(path, 'owner'), `${process.pid}\n`);
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
      rmSync(path, { recursive: true, force: true });
    },
  };
  open.add(folder);
  return folder;
}

function sweep(): void {
  for (const name of readdirSync(tmpdir())) {
    if (!name.startsWith(PREFIX)) continue;
    const path = join(tmpdir(), name);
    try {
      const owner = readFileSync(join(path, 'owner'), 'utf8').trim();
      if (!existsSync(`/proc/${owner}`)) rmSync(path, { recursive: true, force: true });
    } catch {
      // Not ours, or another process is sweeping it.
    }
  }
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
    // It had ended.
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
