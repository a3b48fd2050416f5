import { accessSync, constants, readFileSync } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';
import { execa } from 'execa';
import { failure } from '../src/errors.js';
import { packageFolder } from './paths.js';

/** A program that this package starts, and the Debian package that has it. */
export interface Tool {
  /** Its name, or the path of a library. */
  tool: string;
  package: string;
  /** Completes the sentence "<tool> …". */
  why: string;
  /** What needs it: `test`, `bench`, `compat`, `fuzz`. */
  for: string[];
}

/** The table that scripts/setup.mjs installs from. */
export const tools: readonly Tool[] = JSON.parse(
  readFileSync(join(packageFolder, 'guest/tools.json'), 'utf8'),
);

/** Unprivileged users often lack the sbin folders, where ip and friends live. */
function folders(): string[] {
  return [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
}

/** The absolute path of a program, or `undefined` when this machine does not have it. */
export function findTool(name: string): string | undefined {
  return folders()
    .map((folder) => join(folder, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
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
  const row = tools.find((tool) => tool.tool === name);
  throw failure('ERR_TOOL_MISSING', {
    tool: name,
    cure: row === undefined ? 'Install it.' : `It ${row.why}; apt-get install ${row.package}.`,
  });
}

/**
 * Runs a program to its end and returns what it wrote to stdout, as text.
 *
 * @throws ERR_TOOL_MISSING, or ERR_TOOL_FAILED with the last of its output
 */
export async function runTool(
  name: string,
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<string> {
  const path = requireTool(name);
  const result = await execa(path, args, { ...options, reject: false, stdin: 'ignore', all: true });
  if (result.exitCode === 0) return result.stdout;
  throw failure(
    'ERR_TOOL_FAILED',
    {
      tool: [name, ...args].join(' '),
      why: result.all.trim().split('\n').slice(-8).join('\n') || result.shortMessage || 'no output',
      log: 'the output above',
    },
    result,
  );
}
