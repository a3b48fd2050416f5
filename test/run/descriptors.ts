/* The table of test/run/descriptors.c, and where waep's may differ from the kernel's. */

/** Ways of waiting: where the kernel has nothing to wait for, waep refuses by name. */
const waiting = /^(.+) (poll|select|(?:edge |once )?epoll): (.+)$/;

/**
 * Differences that are none of silence: a refusal, which standard error tells of, and these, which
 * README lists.
 */
const told: readonly RegExp[] = [
  // A perf event that is watched before it is mapped.
  /^event (edge |once )?epoll: 0$/,
  // What can only be written to is told so in calls of a few words only.
  /^write-only (large read|readv|splice): EINVAL$/,
  // What is mapped is shared memory, whose position is at its end.
  /^(mapped (array|ring)|event with a buffer) (large read|readv|pread|lseek|ftruncate|fsync|splice): /,
  // An eventfd can be written to.
  /^((mapped )?ring|event with a buffer) poll: 4$/,
];

/** The lines of waep's table that differ from the kernel's without a word. */
export function silentDifferences(native: string, supervised: string, errors: string): string[] {
  const expected = native.trim().split('\n');
  const lines = supervised.trim().split('\n');
  const missing = expected.slice(lines.length).map((line) => `missing: ${line}`);
  const differences = lines.filter((line, index) => {
    if (line === expected[index] || told.some((pattern) => pattern.test(line))) return false;
    const [, , call = '', outcome] = waiting.exec(line) ?? [];
    const name = call.endsWith('epoll') ? 'epoll_ctl(2)' : `${call}(2)`;
    return outcome !== 'EOPNOTSUPP' || !errors.includes(`${name} of`);
  });
  return [...differences, ...missing];
}
