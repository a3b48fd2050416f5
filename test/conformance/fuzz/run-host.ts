/* Runs a TypeScript target in a process of its own, so that an endless loop can be ended. */
import { join } from 'node:path';
import { execa } from 'execa';
import { packageFolder } from '../../../src/paths.js';
import type { Outcome } from './outcome.js';
import type { HostTarget } from './targets.js';

/** A target that goes on for so long after its time has hung. */
const GRACE_SECONDS = 30;

/** Fuzzes a target for a time, from a given seed on. */
export async function fuzzHost(
  target: HostTarget,
  { seconds, seed }: { seconds: number; seed: number },
): Promise<Outcome> {
  const started = performance.now();
  const run = await execa(
    process.execPath,
    [
      join(packageFolder, `dist/test/conformance/fuzz/${target.name}/main.js`),
      String(seconds),
      String(seed),
    ],
    { reject: false, stdin: 'ignore', timeout: (seconds + GRACE_SECONDS) * 1000 },
  );
  const took = (performance.now() - started) / 1000;
  // The last line is the report. If the process hung or died, it is the latest progress line.
  const last = run.stdout.trim().split('\n').at(-1) ?? '';
  const { inputs = 0, coverage = '', at = seed } = last === '' ? {} : JSON.parse(last);
  const outcome: Outcome = { target: target.name, inputs, seconds: took, coverage };
  if (run.exitCode === 0) return outcome;
  const why = run.timedOut ? 'an input takes for ever' : run.stderr.trim();
  return {
    ...outcome,
    found: `${why}\nAgain: npm run fuzz -- --only ${target.name} --seed ${at}`,
  };
}
