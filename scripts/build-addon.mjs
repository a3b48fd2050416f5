// Builds the addon and the programs beside it, and puts them where a package takes them from. With the
// argument "arm64" it builds the addon for that architecture, with the compiler of Debian's package
// g++-aarch64-linux-gnu.
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { headers } from './headers.mjs';
import { hashOf, isCurrent, setCurrent } from './stamp.mjs';
import { step } from './step.mjs';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));

const architectures = {
  x64: { products: ['waep.node', 'waep-executor', 'waep-keeper', 'waep-launch'], folder: '.' },
  // The programs know the system calls of x64 only. node-gyp has one folder for what it builds: this
  // one has the sources in a folder of its own.
  arm64: { products: ['waep.node'], folder: 'build/arm64', tools: 'aarch64-linux-gnu-' },
};
const arch = process.argv[2] ?? 'x64';
const { products, folder, tools = '' } = architectures[arch];
if (tools !== '' && spawnSync(`${tools}g++`, ['--version']).error !== undefined) {
  throw new Error(
    `${tools}g++ is missing: "apt-get install g++-${tools.slice(0, -1)}" installs it.`,
  );
}

const prebuilds = `prebuilds/linux-${arch}`;
const build = join(folder, 'build');
const stamp = join(build, '.waep-stamp');
const configuredStamp = join(build, '.waep-configured');
const hash = hashOf({
  files: ['binding.gyp', 'package-lock.json'],
  folders: ['addon'],
  suffixes: ['.h', '.cc'],
});
const made = products.every((name) => existsSync(`${build}/Release/${name}`));
if (!made || !isCurrent(stamp, hash)) {
  // What was configured for the same project and Node only has to compile what has changed.
  const configured = hashOf({
    files: ['binding.gyp', 'package-lock.json'],
    text: process.version,
  });
  const again = existsSync(`${build}/Makefile`) && isCurrent(configuredStamp, configured);
  if (folder !== '.') {
    mkdirSync(folder, { recursive: true });
    for (const name of ['addon', 'binding.gyp', 'node_modules', 'package.json']) {
      rmSync(join(folder, name), { force: true });
      symlinkSync(join('../..', name), join(folder, name));
    }
  }
  const env = tools === '' ? {} : { CC: `${tools}gcc`, CXX: `${tools}g++`, AR: `${tools}ar` };
  await step(
    `building the addon for ${arch}`,
    process.execPath,
    [
      'node_modules/node-gyp/bin/node-gyp.js',
      again ? 'build' : 'rebuild',
      `--directory=${folder}`,
      `--arch=${arch}`,
      `--jobs=${availableParallelism()}`,
      ...(headers === undefined ? [] : [`--nodedir=${headers}`]),
    ],
    { env: { ...process.env, ...env } },
  );
  setCurrent(configuredStamp, configured);
  setCurrent(stamp, hash);
}
mkdirSync(prebuilds, { recursive: true });
for (const name of products) {
  // Not over the old one, which may be running, or be part of what is, or be packed just now.
  const stripped = `${build}/${name}.new`;
  copyFileSync(`${build}/Release/${name}`, stripped);
  // A package has no use for the names of what is inside; build/Release keeps them.
  execFileSync(`${tools}strip`, ['--strip-unneeded', stripped]);
  renameSync(stripped, `${prebuilds}/${name}`);
}
