import { setTimeout as sleep } from 'node:timers/promises';

/** How long a busy machine, or an emulated guest on one, may take for anything. */
const PATIENCE_MS = 60_000;
const LOOK_MS = 5;

/** Options of a connection to such a guest. */
export const patient = { handshakeTimeoutMs: PATIENCE_MS };

/**
 * Waits for what no event tells of: looks again and again until there is something, and returns it.
 *
 * @param what what is waited for, as a noun: it ends the sentence of the error. A function is asked
 *   for it then, and can say what was seen last
 * @param withinMs how long it may take; `everyMs`: how long to rest between two looks, 0 for no turn
 *   of the event loop in between
 * @throws once it has taken longer
 */
export async function until<T>(
  what: string | (() => string),
  look: () => T | Promise<T>,
  { withinMs = PATIENCE_MS, everyMs = LOOK_MS } = {},
): Promise<NonNullable<T>> {
  const startMs = performance.now();
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    if (performance.now() - startMs > withinMs) {
      const missed = typeof what === 'string' ? what : what();
      throw new Error(`waited for ${withinMs} ms, and in vain, for ${missed}`);
    }
    if (everyMs > 0) await sleep(everyMs);
  }
}
