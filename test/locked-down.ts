/**
 * The reason to skip a test whose program reads a map's elements in place. A kernel that is locked
 * down refuses such programs with EPERM.
 */
export const lockedDown = 'this kernel is locked down (try: boot it with lockdown=none)';
