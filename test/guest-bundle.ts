import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

/** Makes a compiled module and all that it imports one file in `folder`, which a guest can run. */
export async function bundleForGuest(module: URL, folder: string, name: string): Promise<string> {
  const outfile = join(folder, name);
  const isCommonJs = name.endsWith('.cjs');
  await build({
    entryPoints: [fileURLToPath(module)],
    outfile,
    bundle: true,
    platform: 'node',
    format: isCommonJs ? 'cjs' : 'esm',
    target: 'node20',
    // Packages in CommonJS ask for Node's own modules by require().
    banner: {
      js: isCommonJs
        ? ''
        : "import { createRequire as requireIn } from 'node:module'; const require = requireIn(import.meta.url);",
    },
    logLevel: 'warning',
  });
  return outfile;
}
