import { readdirSync, readlinkSync } from 'node:fs';

/**
 * How many descriptors this process has open, apart from `/dev/null`, which newer versions of Node
 * open once more at a moment of their own choosing.
 */
export function openDescriptors(): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) !== '/dev/null';
    } catch {
      // The descriptor that the folder itself was read through.
      return false;
    }
  }).length;
}
