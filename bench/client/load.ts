import { systemError } from '../../src/errors.js';
import { loadMetric } from '../metrics.js';
import { sizedLoadCall } from '../programs/sized.js';
import type { Counts } from './protocol.js';
import { sessionWith } from './sessions.js';

/** Longer than any verifier takes for a million instructions, in an emulated guest. */
const timeoutMs = 240_000;

/** Times PROG_LOAD of a program of so many instructions through a session. */
export async function measureLoads(
  options: { address: string; instructions: number } & Counts,
): Promise<Record<string, number[]>> {
  const { session } = await sessionWith(options.address);
  const samples: number[] = [];
  for (let i = 0; i < options.warmup + options.samples; i++) {
    const handle = session.newHandle();
    const call = sizedLoadCall(options.instructions, handle);
    const start = performance.now();
    const { result, errno } = await session.call(call, { timeoutMs });
    const elapsedNs = (performance.now() - start) * 1e6;
    if (result < 0) throw systemError('bpf', errno, { command: 'BPF_PROG_LOAD', side: 'guest' });
    await session.release([handle], { timeoutMs });
    if (i >= options.warmup) samples.push(elapsedNs);
  }
  return { [loadMetric(options.instructions)]: samples };
}
