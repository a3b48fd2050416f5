import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
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

const passed = ['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const;

/** Those that a terminal sends to all that runs in its foreground. */
const ofTerminals: readonly string[] = ['SIGINT', 'SIGQUIT'];

/**
 * Passes the signals that this process gets on to programs, which end when and as they like.
 *
 * @returns a function that is told of each program. Before the first, a signal ends this process.
 */
export function passSignalsOn(): (kill: (signal: NodeJS.Signals) => void) => void {
  const programs: Array<(signal: NodeJS.Signals) => void> = [];
  for (const signal of passed) {
    process.on(signal, () => {
      if (programs.length === 0) process.exit(128 + constants.signals[signal]);
      if (ofTerminals.includes(signal) && isInForeground()) return;
      for (const kill of programs) kill(signal);
    });
  }
  return (kill) => programs.push(kill);
}

/** Whether this process and its children are what a terminal's keys interrupt. */
function isInForeground(): boolean {
  const stat = readFileSync('/proc/self/stat', 'latin1');
  const [, , group, , , foreground] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return group === foreground;
}

/** Has a session end some time after the signal, whatever it waits for: a guest may be paused. */
export function closeAfter(signal: AbortSignal, session: Session): void {
  const close = () => {
    setTimeout(() => session.close(), PATIENCE_MS).unref();
  };
  signal.addEventListener('abort', close, { once: true });
}
