import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import type { Session } from '../src/session.js';

/** The time limit for a guest's answer after the user has interrupted a command. */
const PATIENCE_MS = 3000;

let stopWork: (() => void) | undefined;

/** Ends what {@link untilInterrupted} runs, as Ctrl-C does. Returns whether there is such work. */
export function interrupt(): boolean {
  stopWork?.();
  return stopWork !== undefined;
}

/** Runs `work` with a signal that SIGINT (Ctrl-C) or SIGTERM aborts. Later failures are ignored. */
export async function untilInterrupted(
  work: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const abort = new AbortController();
  const stop = () => abort.abort();
  process.once('SIGINT', stop).once('SIGTERM', stop);
  stopWork = stop;
  try {
    await work(abort.signal);
  } catch (error) {
    if (!abort.signal.aborted) throw error;
  } finally {
    stopWork = undefined;
    process.off('SIGINT', stop).off('SIGTERM', stop);
  }
}

const passed = ['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const;

/** The signals that a terminal sends to all processes in its foreground. */
const ofTerminals: readonly string[] = ['SIGINT', 'SIGQUIT'];

/**
 * Passes this process's signals on to programs. The programs decide how and when they end.
 *
 * @returns a function to call with each program's `kill`; until the first call, a signal ends this
 *   process
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

/** Returns whether a terminal's keys send signals to this process and its children. */
function isInForeground(): boolean {
  const stat = readFileSync('/proc/self/stat', 'latin1');
  const [, , group, , , foreground] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return group === foreground;
}

/**
 * Closes a session some time after the signal, even if a call is under way: the guest may be
 * paused.
 */
export function closeAfter(signal: AbortSignal, session: Session): void {
  const close = () => {
    setTimeout(() => session.close(), PATIENCE_MS).unref();
  };
  signal.addEventListener('abort', close, { once: true });
}
