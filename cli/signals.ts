import type { Session } from '../src/session.js';

/** How long a guest may take to answer once nobody wants to hear more of it. */
const PATIENCE_MS = 3000;

/**
 * Runs `work` with a signal that Ctrl-C, or being told to end, aborts. What fails from then on is
 * nobody's concern any more.
 */
export async function untilInterrupted(
  work: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const abort = new AbortController();
  const stop = () => abort.abort();
  process.once('SIGINT', stop).once('SIGTERM', stop);
  try {
    await work(abort.signal);
  } catch (error) {
    if (!abort.signal.aborted) throw error;
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop);
  }
}

/** Has a session end some time after the signal, whatever it waits for: a guest may be paused. */
export function closeAfter(signal: AbortSignal, session: Session): void {
  const close = () => {
    setTimeout(() => session.close(), PATIENCE_MS).unref();
  };
  signal.addEventListener('abort', close, { once: true });
}
