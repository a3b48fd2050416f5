import { Session } from '../../src/session.js';
import { crowdMetrics, openMetric } from '../metrics.js';
import type { Counts, Crowd } from './protocol.js';
import { type ClientSession, lookupKey, openSession, sessionWith } from './sessions.js';

/**
 * Times overlapping look-ups: each by itself, and the rate of all calls from the first to the last.
 * Sessions are opened when they are first needed, and stay open until another address is measured.
 */
export async function measureCrowd(
  options: { address: string } & Crowd & Counts,
): Promise<Record<string, number[]>> {
  const { address, depth, warmup, samples } = options;
  const sessions = [
    await sessionWith(address),
    ...(await othersWith(address, options.sessions - 1)),
  ];
  return overlap(sessions, depth, warmup, samples);
}

const others = new Map<string, ClientSession[]>();

async function othersWith(address: string, count: number): Promise<ClientSession[]> {
  for (const [other, { length }] of others) {
    // Their executors would share the guest's processor with those that are measured.
    if (other !== address && length > 0) await closeAll(other);
  }
  const opened = others.get(address) ?? [];
  others.set(address, opened);
  while (opened.length < count) opened.push(await openSession(address));
  return opened.slice(0, count);
}

async function closeAll(address: string): Promise<void> {
  const opened = others.get(address) ?? [];
  others.delete(address);
  await Promise.all(opened.map(({ session }) => session.close()));
}

/** Times the opening of sessions, from connecting to the welcome, while those before are open. */
export async function measureOpening(
  options: { address: string } & Counts,
): Promise<Record<string, number[]>> {
  const samples: number[] = [];
  const opened: Session[] = [];
  try {
    for (let i = 0; i < options.warmup + options.samples; i++) {
      const start = performance.now();
      opened.push(await Session.connect(options.address, { client: 'waep bench' }));
      if (i >= options.warmup) samples.push((performance.now() - start) * 1e6);
    }
  } finally {
    for (const session of opened) session.close();
  }
  return { [openMetric]: samples };
}

async function overlap(
  sessions: readonly ClientSession[],
  depth: number,
  warmup: number,
  samples: number,
): Promise<Record<string, number[]>> {
  const callNs: number[] = [];
  const callers = sessions.flatMap((one) => Array.from({ length: depth }, () => one));
  let left = warmup;
  const makeCalls = async ({ map }: ClientSession) => {
    while (left > 0) {
      left--;
      const start = performance.now();
      await map.lookup(lookupKey);
      callNs.push((performance.now() - start) * 1e6);
    }
  };
  await Promise.all(callers.map(makeCalls));
  callNs.length = 0;
  left = samples;
  const start = performance.now();
  await Promise.all(callers.map(makeCalls));
  const elapsedS = (performance.now() - start) / 1000;
  return { [crowdMetrics.rate]: [samples / elapsedS], [crowdMetrics.call]: callNs };
}
