// Makes dist/guest/agent.mjs: the agent in one file, so that a guest needs no node_modules. The
// addon stays outside; the agent finds it by WAEP_NATIVE_DIR.

import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

await build({
  absWorkingDir: fileURLToPath(new URL('..', import.meta.url)),
  entryPoints: ['guest/agent/main.ts'],
  outfile: 'dist/guest/agent.mjs',
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  // cbor-x looks for a native helper and does without.
  external: ['cbor-extract'],
  // CommonJS dependencies expect a `require` for Node's own modules.
  banner: {
    js: "import { createRequire as bundleRequire } from 'node:module'; const require = bundleRequire(import.meta.url);",
  },
  logLevel: 'warning',
});
