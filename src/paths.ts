import { accessSync, constants, existsSync, lstatSync, mkdirSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { failure } from './errors.js';

/** The file that this code is in. Bundlers that write CommonJS leave `import.meta` empty. */
export const codeFile: string =
  import.meta.url === undefined ? __filename : fileURLToPath(import.meta.url);

function findPackageFolder(): string {
  let folder = dirname(codeFile);
  while (!existsSync(join(folder, 'package.json')) && folder !== '/') folder = dirname(folder);
  return folder;
}

/** The folder of this package: the one that holds its package.json. */
export const packageFolder: string = findPackageFolder();

/**
 * The folder for everything that can be made again: kernels, packages, images, verdicts.
 * `WAEP_CACHE_DIR`, else `waep` in `XDG_CACHE_HOME`, else `~/.cache/waep`. Where there is no home
 * that can be written to, as in containers that run any user, it is in `waep-UID` in the folder for
 * temporary files.
 *
 * @throws ERR_FOLDER_UNSAFE when that one is somebody else's
 */
export function cacheFolder(): string {
  const { WAEP_CACHE_DIR: own, XDG_CACHE_HOME: xdg } = process.env;
  if (own !== undefined && own !== '') return resolve(own);
  if (xdg?.startsWith('/')) return join(xdg, 'waep');
  const home = usableHome();
  return home === undefined ? join(privateFolder(), 'cache') : join(home, '.cache', 'waep');
}

function usableHome(): string | undefined {
  try {
    const home = homedir();
    accessSync(`${home}/`, constants.W_OK | constants.X_OK);
    return home.startsWith('/') ? home : undefined;
  } catch {
    // Some users have no entry in /etc/passwd.
    return undefined;
  }
}

/**
 * The folder `waep-UID` in the folder for temporary files, which is made if need be.
 *
 * @throws ERR_FOLDER_UNSAFE when somebody else could write there
 */
function privateFolder(): string {
  const uid = process.geteuid?.() ?? 0;
  const path = join(tmpdir(), `waep-${uid}`);
  mkdirSync(path, { recursive: true, mode: 0o700 });
  const found = lstatSync(path);
  if (found.isDirectory() && found.uid === uid && (found.mode & 0o077) === 0) return path;
  throw failure('ERR_FOLDER_UNSAFE', {
    path,
    why: 'it is not a folder of this user that nobody else can enter (mode 0700)',
    cure: 'Remove it, or name another folder in WAEP_CACHE_DIR.',
  });
}

/** The agent's one-file bundle, made by scripts/bundle.mjs. */
export const agentPath: string = join(packageFolder, 'dist/guest/agent.cjs');
