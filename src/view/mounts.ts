import { isBelowKernel } from './paths.js';

/** The mount point and the type of the file system in a line of each file. */
const parts = {
  mounts: /^\S+ (\S+) (\S+) /,
  mountinfo: /^(?:\S+ ){4}(\S+) .* - (\S+) /,
} as const;

/** A file of /proc/self that lists mounts. */
export type MountFile = keyof typeof parts;

/**
 * Returns the mounts that a program sees: the guest's below the kernel's folders, and its own
 * elsewhere. The bpf file systems are the guest's everywhere, because the program's objects are.
 */
export function mergeMounts(file: MountFile, own: string, guests: string): string {
  const linesOf = (text: string, ofGuest: boolean) =>
    text.split(/(?<=\n)/).filter((line) => {
      const [, place, type] = parts[file].exec(line) ?? [];
      if (place === undefined) return false;
      return (type === 'bpf' || isBelowKernel(place)) === ofGuest;
    });
  return [...linesOf(own, false), ...linesOf(guests, true)].join('');
}
