/** Makes checks one after the other, and prints one JSON object for each. */
export async function report(checks: Readonly<Record<string, () => Promise<void>>>): Promise<void> {
  for (const [check, look] of Object.entries(checks)) {
    const started = performance.now();
    const why = await look().then(
      () => undefined,
      (error: Error) => error.stack ?? error.message,
    );
    const durationMs = Math.round(performance.now() - started);
    console.log(JSON.stringify({ case: check, outcome: why ? 'failed' : 'ok', durationMs, why }));
    if (why !== undefined) process.exitCode = 1;
  }
}
