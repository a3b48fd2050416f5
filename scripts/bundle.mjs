// Makes programs of one file each. CommonJS, because Node's ES module loader costs an emulated
// guest half a second of its boot, and "waep run" as much as all the rest of its start.
//
//   dist/guest/agent.cjs    the agent, so that a guest needs no node_modules. The addon and the
//                           executor stay outside; the agent finds them beside it.
//   dist/cli/command.cjs    the command
//   dist/cli/waep.cjs       what starts it, from code that is compiled already

import { chmodSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const programs = {
  'dist/guest/agent.cjs': 'guest/agent/entry.ts',
  'dist/cli/command.cjs': 'cli/main.ts',
  'dist/cli/waep.cjs': 'cli/entry.ts',
};

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));

for (const [outfile, entry] of Object.entries(programs)) {
  await build({
    absWorkingDir: fileURLToPath(new URL('..', import.meta.url)),
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: 'node',
    // Only "waep keys" makes certificates. Beside the others' code it would have to be read each time.
    external: ['@peculiar/x509', 'reflect-metadata'],
    format: 'cjs',
    target: 'node20',
    // An emulated guest takes its time over every line.
    minifyWhitespace: true,
    // Node shows the line in which an error was thrown that nobody caught.
    lineLimit: 200,
    define: {
      'import.meta.url': 'bundleUrl',
      'process.env.WAEP_VERSION': JSON.stringify(version),
    },
    banner: { js: "const bundleUrl = require('node:url').pathToFileURL(__filename).href;" },
    logLevel: 'warning',
  });
}

// The compiler leaves it a plain file, which "npx waep" in a clone cannot run.
chmodSync(new URL('../dist/cli/waep.cjs', import.meta.url), 0o755);
