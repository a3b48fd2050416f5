import { readdir, readFile } from 'node:fs/promises';

/**
 * What a process and all of its descendants have used of the processors so far, in nanoseconds.
 *
 * Kernel source: proc_pid_schedstat() in fs/proc/base.c.
 */
export async function cpuTimeNs(pid: number): Promise<number> {
  const tasks = await readdir(`/proc/${pid}/task`);
  const times = await Promise.all(
    tasks.map(async (task) => {
      const folder = `/proc/${pid}/task/${task}`;
      const [own = '0'] = (await readFile(`${folder}/schedstat`, 'utf8')).split(' ');
      const children = (await readFile(`${folder}/children`, 'utf8')).split(' ');
      const theirs = await Promise.all(
        children.filter((child) => child !== '').map((child) => cpuTimeNs(Number(child))),
      );
      return theirs.reduce((sum, time) => sum + time, Number(own));
    }),
  );
  return times.reduce((sum, time) => sum + time, 0);
}
