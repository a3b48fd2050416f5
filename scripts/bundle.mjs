// Makes files that need no node_modules: a package that is installed brings no others with it.
//
//   dist/guest/agent.cjs    the agent. The addon and the executor stay outside; it finds them beside it.
//   dist/cli/run.cjs        "waep run", which users wait for most often: less code starts sooner
//   dist/cli/command.cjs    the command, with all subcommands
//   dist/cli/keys.cjs       what makes certificates, which only "waep keys" reads
//   dist/cli/waep.cjs       what starts the command, from code that is compiled already
//   dist/src/cbor.js        the library's only dependency, in place of what the compiler wrote
//   dist/guest/library.js   "waep/vm", in place of what the compiler wrote
//   dist/licenses.txt       the licences of what is in these files
//
// Programs are CommonJS, because Node's ES module loader costs an emulated guest half a second of
// its boot, and "waep run" as much as all the rest of its start.

import { chmodSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

/** Leaves src/keys.ts out of the command: it would have to be read each time. */
const keysApart = {
  name: 'keys-apart',
  setup: (build) =>
    build.onResolve({ filter: /\/src\/keys\.js$/ }, () => ({ path: './keys.cjs', external: true })),
};

/** Leaves out what other subcommands than "run" consist of: cli/main.ts imports it only for them. */
const runAlone = {
  name: 'run-alone',
  setup: (build) =>
    build.onResolve({ filter: /^\.\// }, ({ path, importer, kind }) => {
      const isSubcommand = kind === 'dynamic-import' && importer === join(root, 'cli/main.ts');
      return isSubcommand && path !== './run.js' ? { path, external: true } : undefined;
    }),
};

/** Leaves all of src/ out of "waep/vm", which has its classes in common with "waep". */
const sourcesApart = {
  name: 'sources-apart',
  setup: (build) =>
    build.onResolve({ filter: /^(\.\.\/)+src\// }, ({ path }) => ({
      path: path.replace(/^(\.\.\/)+/, '../'),
      external: true,
    })),
};

const program = {
  platform: 'node',
  format: 'cjs',
  // What starts the command compiles it as a script, in which import() has no meaning.
  supported: { 'dynamic-import': false },
  // An emulated guest takes its time over every line.
  minifyWhitespace: true,
  // Node shows the line in which an error was thrown that nobody caught.
  lineLimit: 200,
  define: {
    'import.meta.url': 'bundleUrl',
    'process.env.WAEP_VERSION': JSON.stringify(version),
  },
  banner: { js: "const bundleUrl = require('node:url').pathToFileURL(__filename).href;" },
};
const files = [
  { ...program, entryPoints: ['guest/agent/entry.ts'], outfile: 'dist/guest/agent.cjs' },
  {
    ...program,
    ...{ entryPoints: ['cli/main.ts'], outfile: 'dist/cli/command.cjs', plugins: [keysApart] },
  },
  {
    ...program,
    ...{ entryPoints: ['cli/main.ts'], outfile: 'dist/cli/run.cjs', plugins: [runAlone] },
  },
  { ...program, entryPoints: ['src/keys.ts'], outfile: 'dist/cli/keys.cjs' },
  { ...program, entryPoints: ['cli/entry.ts'], outfile: 'dist/cli/waep.cjs' },
  {
    ...{ entryPoints: ['src/cbor.ts'], outfile: 'dist/src/cbor.js', allowOverwrite: true },
    ...{ platform: 'node', format: 'esm' },
  },
  {
    ...{ entryPoints: ['guest/library.ts'], outfile: 'dist/guest/library.js' },
    ...{ allowOverwrite: true, platform: 'node', format: 'esm', plugins: [sourcesApart] },
    minifyWhitespace: true,
    // What it depends on is CommonJS, and asks for modules of Node's own.
    banner: {
      js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
    },
  },
];

const packages = new Set();
for (const file of files) {
  const { metafile } = await build({
    ...{ absWorkingDir: root, bundle: true, target: 'node20', logLevel: 'warning' },
    ...{ legalComments: 'none', metafile: true },
    ...file,
  });
  for (const input of Object.keys(metafile.inputs)) {
    const [, folder] = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(input) ?? [];
    if (folder !== undefined) packages.add(folder);
  }
}

/** The text of a package's licence, or its name where the package has no text. */
function licence(folder) {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const file = readdirSync(folder).find((one) => /^licen[cs]e/i.test(one));
  const text = file === undefined ? license : readFileSync(join(folder, file), 'utf8').trim();
  return `${name} ${version}\n\n${text}\n`;
}

const texts = [...packages]
  .map((folder) => join(root, folder))
  .filter((folder) => existsSync(join(folder, 'package.json')))
  .sort()
  .map(licence);
writeFileSync(join(root, 'dist/licenses.txt'), texts.join(`\n${'-'.repeat(80)}\n\n`));

// The compiler leaves it a plain file, which "npx waep" in a clone cannot run.
chmodSync(join(root, 'dist/cli/waep.cjs'), 0o755);
