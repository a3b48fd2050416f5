/*
 * Loaded before another program's own code (`node --require`): at SIGUSR2 it collects all garbage and
 * writes what the process holds, as JSON, to the file that WAEP_MEMORY_FILE names. It is bundled to
 * one CommonJS file, so that a guest's Node can load it, too.
 */
import { renameSync, writeFileSync } from 'node:fs';
import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** What a process holds, in bytes, right after all garbage was collected. */
export interface Held {
  rss: number;
  /** What of the heap of JavaScript is resident: the engine reserves room that it has not touched. */
  heapResident: number;
  heapUsed: number;
  external: number;
}

/** Collects all garbage and returns what this process holds. */
export async function held(): Promise<Held> {
  // What the first collection frees may hold more, by finalizers that run in between.
  for (let i = 0; i < 3; i++) {
    collect();
    await new Promise((resolve) => setImmediate(resolve));
  }
  collect();
  const { rss, heapUsed, external } = process.memoryUsage();
  return { rss, heapResident: getHeapStatistics().total_physical_size, heapUsed, external };
}

const file = process.env.WAEP_MEMORY_FILE;
if (file !== undefined) {
  process.on('SIGUSR2', () => {
    void held().then((memory) => {
      writeFileSync(`${file}.new`, JSON.stringify(memory));
      renameSync(`${file}.new`, file);
    });
  });
}
