import { existsSync, readFileSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { execa } from 'execa';
import { failure } from '../src/errors.js';
import { packageFolder } from '../src/paths.js';
import { installation, locate, managerOf, type Table, type Tool } from './tool-table.mjs';

/** The tools that this project needs, by purpose. scripts/setup.mjs installs from the same table. */
export const table: Table = JSON.parse(
  readFileSync(join(packageFolder, 'guest/tools.json'), 'utf8'),
);

/** This system's package manager, or `undefined` if the table does not have it. */
export const manager = managerOf(
  table,
  existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : '',
);

/** Says how to get tools: by a command of this system's package manager, or by hand. */
export function cureFor(tools: readonly Tool[]): string {
  const named = tools.map(({ tool }) => tool).join(', ');
  if (manager === undefined) return `install ${named} with this system's package manager`;
  const { commands, without } = installation(table, manager, tools);
  const command = commands.at(-1)?.join(' ');
  const byHand = without.map(({ tool }) => `install ${tool}, which ${manager} has no package of`);
  return [...(command === undefined ? [] : [command]), ...byHand].join('; ');
}

/** The absolute path of a program, or `undefined` when this machine does not have it. */
export function findTool(name: string): string | undefined {
  return locate({ tool: name });
}

/**
 * The absolute path of a program; one that is absolute already is taken as it is.
 *
 * @throws ERR_TOOL_MISSING with the package that has it
 */
export function requireTool(name: string): string {
  if (isAbsolute(name)) return name;
  const path = findTool(name);
  if (path !== undefined) return path;
  const row = table.tools.find((tool) => tool.tool === name);
  throw failure('ERR_TOOL_MISSING', {
    tool: name,
    cure: row === undefined ? 'Install it.' : `It ${row.why}; to get it: ${cureFor([row])}.`,
  });
}

/**
 * Runs a program to its end and returns what it wrote to stdout, as text. After `deadlineMs` it is
 * ended.
 *
 * @throws ERR_TOOL_MISSING, or ERR_TOOL_FAILED with the last of its output
 */
export async function runTool(
  name: string,
  args: readonly string[],
  {
    deadlineMs = 0,
    ...options
  }: { cwd?: string; env?: NodeJS.ProcessEnv; deadlineMs?: number | undefined } = {},
): Promise<string> {
  const path = requireTool(name);
  const result = await execa(path, args, {
    ...options,
    timeout: deadlineMs,
    reject: false,
    stdin: 'ignore',
    all: true,
  });
  if (result.exitCode === 0) return result.stdout;
  const late = result.timedOut ? `it had not ended after ${deadlineMs / 1000} s\n` : '';
  throw failure(
    'ERR_TOOL_FAILED',
    {
      tool: [name, ...args].join(' '),
      why:
        late +
        (result.all.trim().split('\n').slice(-8).join('\n') || result.shortMessage || 'no output'),
      log: 'the output above',
    },
    result,
  );
}
