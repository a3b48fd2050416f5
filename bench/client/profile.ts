import { Session as Inspector, type Profiler } from 'node:inspector';
import { basename } from 'node:path';
import { promisify } from 'node:util';
import { measureLookups } from './lookup.js';
import type { Profile } from './protocol.js';

/** How many functions a profile names; the rest is summed up. */
const named = 16;

/**
 * Profiles a client while it makes look-ups, with V8's sampling profiler. The time of a native
 * function includes its system calls, and waiting in them.
 */
export async function profileLookups(address: string, calls: number): Promise<Profile> {
  const inspector = new Inspector();
  inspector.connect();
  const post = promisify(inspector.post.bind(inspector)) as (
    method: string,
    parameters?: object,
  ) => Promise<unknown>;
  try {
    await post('Profiler.enable');
    await post('Profiler.setSamplingInterval', { interval: 100 });
    await post('Profiler.start');
    const cpuBefore = process.cpuUsage();
    const start = performance.now();
    await measureLookups({ address, warmup: 0, samples: calls });
    const elapsedUs = (performance.now() - start) * 1000;
    const { user, system } = process.cpuUsage(cpuBefore);
    const { profile } = (await post('Profiler.stop')) as Profiler.StopReturnType;
    return {
      calls,
      elapsedUsPerCall: elapsedUs / calls,
      cpuUsPerCall: (user + system) / calls,
      functions: functionsOf(profile, calls),
    };
  } finally {
    inspector.disconnect();
  }
}

function functionsOf(profile: Profiler.Profile, calls: number): Profile['functions'] {
  const names = new Map(
    profile.nodes.map(({ id, callFrame: { functionName, url, lineNumber } }) => {
      if (url === '') return [id, functionName || '(native function)'];
      return [id, `${functionName || '(anonymous)'} ${basename(url)}:${lineNumber + 1}`];
    }),
  );
  const times = new Map<string, number>();
  profile.samples?.forEach((id, index) => {
    const name = names.get(id) ?? '(unknown)';
    times.set(name, (times.get(name) ?? 0) + (profile.timeDeltas?.[index] ?? 0));
  });
  const sorted = [...times].sort(([, a], [, b]) => b - a);
  const rest = sorted.slice(named).reduce((sum, [, time]) => sum + time, 0);
  return [...sorted.slice(0, named), ['(everything else)', rest] as const].map(([name, us]) => ({
    name,
    usPerCall: us / calls,
  }));
}
