import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { runTool } from '../tools.js';
import { cached, contentKey } from './cache.js';

const flags = ['-std=gnu11', '-O2', '-static', '-Wall', '-Wextra', '-Werror'];

/**
 * Compiles one C source into a static program that runs here and in any guest. The cache keeps the
 * program, by the source's content.
 *
 * @returns the path of the program
 * @throws ERR_TOOL_MISSING, or ERR_TOOL_FAILED with the compiler's words
 */
export async function compileStatic(source: string): Promise<string> {
  const name = basename(source, '.c');
  const key = `${name}-${contentKey(await readFile(source), flags.join(' '))}`;
  const folder = await cached('static', key, async (draft) => {
    await runTool('gcc', [...flags, '-o', join(draft, name), source, '-lpthread']);
  });
  return join(folder, name);
}
