import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { failure } from '../src/errors.js';
import { repository } from './store.js';

/** Paths of the C programs of bench/c, compiled. */
export interface Programs {
  /** The plain C ping-pong; see bench/c/pingpong.c. */
  pingpong: string;
  /** The plain C maker of bpf calls; see bench/c/native.c. */
  native: string;
}

const sources: Readonly<Record<keyof Programs, readonly string[]>> = {
  pingpong: ['pingpong.c', 'address.c'],
  native: ['native.c'],
};

const flags = ['-O2', '-Wall', '-Wextra', '-Werror', '-static'];

/**
 * Compiles the C programs, statically so that they run in the guest too. Kept in the cache by the
 * hash of the sources, headers, flags and compiler.
 */
export async function compilePrograms(): Promise<Programs> {
  const folder = join(repository, 'bench/c');
  const compiler = await versionOf('gcc');
  const hash = createHash('sha256').update(JSON.stringify([compiler, flags]));
  for (const name of (await readdir(folder)).sort()) {
    hash.update(name).update(await readFile(join(folder, name)));
  }
  const target = join(cacheFolder(), `bench-c-${hash.digest('hex').slice(0, 16)}`);
  await mkdir(target, { recursive: true });
  const compiled: Programs = { pingpong: join(target, 'pingpong'), native: join(target, 'native') };
  for (const program of ['pingpong', 'native'] as const) {
    if (existsSync(compiled[program])) continue;
    const draft = `${compiled[program]}.${process.pid}`;
    await execa('gcc', [...flags, '-o', draft, ...sources[program]], { cwd: folder });
    await rename(draft, compiled[program]);
  }
  return compiled;
}

async function versionOf(compiler: string): Promise<string> {
  try {
    return (await execa(compiler, ['--version'])).stdout;
  } catch (error) {
    throw failure(
      'ERR_TOOL_MISSING',
      { tool: compiler, cure: 'Install it with "apt-get install gcc libc6-dev".' },
      error,
    );
  }
}

function cacheFolder(): string {
  const { WAEP_CACHE_DIR, XDG_CACHE_HOME } = process.env;
  return WAEP_CACHE_DIR ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'waep');
}
