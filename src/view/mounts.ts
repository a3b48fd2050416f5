import { isBelowKernel } from './paths.js';

/** The index of the mount point among the words of a line. */
const places = { mounts: 1, mountinfo: 4 } as const;

/** A file of /proc/self that lists mounts. */
export type MountFile = keyof typeof places;

/**
 * Returns the mounts that a program sees: the guest's below the kernel's folders, and its own
 * elsewhere.
 */
export function mergeMounts(file: MountFile, own: string, guests: string): string {
  const linesOf = (text: string, ofKernel: boolean) =>
    text.split(/(?<=\n)/).filter((line) => {
      const place = line.split(' ')[places[file]];
      return place !== undefined && isBelowKernel(place) === ofKernel;
    });
  return [...linesOf(own, false), ...linesOf(guests, true)].join('');
}
