/*
 * lied-to ADDRESS…: asks each agent for what sessions are made for, and prints what came of it as
 * JSON, with the most memory that this process had, in bytes. A garbage collection is asked for
 * between the agents (--expose-gc), so that each has the process for itself.
 */
import { enums } from '../../src/bpf/index.js';
import { readFile } from '../../src/kernel/index.js';
import { Session } from '../../src/session.js';

async function ask(address: string): Promise<{ code?: string; message: string }> {
  const session = await Session.connect(address);
  try {
    await readFile(session, '/proc/kallsyms');
    const { BPF_MAP_TYPE_HASH } = enums.MapType;
    const sizes = { keySize: 4, valueSize: 8, maxEntries: 16 };
    const map = await session.createMap({ type: BPF_MAP_TYPE_HASH, ...sizes });
    await map.lookup(new Uint8Array(4));
    return { message: 'nothing was wrong' };
  } finally {
    await session.close();
  }
}

const outcomes = [];
for (const address of process.argv.slice(2)) {
  outcomes.push(
    await ask(address).catch(({ code, message }: Error & { code?: string }) => ({ code, message })),
  );
  globalThis.gc?.();
}
const peakBytes = process.resourceUsage().maxRSS * 1024;
process.stdout.write(JSON.stringify({ outcomes, peakBytes }), () => process.exit());
