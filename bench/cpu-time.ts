import { readdir, readFile } from 'node:fs/promises';

/** The processor time that threads had used at one moment, in nanoseconds, by `PID/TID`. */
export type ThreadTimes = ReadonlyMap<string, number>;

/**
 * Reads the processor time of every thread of these processes and all their descendants.
 *
 * Kernel source: proc_pid_schedstat() in fs/proc/base.c.
 */
export async function threadTimes(pids: readonly number[]): Promise<ThreadTimes> {
  const found = await Promise.all(pids.map(threadsOf));
  return new Map(found.flat());
}

/**
 * Returns the processor time that was used between two readings, by the threads that `counts`
 * accepts (default: all). A thread that is missing in the first reading began with 0. A thread that
 * is missing in the second does not count. Each thread is compared with itself, and its time only
 * grows, so no result is negative.
 */
export function usedNs(
  before: ThreadTimes,
  after: ThreadTimes,
  counts: (thread: string) => boolean = () => true,
): number {
  let sum = 0;
  for (const [thread, time] of after) if (counts(thread)) sum += time - (before.get(thread) ?? 0);
  return sum;
}

async function threadsOf(pid: number): Promise<[string, number][]> {
  const tasks = await readdir(`/proc/${pid}/task`);
  const found = await Promise.all(
    tasks.map(async (task): Promise<[string, number][]> => {
      const folder = `/proc/${pid}/task/${task}`;
      const times = await unlessGone(readFile(`${folder}/schedstat`, 'utf8'), undefined);
      if (times === undefined) return [];
      const children = await unlessGone(readFile(`${folder}/children`, 'utf8'), '');
      const theirs = await Promise.all(
        children
          .split(' ')
          .filter((child) => child !== '')
          .map((child) => unlessGone(threadsOf(Number(child)), [])),
      );
      return [[`${pid}/${task}`, Number(times.split(' ')[0])], ...theirs.flat()];
    }),
  );
  return found.flat();
}

/** A thread or a child may end between the listing and the look. */
async function unlessGone<T, U>(look: Promise<T>, otherwise: U): Promise<T | U> {
  try {
    return await look;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return otherwise;
    throw error;
  }
}
