import { constants } from 'node:os';

/**
 * Errno names and numbers of Linux on x86-64.
 *
 * Node's own map lacks what bpf(2) returns most characteristically: ENOTSUPP (524), which
 * include/linux/errno.h keeps out of user space but the kernel returns all the same.
 */
const extra: Readonly<Record<string, number>> = {
  ENOTSUPP: 524,
  ESTALE: 116,
  EBADFD: 77,
  ENODATA: 61,
  ESHUTDOWN: 108,
  EHOSTDOWN: 112,
  ESOCKTNOSUPPORT: 94,
  EUCLEAN: 117,
};

const numbers = new Map<string, number>();
const names = new Map<number, string>();

for (const [name, number] of [...Object.entries(constants.errno), ...Object.entries(extra)]) {
  numbers.set(name, number);
  // Aliases share a number; the kernel's usual spelling comes first in Node's own table but for
  // these two.
  if (!names.has(number) || name === 'EAGAIN' || name === 'EOPNOTSUPP') names.set(number, name);
}

/** Returns the name of a positive errno (`1` → `'EPERM'`), or `'E<number>'` when it has none. */
export function errnoName(errno: number): string {
  return names.get(errno) ?? `E${errno}`;
}

/** Returns the positive number of an errno name (`'EPERM'` → `1`), or `undefined`. */
export function errnoNumber(name: string): number | undefined {
  return numbers.get(name);
}
