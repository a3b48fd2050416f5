import { closeSync, readdirSync, readlinkSync } from 'node:fs';
import { systemError } from './errors.js';
import { native } from './native.js';

const OWN = '/proc/self/fd';

/** The descriptors of this process that are an io_uring. */
function rings(): number[] {
  return readdirSync(OWN)
    .filter((name) => {
      try {
        return readlinkSync(`${OWN}/${name}`) === 'anon_inode:[io_uring]';
      } catch {
        return false; // the folder itself, which is closed again
      }
    })
    .map(Number);
}

/**
 * Sees to it that this process has no io_uring: it can make none from now on, and if its event loop has
 * one, this program starts once more. To be called first in a program that gives up system calls later,
 * because a ring does what system calls do, and no filter sees it. libuv begins with a ring since 1.52
 * (Node 26), whatever UV_USE_IO_URING says, and ends the process when the ring does not work any more.
 *
 * Of the descriptors, only the standard streams are those of the program that starts once more.
 */
export function startWithoutRings(): void {
  const refused = native.refuseRings();
  if (refused < 0) throw systemError('seccomp', refused);
  const held = rings();
  if (refused === 0) {
    // They are not of the event loop, which could make none, but were handed down.
    for (const ring of held) closeSync(ring);
  } else if (held.length > 0) {
    const words = [process.argv0, ...process.execArgv, ...process.argv.slice(1)];
    throw systemError('execve', native.execute(process.execPath, words));
  }
}
