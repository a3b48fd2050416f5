import { accessSync, constants, existsSync, lstatSync, mkdirSync, statSync } from 'node:fs';
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

/**
 * Returns the folder of one kind of thing in {@link cacheFolder}, for callers that also work without
 * a cache. Where there is no place for one, it is undefined.
 */
export function optionalCache(kind: string): string | undefined {
  try {
    return join(cacheFolder(), kind);
  } catch {
    return undefined;
  }
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
  makeFolder(path, { mode: 0o700 });
  const found = lstatSync(path);
  if (found.isDirectory() && found.uid === uid && (found.mode & 0o077) === 0) return path;
  throw failure('ERR_FOLDER_UNSAFE', {
    path,
    why: 'it is not a folder of this user that nobody else can enter (mode 0700)',
    cure: 'Remove it, or name another folder in WAEP_CACHE_DIR.',
  });
}

/**
 * Makes a folder and those that lead to it, unless they are there. Node's own `recursive` never ends
 * where the kernel answers ENOENT although the parent is there, as it does below /proc.
 *
 * @param options `mode` is for every folder that is made; `cure` ends the error's message
 * @throws ERR_FOLDER_UNUSABLE when the folder cannot be made
 */
export function makeFolder(
  path: string,
  {
    mode = 0o777,
    cure = 'Name another folder in WAEP_CACHE_DIR.',
  }: { mode?: number; cure?: string } = {},
): void {
  for (let again = false; ; again = true) {
    try {
      mkdirSync(path, { mode });
      return;
    } catch (error) {
      if (isFolder(path)) return;
      const { code } = error as NodeJS.ErrnoException;
      const parent = dirname(path);
      // Another process may make the parent at the same time. /proc takes no folder at all.
      if (code === 'ENOENT' && !again) {
        makeFolder(parent, { mode, cure });
        continue;
      }
      const why =
        code === 'EEXIST' ? 'it is no folder' : `no folder can be made in ${parent} (${code})`;
      throw failure('ERR_FOLDER_UNUSABLE', { path, why, cure }, error);
    }
  }
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

/** The agent's one-file bundle, made by scripts/bundle.mjs. */
export const agentPath: string = join(packageFolder, 'dist/guest/agent.cjs');
