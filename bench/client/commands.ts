import { setTimeout as sleep } from 'node:timers/promises';
import type { Call } from '../../src/call.js';
import { systemError } from '../../src/errors.js';
import type { Session } from '../../src/session.js';
import { attachCall, loadCall } from '../programs/figure2.js';
import type { Counts } from './protocol.js';
import { sessionWith } from './sessions.js';

/**
 * Times PROG_LOAD and RAW_TRACEPOINT_OPEN of the Figure 2 program through a session, encoding
 * included. As bench/c/native.c does, every iteration closes what it made, and lets the kernel
 * settle.
 */
export async function measureCommands(
  options: { address: string; settleMs: number } & Counts,
): Promise<Record<string, number[]>> {
  const { session } = await sessionWith(options.address);
  const samples = { PROG_LOAD: [] as number[], RAW_TRACEPOINT_OPEN: [] as number[] };
  const { warmup, samples: count } = options;
  for (let iteration = 0; iteration < warmup + count; iteration++) {
    const program = session.newHandle();
    const link = session.newHandle();
    const start = performance.now();
    await made(session, loadCall(program), 'BPF_PROG_LOAD');
    const loaded = performance.now();
    await made(session, attachCall(program, link), 'BPF_RAW_TRACEPOINT_OPEN');
    const attached = performance.now();
    await session.release([link, program]);
    await sleep(options.settleMs);
    if (iteration < warmup) continue;
    samples.PROG_LOAD.push((loaded - start) * 1e6);
    samples.RAW_TRACEPOINT_OPEN.push((attached - loaded) * 1e6);
  }
  return samples;
}

async function made(session: Session, call: Call, command: string): Promise<void> {
  const { result, errno } = await session.call(call);
  if (result < 0) throw systemError('bpf', errno, { command, side: 'guest' });
}
