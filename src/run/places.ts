/* Where the paths that a program names lead to: to the guest, or to this machine. */
import { readlinkSync } from 'node:fs';
import { posix } from 'node:path';
import { isBelowKernel, isGuestPath, type MountFile } from '../view/index.js';
import type { Context } from './context.js';
import type { Notification } from './notification.js';
import { ProcessMemory } from './process-memory.js';

const PATH_MAX = 4096;
const AT_FDCWD = -100;

/** Which argument of a call is a path, and which one the folder that it begins at, if one is. */
export interface PathArguments {
  readonly path: number;
  readonly folder?: number;
}

/** A path of the guest's that a call names. */
export interface Place {
  readonly path: string;
  /** Whether the program climbed to it, past what may be links. */
  readonly climbs: boolean;
}

/** The text of a path, unless the memory is not there or it is too long. */
export function pathAt(memory: ProcessMemory, address: bigint): string | undefined {
  const text = Buffer.from(memory.readText(address, PATH_MAX));
  return text.at(-1) === 0 ? text.toString('utf8', 0, text.length - 1) : undefined;
}

/** The absolute path that a call names, whoever's it is; undefined where it names none. */
export function absolutePath(
  call: Notification,
  context: Pick<Context, 'placeholders' | 'folders'>,
  { path, folder }: PathArguments,
): Place | undefined {
  const text = pathAt(new ProcessMemory(call, context.placeholders), call.word(path));
  if (text === undefined || text === '') return undefined;
  const whole = text.startsWith('/') ? text : `${baseOf(call, context, folder)}/${text}`;
  const climbs = whole.includes('/..');
  const simple = !climbs && !whole.includes('//') && !whole.includes('/.');
  return { path: withoutSlash(simple ? whole : posix.normalize(whole)), climbs };
}

function withoutSlash(path: string): string {
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}

/** The folder that a relative path begins at. */
function baseOf(
  call: Notification,
  { placeholders, folders }: Pick<Context, 'placeholders' | 'folders'>,
  folder: number | undefined,
): string {
  const descriptor = folder === undefined ? AT_FDCWD : call.descriptor(folder);
  try {
    if (descriptor === AT_FDCWD) return readlinkSync(`/proc/${call.thread}/cwd`);
    const handle = placeholders.handleOf(call.thread, descriptor);
    const known = handle === 0 ? undefined : folders.pathOf(handle);
    return known ?? readlinkSync(`/proc/${call.thread}/fd/${descriptor}`);
  } catch {
    return '';
  }
}

/** The path of the guest's that a call names, or undefined where it is none of the guest's. */
export function guestPlace(
  call: Notification,
  context: Pick<Context, 'placeholders' | 'folders' | 'own'>,
  which: PathArguments,
): Place | undefined {
  const place = absolutePath(call, context, which);
  if (place === undefined) return undefined;
  const path = guestPathOf(place.path, context);
  return path === undefined ? undefined : { ...place, path };
}

/** What a path of the program's is in the guest, or undefined where it is none of the guest's. */
export function guestPathOf(path: string, context: Pick<Context, 'own'>): string | undefined {
  if (!isBelowKernel(path)) return undefined;
  const [, id, rest = ''] =
    /^\/proc\/(self|thread-self|\d+)(?:\/task\/\d+)?(\/.*)?$/.exec(path) ?? [];
  if (id === undefined) return isGuestPath(path) ? path : undefined;
  if (/^\d/.test(id) && context.own.isForeign(path)) return path;
  // What the program's own root leads to is named by its path as well.
  if (rest.startsWith('/root/')) return guestPathOf(rest.slice('/root'.length), context);
  return rest === '/net' || rest.startsWith('/net/') ? `/proc${rest}` : undefined;
}

/** The file by which a program asks what is mounted for it, and of which process. */
export function mountFileOf(
  path: string,
  thread: number,
  { own }: Pick<Context, 'own'>,
): { file: MountFile; own: string } | undefined {
  if (path === '/proc/mounts' || path === '/etc/mtab') {
    return { file: 'mounts', own: `/proc/${thread}/mounts` };
  }
  const [, id, file] = /^\/proc\/(self|thread-self|\d+)\/(mounts|mountinfo)$/.exec(path) ?? [];
  if (id === undefined || (/^\d/.test(id) && own.isForeign(path))) return undefined;
  const process = /^\d/.test(id) ? id : thread;
  return { file: file as MountFile, own: `/proc/${process}/${file}` };
}

/** Where a path of the guest's leads that was climbed to: links on the way are the guest's. */
export async function settled(
  { path, climbs }: Place,
  call: Notification,
  context: Context,
  which: PathArguments,
): Promise<string> {
  if (!climbs) return path;
  const text = pathAt(new ProcessMemory(call, context.placeholders), call.word(which.path)) ?? '';
  const whole = text.startsWith('/') ? text : `${baseOf(call, context, which.folder)}/${text}`;
  return resolve(whole, context);
}

const MOST_LINKS = 40;

async function resolve(path: string, context: Context): Promise<string> {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  let reached = '';
  for (let links = 0; parts.length > 0; ) {
    const part = parts.shift() as string;
    if (part === '..') {
      reached = posix.dirname(reached === '' ? '/' : reached);
      if (reached === '/') reached = '';
      continue;
    }
    const next = `${reached}/${part}`;
    // Only before it is climbed out of, a folder has to be known by its own path.
    const target =
      isGuestPath(next) && parts.includes('..') && links < MOST_LINKS
        ? await context.files.link(next).catch(() => undefined)
        : undefined;
    if (target === undefined) {
      reached = next;
      continue;
    }
    links++;
    const text = target.toString();
    if (text.startsWith('/')) reached = '';
    parts.unshift(...text.split('/').filter((one) => one !== '' && one !== '.'));
  }
  return reached === '' ? '/' : reached;
}
