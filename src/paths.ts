import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

function findPackageFolder(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json')) && folder !== '/') folder = dirname(folder);
  return folder;
}

/** The folder of this package: the one that holds its package.json. */
export const packageFolder: string = findPackageFolder();

/**
 * The folder for everything that can be made again: kernels, packages, images, verdicts.
 * `WAEP_CACHE_DIR`, else `waep` in `XDG_CACHE_HOME`, else `~/.cache/waep`.
 */
export function cacheFolder(): string {
  const { WAEP_CACHE_DIR: own, XDG_CACHE_HOME: xdg } = process.env;
  if (own !== undefined && own !== '') return own;
  return join(xdg !== undefined && xdg !== '' ? xdg : join(homedir(), '.cache'), 'waep');
}

/** The agent's one-file bundle, made by scripts/bundle.mjs. */
export const agentPath: string = join(packageFolder, 'dist/guest/agent.cjs');
