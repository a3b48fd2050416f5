import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

/** Makes a compiled module and all that it imports one file in `folder`, which a guest can run. */
export async function bundleForGuest(module: URL, folder: string, name: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, await bundleText(module, name.endsWith('.cjs') ? 'cjs' : 'esm'));
  return path;
}

/** Like {@link bundleForGuest}, but returns the content of the file. */
export async function bundleText(module: URL, format: 'cjs' | 'esm' = 'esm'): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(module)],
    write: false,
    bundle: true,
    platform: 'node',
    format,
    target: 'node20',
    // Packages in CommonJS ask for Node's own modules by require().
    banner: {
      js:
        format === 'cjs'
          ? ''
          : "import { createRequire as requireIn } from 'node:module'; const require = requireIn(import.meta.url);",
    },
    logLevel: 'warning',
  });
  return outputFiles.map(({ text }) => text).join('');
}
