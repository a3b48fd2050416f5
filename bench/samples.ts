import { gunzipSync, gzipSync } from 'node:zlib';
import { failure } from '../src/errors.js';
import type { Batch } from './types.js';

/**
 * Encodes samples as gzipped JSON lines, one batch per line. Values are rounded to whole numbers:
 * nanoseconds, or operations per second.
 */
export function encodeSamples(batches: readonly Batch[]): Buffer {
  const lines = batches.map(({ boot, round, arm, metric, unit, values }) =>
    JSON.stringify({ boot, round, arm, metric, unit, values: values.map(Math.round) }),
  );
  return gzipSync(`${lines.join('\n')}\n`, { level: 9 });
}

/** Decodes what {@link encodeSamples} wrote. */
export function decodeSamples(bytes: Uint8Array): Batch[] {
  return gunzipSync(bytes)
    .toString()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Batch);
}

/** @throws ERR_BENCH_INCOMPLETE when `received` is not `expected` */
export function expectSamples(what: string, received: number, expected: number): void {
  if (received !== expected) throw failure('ERR_BENCH_INCOMPLETE', { what, received, expected });
}
