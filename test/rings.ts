import { readdirSync, readlinkSync } from 'node:fs';

/** The descriptors of a process that are an io_uring. The event loop of Node 26 has one. */
export function ringsOf(pid: number): string[] {
  const folder = `/proc/${pid}/fd`;
  return readdirSync(folder).filter((name) => {
    try {
      return readlinkSync(`${folder}/${name}`) === 'anon_inode:[io_uring]';
    } catch {
      return false; // closed meanwhile
    }
  });
}
