// Makes a fresh clone ready for a purpose of guest/tools.json, the one argument. It runs before
// anything is installed, so it uses Node's own modules only.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { installation, locate, managerOf, toolsFor } from '../guest/tool-table.mjs';
import { hashOf, isCurrent, setCurrent } from './stamp.mjs';
import { step } from './step.mjs';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));

const purpose = process.argv[2] ?? 'test';
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

async function installTools() {
  const table = JSON.parse(readFileSync('guest/tools.json', 'utf8'));
  const system = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : '';
  const manager = managerOf(table, system);
  const missing = toolsFor(table, purpose, manager).filter((tool) => locate(tool) === undefined);
  if (missing.length === 0) return;
  for (const { tool, why } of missing) console.error(`  ${tool} is missing: it ${why}`);
  if (manager === undefined) {
    const names = missing.map(({ tool }) => tool).join(', ');
    throw new Error(`install these with this system's package manager: ${names}`);
  }
  const { commands, packages, without } = installation(table, manager, missing);
  const asRoot = commands.map((words) => words.join(' ')).join(' && ');
  if (without.length > 0) {
    const names = without.map(({ tool }) => tool).join(', ');
    const others = commands.length === 0 ? '' : `; for the others run "${asRoot}" as root`;
    throw new Error(`no package of ${manager} is known that has ${names}: install them${others}.`);
  }
  if (process.getuid?.() !== 0) throw new Error(`run "${asRoot}" as root, and this again.`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  for (const [command, ...args] of commands.slice(0, -1)) {
    await step('fetching package lists', command, args, { env });
  }
  const [command, ...args] = commands.at(-1);
  await step(`installing ${packages.join(', ')}`, command, args, { env });
}

async function installPackages() {
  await installLocked('.');
  // Large packages that only one purpose needs have a lock of their own.
  const own = `scripts/${purpose}`;
  if (existsSync(join(own, 'package-lock.json'))) await installLocked(own);
}

async function installLocked(folder) {
  const hash = hashOf({ files: [join(folder, 'package-lock.json')], text: process.version });
  const installed = join(folder, 'node_modules');
  const stamp = join(installed, '.waep-stamp');
  if (existsSync(installed) && isCurrent(stamp, hash)) return;
  // None of the packages needs its install script here, and newer npm asks about each.
  const options = ['--ignore-scripts', '--prefix', folder];
  await step('installing npm packages', 'npm', ['ci', ...options]);
  setCurrent(stamp, hash);
}

async function compile() {
  const hash = hashOf({
    files: ['tsconfig.json', 'package-lock.json', 'scripts/bundle.mjs'],
    folders: ['src', 'guest', 'cli', 'bench', 'test'],
    suffixes: ['.ts', '.mjs'],
  });
  if (isCurrent(tsStamp, hash)) return;
  await step('compiling the TypeScript', 'npm', ['run', '--silent', 'build:ts']);
  setCurrent(tsStamp, hash);
}
