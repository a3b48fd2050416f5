import { runTool } from '../tools.js';

/** Returns the paths of the shared libraries that these programs load at start, ld.so included. */
export async function sharedLibraries(programs: readonly string[]): Promise<string[]> {
  const found = new Set<string>();
  for (const program of programs) {
    // Each line is "name => path (address)", or "path (address)" for the loader.
    const text = await runTool('ldd', [program]);
    for (const [, path] of text.matchAll(/(?:^\s*|=> )(\/\S+) \(0x/gm)) {
      if (path !== undefined) found.add(path);
    }
  }
  return [...found].sort();
}
