// Makes a fresh clone ready to test, to bench or to fuzz: the one argument says which. It runs before
// anything is installed, so it uses Node's own modules only.
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hashOf, isCurrent, setCurrent } from './stamp.mjs';
import { step } from './step.mjs';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));

const purpose = process.argv[2] ?? 'test';
const npmLock = 'node_modules/.waep-stamp';
const tsStamp = 'dist/.waep-stamp';

try {
  checkMachine();
  await installTools();
  await installPackages();
  await step('building the addon', process.execPath, ['scripts/build-addon.mjs']);
  await compile();
} catch (error) {
  console.error(`setup: ${error.message}`);
  process.exitCode = 1;
}

function checkMachine() {
  const [major] = process.versions.node.split('.').map(Number);
  if (major < 20) throw new Error(`Node ${process.version} is too old; install Node 20 or later.`);
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new Error(`linux-x64 is needed; this is ${process.platform}-${process.arch}.`);
  }
}

function has(tool) {
  // A library is known by its path.
  if (isAbsolute(tool)) return existsSync(tool);
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.some((folder) => {
    try {
      accessSync(join(folder, tool), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

async function installTools() {
  const tools = JSON.parse(readFileSync('guest/tools.json', 'utf8'));
  const missing = tools.filter((row) => row.for.includes(purpose) && !has(row.tool));
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map((row) => row.package))];
  for (const row of missing) console.error(`  ${row.tool} is missing: it ${row.why}`);
  if (process.getuid?.() !== 0) {
    throw new Error(`run "apt-get install ${packages.join(' ')}" as root, and this again.`);
  }
  if (!has('apt-get')) {
    throw new Error(
      `install these with your distribution's package manager: ${packages.join(' ')}`,
    );
  }
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const install = ['install', '-y', '--no-install-recommends', ...packages];
  await step('fetching package lists', 'apt-get', ['update'], { env });
  await step(`installing ${packages.join(', ')}`, 'apt-get', install, { env });
}

async function installPackages() {
  const hash = hashOf({ files: ['package-lock.json'], text: process.version });
  if (existsSync('node_modules') && isCurrent(npmLock, hash)) return;
  // None of the packages needs its install script here, and newer npm asks about each.
  await step('installing npm packages', 'npm', ['ci', '--ignore-scripts']);
  setCurrent(npmLock, hash);
}

async function compile() {
  const hash = hashOf({
    files: ['tsconfig.json', 'package-lock.json', 'scripts/bundle.mjs'],
    folders: ['src', 'guest', 'bench', 'test'],
    suffixes: ['.ts'],
  });
  if (isCurrent(tsStamp, hash)) return;
  await step('compiling the TypeScript', 'npm', ['run', '--silent', 'build:ts']);
  setCurrent(tsStamp, hash);
}
