import { readdir, readFile } from 'node:fs/promises';

/** What threads had used at one moment, by `PID/TID`. */
export type ThreadUse = ReadonlyMap<string, number>;

/**
 * Reads the processor time of every thread of these processes and all their descendants, in
 * nanoseconds.
 *
 * Kernel source: proc_pid_schedstat() in fs/proc/base.c.
 */
export function threadTimes(pids: readonly number[]): Promise<ThreadUse> {
  return threadsOf(pids, 'schedstat', (text) => Number(text.split(' ')[0]));
}

/**
 * Reads how often every thread of these processes and all their descendants stopped running, to
 * wait or because another one ran.
 *
 * Kernel source: task_context_switch_counts() in fs/proc/array.c.
 */
export function threadSwitches(pids: readonly number[]): Promise<ThreadUse> {
  return threadsOf(pids, 'status', (text) =>
    [...text.matchAll(/^(?:non)?voluntary_ctxt_switches:\s*(\d+)$/gm)].reduce(
      (sum, [, number]) => sum + Number(number),
      0,
    ),
  );
}

/**
 * Returns what was used between two readings, by the threads that `counts` accepts (default: all).
 * A thread that is missing in the first reading began with 0. A thread that is missing in the
 * second does not count. Each thread is compared with itself, and its use only grows, so no result
 * is negative.
 */
export function useBetween(
  before: ThreadUse,
  after: ThreadUse,
  counts: (thread: string) => boolean = () => true,
): number {
  let sum = 0;
  for (const [thread, time] of after) if (counts(thread)) sum += time - (before.get(thread) ?? 0);
  return sum;
}

/** @param file what is read of each thread, below its folder in /proc */
async function threadsOf(
  pids: readonly number[],
  file: string,
  use: (text: string) => number,
): Promise<ThreadUse> {
  const ofProcess = async (pid: number): Promise<[string, number][]> => {
    const tasks = await readdir(`/proc/${pid}/task`);
    const found = await Promise.all(
      tasks.map(async (task): Promise<[string, number][]> => {
        const folder = `/proc/${pid}/task/${task}`;
        const text = await unlessGone(readFile(`${folder}/${file}`, 'utf8'), undefined);
        if (text === undefined) return [];
        const children = await unlessGone(readFile(`${folder}/children`, 'utf8'), '');
        const theirs = await Promise.all(
          children
            .split(' ')
            .filter((child) => child !== '')
            .map((child) => unlessGone(ofProcess(Number(child)), [])),
        );
        return [[`${pid}/${task}`, use(text)], ...theirs.flat()];
      }),
    );
    return found.flat();
  };
  return new Map((await Promise.all(pids.map(ofProcess))).flat());
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
