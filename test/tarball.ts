/** A package that grows beyond this has something in it that it should not have. */
export const MAX_TARBALL_BYTES = 4_000_000;
