/* Which processes are the program's own; all others that it can name are the guest's. */
import { readFileSync, readlinkSync } from 'node:fs';
import { processOf } from '../view/index.js';

/** How far back a process is traced to who has started it. */
const MOST_ANCESTORS = 64;

/**
 * The processes of the program, which run on this machine: those that share the mounts that
 * waep-launch has made for it, and those that it or one of these has started.
 */
export class OwnProcesses {
  #program = 0;
  /** Its mounts. Who may not have its own shares those of everybody: they tell nothing then. */
  #mounts: string | undefined;
  #ids: string | undefined;

  /** Takes note of who makes a call: the first is the process that is about to become the program. */
  begin(thread: number): void {
    if (this.#program !== 0) return;
    this.#program = thread;
    const mounts = namespaceOf(thread, 'mnt');
    this.#mounts = mounts === namespaceOf('self', 'mnt') ? undefined : mounts;
    this.#ids = namespaceOf(thread, 'pid');
  }

  /** Whether a path tells of a process that is none of the program's own: its id is the guest's. */
  isForeign(path: string): boolean {
    const id = processOf(path);
    return id !== undefined && !this.#has(id);
  }

  /**
   * Whether an id that a thread of the program names is that of a process of the guest's, if of any.
   * In a pid namespace of its own the program can name its own processes only.
   */
  isOfGuest(id: number, thread: number): boolean {
    return id > 0 && !this.#has(id) && namespaceOf(thread, 'pid') === this.#ids;
  }

  /** Whether a process of this machine, whoever's, has an id. */
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

function namespaceOf(process: number | 'self', kind: 'mnt' | 'pid'): string | undefined {
  try {
    return readlinkSync(`/proc/${process}/ns/${kind}`);
  } catch {
    // It has ended, or is another user's.
    return undefined;
  }
}

/** The process that a thread is of, and the one that has started it; 0 for none. */
export function familyOf(thread: number): { readonly group: number; readonly parent: number } {
  let status = '';
  try {
    status = readFileSync(`/proc/${thread}/status`, 'latin1');
  } catch {
    // It has ended.
  }
  const [group = 0, parent = 0] = ['Tgid', 'PPid'].map((name) =>
    Number(new RegExp(`^${name}:\\s*(\\d+)$`, 'm').exec(status)?.[1] ?? 0),
  );
  return { group, parent };
}
