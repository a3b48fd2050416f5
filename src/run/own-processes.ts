/*
 * Tells the program's own processes from all others. Every other id that the program names is a
 * process of the guest.
 */
import { readlinkSync } from 'node:fs';
import { processOf } from '../view/index.js';
import { threadStatus } from './thread-status.js';

/** How many ancestors of a process are searched for the program. */
const MOST_ANCESTORS = 64;

/**
 * The processes of the program, which run on this machine. A process belongs to the program if it
 * shares the mount namespace that waep-launch made, or if one of the program's processes started
 * it.
 */
export class OwnProcesses {
  #program = 0;
  /**
   * The mount namespace of the program. Undefined when waep-launch may not make one: then the
   * program shares this machine's, which identifies nothing.
   */
  #mounts: string | undefined;
  #ids: string | undefined;

  /** Records the process of the program, once waep-launch has made its namespaces. */
  begin(program: number): void {
    this.#program = program;
    const mounts = namespaceOf(program, 'mnt');
    this.#mounts = mounts === namespaceOf('self', 'mnt') ? undefined : mounts;
    this.#ids = namespaceOf(program, 'pid');
  }

  /**
   * Returns whether a path names a process that is not the program's own. The id in it is the
   * guest's.
   */
  isForeign(path: string): boolean {
    const id = processOf(path);
    return id !== undefined && !this.#has(id);
  }

  /**
   * Returns whether an id that a thread of the program names can only be a process of the guest. In
   * a PID namespace of its own, the program can name only its own processes.
   */
  isOfGuest(id: number, thread: number): boolean {
    return (
      id > 0 &&
      !this.#has(id) &&
      namespaceOf(thread, 'pid') === this.#ids &&
      // A daemon has left the program's family.
      familyOf(id).group !== familyOf(thread).group
    );
  }

  /** Returns whether any process of this machine has the id. */
  isHere(id: number): boolean {
    return familyOf(id).group !== 0;
  }

  #has(id: number): boolean {
    let process = id;
    for (let count = 0; process > 1 && count < MOST_ANCESTORS; count++) {
      const mounts = this.#mounts;
      if (mounts !== undefined && namespaceOf(process, 'mnt') === mounts) return true;
      const { group, parent } = familyOf(process);
      if (group === this.#program) return true;
      process = parent;
    }
    return false;
  }
}

/** Returns the name of a process's namespace, or undefined if it may not be seen. */
export function namespaceOf(
  process: number | 'self',
  kind: 'mnt' | 'net' | 'pid' | 'uts',
): string | undefined {
  try {
    return readlinkSync(`/proc/${process}/ns/${kind}`);
  } catch {
    // The process has ended, or belongs to another user.
    return undefined;
  }
}

/** Returns the process of a thread, and the parent of that process. Both are 0 if there is none. */
export function familyOf(thread: number): { readonly group: number; readonly parent: number } {
  const status = threadStatus(thread);
  return { group: Number(status('Tgid') ?? 0), parent: Number(status('PPid') ?? 0) };
}
