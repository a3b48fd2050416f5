// Compiles the changed sources. Types do not hold in them, so the compiler of the build cannot.
import { copyFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

const sources = ['src', 'cli', 'guest', 'bench', 'test'].flatMap((folder) =>
  readdirSync(folder, { recursive: true }).map((name) => join(folder, name)),
);
await build({
  entryPoints: sources.filter((name) => name.endsWith('.ts')),
  ...{ outbase: '.', outdir: 'dist', platform: 'node', format: 'esm', target: 'es2022' },
  logLevel: 'warning',
});
for (const name of sources.filter((one) => one.endsWith('.mjs'))) {
  copyFileSync(name, join('dist', name));
}
await import('../bundle.mjs');
