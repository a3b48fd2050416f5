/* What sysinfo(2) tells: the guest's time since its boot, its load and its memory. */
import type { Context } from './context.js';
import type { Notification } from './notification.js';
import { ProcessMemory } from './process-memory.js';

/** The byte offsets of `struct sysinfo`. Sizes are in units of `UNIT` bytes. */
const Field = { UPTIME: 0, LOADS: 8, SIZES: 32, THREADS: 80, UNIT: 104, END: 112 } as const;
/** The names in /proc/meminfo of the sizes, in the order of the structure. */
const sizes = ['MemTotal', 'MemFree', 'Shmem', 'Buffers', 'SwapTotal', 'SwapFree'];
/** One, as the kernel writes a load: 1 << SI_LOAD_SHIFT. */
const LOAD_UNIT = 65536;

/** Answers sysinfo(2) from the files in which the guest's kernel tells the same. */
export async function tellLoad(call: Notification, context: Context): Promise<void> {
  const memory = new ProcessMemory(call, context.placeholders);
  const image = Buffer.alloc(Field.END);
  // The C library ignores that the call fails, and would use what was in the memory before.
  memory.writeOrFault(call.word(0), image);
  const names = ['uptime', 'loadavg', 'meminfo'];
  const [uptime = '', load = '', sizesText = ''] = await Promise.all(
    names.map(async (name) => Buffer.from(await context.files.bytes(`/proc/${name}`)).toString()),
  );
  image.writeBigInt64LE(BigInt(Math.ceil(Number.parseFloat(uptime))), Field.UPTIME);
  const [first, second, third, threads = ''] = load.split(' ');
  for (const [index, text] of [first, second, third].entries()) {
    const average = BigInt(Math.round(Number(text) * LOAD_UNIT));
    image.writeBigUInt64LE(average, Field.LOADS + 8 * index);
  }
  for (const [index, name] of sizes.entries()) {
    const kib = new RegExp(`^${name}: +(\\d+) kB$`, 'm').exec(sizesText)?.[1] ?? '0';
    image.writeBigUInt64LE(BigInt(kib) * 1024n, Field.SIZES + 8 * index);
  }
  image.writeUInt16LE(Number(threads.split('/')[1]) & 0xffff, Field.THREADS);
  image.writeUInt32LE(1, Field.UNIT);
  memory.writeOrFault(call.word(0), image);
  call.succeed(0);
}
