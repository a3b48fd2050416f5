/* Locks between processes. The kernel releases a lock when its process ends. */
import { closeSync, constants, fstatSync, lstatSync, openSync, unlinkSync } from 'node:fs';
import { constants as system } from 'node:os';
import { systemError } from '../../src/errors.js';
import { native } from '../../src/native.js';

const { errno } = system;
const { O_CREAT, O_NOFOLLOW, O_RDWR } = constants;

/** A lock that this process holds. */
export interface Lock {
  /** Removes the lock's file and releases the lock. */
  release(): void;
}

/**
 * Takes the lock of the file `path`, which is made if need be, or returns undefined when another
 * process, or another part of this one, holds it. The lock is flock(2)'s: it works across PID
 * namespaces and containers that share the folder. Only its owner may write to the folder.
 *
 * @throws the system error when the file cannot be opened
 */
export function tryLock(path: string): Lock | undefined {
  for (;;) {
    const fd = openSync(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0o600);
    const status = native.tryLock(fd);
    if (status < 0) {
      closeSync(fd);
      if (status === -errno.EAGAIN) return undefined;
      throw systemError('flock', status, { address: path });
    }
    // The last holder may have removed the file between opening and locking it here.
    if (lstatSync(path, { throwIfNoEntry: false })?.ino === fstatSync(fd).ino) {
      return {
        release() {
          unlinkSync(path);
          closeSync(fd);
        },
      };
    }
    closeSync(fd);
  }
}
