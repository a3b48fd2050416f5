import { isBelowKernel } from './paths.js';

/** Which word of a line is where something is mounted. */
const places = { mounts: 1, mountinfo: 4 } as const;

/** A file of /proc/self that tells what is mounted. */
export type MountFile = keyof typeof places;

/** What is mounted for a program: the guest's below the folders of kernels, and else its own. */
export function mergeMounts(file: MountFile, own: string, guests: string): string {
  const linesOf = (text: string, ofKernel: boolean) =>
    text.split(/(?<=\n)/).filter((line) => {
      const place = line.split(' ')[places[file]];
      return place !== undefined && isBelowKernel(place) === ofKernel;
    });
  return [...linesOf(own, false), ...linesOf(guests, true)].join('');
}
