/* Which processes are the program's own; all others that it can name are the guest's. */
import { readlinkSync } from 'node:fs';
import { processOf } from '../view/index.js';

/**
 * Whether a path tells of a process that is none of the program's own: its id is one of the guest's.
 * The program's own run on this machine, and share the mounts that waep-launch has made for them.
 */
export function isForeign(path: string, thread: number): boolean {
  const id = processOf(path);
  if (id === undefined) return false;
  const mountsOf = (process: number) => readlinkSync(`/proc/${process}/ns/mnt`);
  try {
    return mountsOf(id) !== mountsOf(thread);
  } catch {
    return true;
  }
}

/** Whether an id is that of a process of the guest's, if of any. */
export function isOfGuest(id: number, thread: number): boolean {
  return id > 0 && isForeign(`/proc/${id}/stat`, thread);
}
