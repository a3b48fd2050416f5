import { lstatSync } from 'node:fs';

/** Numbers of descriptors for which the filter hands calls over that it allows for others. */
export interface Numbers {
  readonly first: number;
  readonly count: number;
}

/*
 * seccomp_filter.cc has the same numbers. They are the highest below the usual limit of 1024, which
 * no program has in use that does not ask for them.
 */

/** The numbers of sockets of netlink. */
export const netlinkNumbers: Numbers = { first: 960, count: 32 };
/** The numbers of files of probe definitions. */
export const definitionNumbers: Numbers = { first: 992, count: 32 };

/** Returns a number that a thread's process does not use, or `undefined`. */
export function freeNumber(thread: number, { first, count }: Numbers): number | undefined {
  const numbers = Array.from({ length: count }, (_, index) => first + index);
  return numbers.find(
    (number) => lstatSync(`/proc/${thread}/fd/${number}`, { throwIfNoEntry: false }) === undefined,
  );
}
