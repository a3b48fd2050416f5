import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cached, contentKey } from '../guest/cache.js';
import { packageFolder } from '../guest/paths.js';
import { runTool } from '../guest/tools.js';

/** Paths of the C programs of bench/c, compiled. */
export interface Programs {
  /** The plain C ping-pong; see bench/c/pingpong.c. */
  pingpong: string;
  /** The plain C maker of bpf calls; see bench/c/native.c. */
  native: string;
  /** The plain C user of a map; see bench/c/maps.c. */
  maps: string;
  /** Times whole runs of a command; see bench/c/stopwatch.c. */
  stopwatch: string;
  /** Times uname(2); see bench/c/uname.c. */
  uname: string;
  /** The plain C maker and reader of events; see bench/c/events.c. */
  events: string;
}

const sources: Readonly<Record<keyof Programs, readonly string[]>> = {
  pingpong: ['pingpong.c', 'address.c'],
  native: ['native.c'],
  maps: ['maps.c'],
  stopwatch: ['stopwatch.c'],
  uname: ['uname.c'],
  events: ['events.c'],
};

const flags = ['-std=gnu11', '-O2', '-Wall', '-Wextra', '-Werror', '-static'];

/**
 * Compiles the C programs, statically so that they run in the guest too. The result is kept in
 * the cache by the content of sources and headers.
 *
 * @throws ERR_TOOL_MISSING, or ERR_TOOL_FAILED with the compiler's words
 */
export async function compilePrograms(): Promise<Programs> {
  const folder = join(packageFolder, 'bench/c');
  const names = (await readdir(folder)).sort();
  const contents = await Promise.all(names.map((name) => readFile(join(folder, name))));
  const key = contentKey(flags.join(' '), ...names, ...contents);
  const compiled = await cached('bench-c', key, async (draft) => {
    for (const [program, files] of Object.entries(sources)) {
      const paths = files.map((file) => join(folder, file));
      await runTool('gcc', [...flags, '-o', join(draft, program), ...paths]);
    }
  });
  return {
    pingpong: join(compiled, 'pingpong'),
    native: join(compiled, 'native'),
    maps: join(compiled, 'maps'),
    stopwatch: join(compiled, 'stopwatch'),
    uname: join(compiled, 'uname'),
    events: join(compiled, 'events'),
  };
}
