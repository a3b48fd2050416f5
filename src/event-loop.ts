import { readdirSync, readlinkSync } from 'node:fs';
import { systemError } from './errors.js';
import { native } from './native.js';

const OWN = '/proc/self/fd';

/** Whether this process has an io_uring. */
function hasRing(): boolean {
  return readdirSync(OWN).some((name) => {
    try {
      return readlinkSync(`${OWN}/${name}`) === 'anon_inode:[io_uring]';
    } catch {
      return false; // the folder itself, which is closed again
    }
  });
}

/**
 * Starts this program once more if its event loop has an io_uring, so that it has none. To be called
 * first in a program that gives up the system calls of rings later, because a ring does what system
 * calls do, and no filter sees it. libuv begins with a ring since 1.52 (Node 26), whatever
 * UV_USE_IO_URING says, and ends the process when the ring does not work any more.
 */
export function startWithoutRings(): void {
  if (!hasRing()) return;
  const words = [process.argv0, ...process.execArgv, ...process.argv.slice(1)];
  const result = native.executeWithoutRings(process.execPath, words);
  if (result < 0) throw systemError('execve', result);
}
