// What a purpose needs of a machine, from guest/tools.json alone. It serves scripts/setup.mjs, which
// runs before anything is installed or compiled, and the programs that are compiled.
import { accessSync, constants, existsSync, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/**
 * A program or a file that this project uses.
 *
 * @typedef {object} Tool
 * @property {string} tool the program's name, or what to call the file
 * @property {string[]} [paths] where the file may be, one of them; `*` stands for any part of a name
 * @property {string} why completes the sentence "<tool> …"
 * @property {string[]} for the purposes that cannot do without it
 * @property {string[]} [helps] the purposes that can, in part or more slowly
 * @property {{ apt?: string, dnf?: string, pacman?: string }} packages the package that has it, by
 *   package manager; those that are left out have none
 * @property {string[]} [fetched] the package managers from which the guest's builder takes it by
 *   itself, so that it need not be installed
 */

/**
 * @typedef {object} Manager
 * @property {string} command
 * @property {string[]} systems the ids of os-release(5) that it belongs to
 * @property {string[]} [before] the arguments to call it with before it installs anything
 * @property {string[]} install the arguments that come before the packages' names
 */

/**
 * @typedef {object} Table
 * @property {Record<string, { includes: string[], command: string }>} purposes
 * @property {Record<'apt' | 'dnf' | 'pacman', Manager>} managers
 * @property {Tool[]} tools
 */

/**
 * The purpose and all that it includes.
 *
 * @param {Table} table
 * @param {string} purpose
 * @returns {string[]}
 */
export function purposesOf(table, purpose) {
  const includes = table.purposes[purpose]?.includes;
  if (includes === undefined) {
    const known = Object.keys(table.purposes).join(', ');
    throw new Error(`There is no purpose ${purpose}; expected one of ${known}.`);
  }
  return [purpose, ...includes.flatMap((included) => purposesOf(table, included))];
}

/**
 * The tools that a purpose cannot do without, or those that it can, on a system with this package
 * manager.
 *
 * @param {Table} table
 * @param {string} purpose
 * @param {string | undefined} manager
 * @param {'for' | 'helps'} [relation]
 * @returns {Tool[]}
 */
export function toolsFor(table, purpose, manager, relation = 'for') {
  const purposes = purposesOf(table, purpose);
  return table.tools.filter(
    (tool) =>
      purposes.some((one) => tool[relation]?.includes(one)) &&
      (manager === undefined || tool.fetched?.includes(manager) !== true),
  );
}

/**
 * The absolute path of a tool, or `undefined` when this machine does not have it.
 *
 * @param {Pick<Tool, 'tool' | 'paths'>} tool
 * @returns {string | undefined}
 */
export function locate({ tool, paths }) {
  if (paths !== undefined) return paths.flatMap(filesMatching)[0];
  // Unprivileged users often lack the sbin folders, where ip and friends live.
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.map((folder) => join(folder, tool)).find(isProgram);
}

/** @param {string} path */
function isProgram(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/**
 * @param {string} pattern
 * @returns {string[]}
 */
function filesMatching(pattern) {
  let found = ['/'];
  for (const part of pattern.split('/').filter((part) => part !== '')) {
    const [start = '', end] = part.split('*');
    found = found.flatMap((folder) =>
      (end === undefined ? [part] : entries(folder))
        .filter((name) => name.startsWith(start) && name.endsWith(end ?? ''))
        .map((name) => join(folder, name)),
    );
  }
  return found.filter((path) => existsSync(path));
}

/** @param {string} folder */
function entries(folder) {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/**
 * The package manager of a system, or `undefined` for a system that is not in the table.
 *
 * @param {Table} table
 * @param {string} osRelease the text of os-release(5)
 * @returns {'apt' | 'dnf' | 'pacman' | undefined}
 */
export function managerOf(table, osRelease) {
  const ids = [...osRelease.matchAll(/^(?:ID|ID_LIKE)=["']?([^"'\n]*)/gm)].flatMap(([, words]) =>
    (words ?? '').split(' '),
  );
  return /** @type {const} */ (['apt', 'dnf', 'pacman']).find((name) =>
    table.managers[name].systems.some((system) => ids.includes(system)),
  );
}

/**
 * The commands that install tools on a system, and the tools that it has no package for.
 *
 * @param {Table} table
 * @param {'apt' | 'dnf' | 'pacman'} name
 * @param {readonly Tool[]} tools
 * @returns {{ commands: string[][], packages: string[], without: Tool[] }}
 */
export function installation(table, name, tools) {
  const manager = table.managers[name];
  const packages = [...new Set(tools.flatMap((tool) => tool.packages[name] ?? []))];
  const before = manager.before === undefined ? [] : [[manager.command, ...manager.before]];
  const commands =
    packages.length === 0 ? [] : [...before, [manager.command, ...manager.install, ...packages]];
  return { commands, packages, without: tools.filter((tool) => tool.packages[name] === undefined) };
}
