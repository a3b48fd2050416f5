// Builds the addon and the programs beside it, and puts them where a package takes them from.
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, renameSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { headers } from './headers.mjs';
import { hashOf, isCurrent, setCurrent } from './stamp.mjs';
import { step } from './step.mjs';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));

const products = ['waep.node', 'waep-executor', 'waep-keeper', 'waep-launch'];
const prebuilds = 'prebuilds/linux-x64';
const stamp = 'build/.waep-stamp';
const configuredStamp = 'build/.waep-configured';
const hash = hashOf({
  files: ['binding.gyp', 'package-lock.json'],
  folders: ['addon'],
  suffixes: ['.h', '.cc'],
});
const made = products.every((name) => existsSync(`build/Release/${name}`));
if (!made || !isCurrent(stamp, hash)) {
  // What was configured for the same project and Node only has to compile what has changed.
  const configured = hashOf({
    files: ['binding.gyp', 'package-lock.json'],
    text: process.version,
  });
  const again = existsSync('build/Makefile') && isCurrent(configuredStamp, configured);
  await step('building the addon', process.execPath, [
    'node_modules/node-gyp/bin/node-gyp.js',
    again ? 'build' : 'rebuild',
    `--jobs=${availableParallelism()}`,
    ...(headers === undefined ? [] : [`--nodedir=${headers}`]),
  ]);
  setCurrent(configuredStamp, configured);
  setCurrent(stamp, hash);
}
mkdirSync(prebuilds, { recursive: true });
for (const name of products) {
  // Not over the old one, which may be running, or be part of what is.
  copyFileSync(`build/Release/${name}`, `${prebuilds}/${name}.new`);
  // A package has no use for the names of what is inside; build/Release keeps them.
  execFileSync('strip', ['--strip-unneeded', `${prebuilds}/${name}.new`]);
  renameSync(`${prebuilds}/${name}.new`, `${prebuilds}/${name}`);
}
