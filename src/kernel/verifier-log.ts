import type { SystemError } from '../errors.js';

/** Room for a log when something is refused: 64 KiB explains most refusals. */
const FIRST_BYTES = 64 * 1024;
/** The kernel's own limit is 1 GiB; 32 MiB is a hundred thousand lines or more. */
const MOST_BYTES = 32 * 1024 * 1024;

/**
 * Makes an attempt without a log where none was asked for, and when the kernel refuses, again with
 * one, as libbpf does; and again with room for all of it when it turns out to be longer.
 *
 * @param logLevel what the caller asked for: 0 only explains refusals
 * @param attempt is given the level and the bytes of the log, 0 for none
 */
export async function withLog<T>(
  logLevel: number,
  attempt: (logLevel: number, logBytes: number) => Promise<T>,
): Promise<T> {
  let bytes = logLevel === 0 ? 0 : FIRST_BYTES;
  for (;;) {
    try {
      return await attempt(logLevel, bytes);
    } catch (error) {
      const next = roomFor(error, bytes);
      if (next <= bytes) throw error;
      bytes = next;
      logLevel ||= 1;
    }
  }
}

/** How long the log of another attempt should be; 0 where another would not tell more. */
function roomFor(error: unknown, bytes: number): number {
  const { syscall, code, logTrueSize } = error as SystemError;
  if (syscall !== 'bpf') return 0;
  if (bytes === 0) return FIRST_BYTES;
  if (logTrueSize !== undefined && logTrueSize > bytes) return Math.min(logTrueSize, MOST_BYTES);
  // Before 6.4 the kernel only says that there was too little room.
  return code === 'ENOSPC' ? Math.min(bytes * 16, MOST_BYTES) : 0;
}
