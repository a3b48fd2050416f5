import { setTimeout as sleep } from 'node:timers/promises';

const LONGEST_CHECK_MS = 240_000;

/**
 * Makes checks one after the other, and prints one JSON object for each. A check that takes longer
 * than four minutes fails.
 *
 * @param state says what such a check may be waiting for
 */
export async function report(
  checks: Readonly<Record<string, () => Promise<void>>>,
  state = () => '',
): Promise<void> {
  for (const [check, look] of Object.entries(checks)) {
    const started = performance.now();
    const late = sleep(LONGEST_CHECK_MS, undefined, { ref: false }).then(() => {
      throw new Error(`not ended within ${LONGEST_CHECK_MS} ms. ${state()}`);
    });
    const why = await Promise.race([look(), late]).then(
      () => undefined,
      (error: Error) => error.stack ?? error.message,
    );
    const durationMs = Math.round(performance.now() - started);
    console.log(JSON.stringify({ case: check, outcome: why ? 'failed' : 'ok', durationMs, why }));
    if (why !== undefined) process.exitCode = 1;
  }
}
