import { readdir, readFile } from 'node:fs/promises';

/**
 * What a thread of a process has used of the processors so far, in nanoseconds.
 *
 * Kernel source: proc_pid_schedstat() in fs/proc/base.c.
 */
export async function threadTimeNs(pid: number, thread: number): Promise<number> {
  const [own = '0'] = (await readFile(`/proc/${pid}/task/${thread}/schedstat`, 'utf8')).split(' ');
  return Number(own);
}

/** What a process and all of its descendants have used of the processors so far, in nanoseconds. */
export async function cpuTimeNs(pid: number): Promise<number> {
  const tasks = await readdir(`/proc/${pid}/task`);
  const times = await Promise.all(
    tasks.map(async (task) => {
      const own = await threadTimeNs(pid, Number(task));
      const children = (await readFile(`/proc/${pid}/task/${task}/children`, 'utf8')).split(' ');
      const theirs = await Promise.all(
        children.filter((child) => child !== '').map((child) => cpuTimeNs(Number(child))),
      );
      return theirs.reduce((sum, time) => sum + time, own);
    }),
  );
  return times.reduce((sum, time) => sum + time, 0);
}
