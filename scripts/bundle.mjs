// Makes dist/guest/agent.cjs: the agent in one file, so that a guest needs no node_modules. The
// addon stays outside; the agent finds it by WAEP_NATIVE_DIR. CommonJS, because Node's ES module
// loader costs an emulated guest half a second of its boot.

import { chmodSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

await build({
  absWorkingDir: fileURLToPath(new URL('..', import.meta.url)),
  entryPoints: ['guest/agent/main.ts'],
  outfile: 'dist/guest/agent.cjs',
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node20',
  // cbor-x looks for a native helper and does without.
  external: ['cbor-extract'],
  define: { 'import.meta.url': 'bundleUrl' },
  banner: { js: "const bundleUrl = require('node:url').pathToFileURL(__filename).href;" },
  logLevel: 'warning',
});

// The compiler leaves it a plain file, which "npx waep" in a clone cannot run.
chmodSync(new URL('../dist/src/cli/main.js', import.meta.url), 0o755);
