/* Decides whether a path that a program names belongs to the guest or to this machine. */
import { readlinkSync } from 'node:fs';
import { posix } from 'node:path';
import { native } from '../native.js';
import { isBelowKernel, isGuestPath, type MountFile } from '../view/index.js';
import type { Context } from './context.js';
import type { Notification } from './notification.js';
import { ProcessMemory } from './process-memory.js';

const PATH_MAX = 4096;
const AT_FDCWD = -100;

/**
 * The indexes of the arguments with the path, and with the folder at which a relative path begins.
 */
export interface PathArguments {
  readonly path: number;
  readonly folder?: number;
  /** Returns whether a call means a symbolic link itself, if the path ends with one. */
  readonly link?: (call: Notification) => boolean;
}

/** A path that a call names. */
export interface Place {
  readonly path: string;
  /** The same path, which may contain `..`. A part before it may be a symbolic link of the guest. */
  readonly text: string;
}

/**
 * Returns the text of a path. Returns undefined if the memory cannot be read or the path is too
 * long.
 */
export function pathAt(memory: ProcessMemory, address: bigint): string | undefined {
  const text = Buffer.from(memory.readText(address, PATH_MAX));
  return text.at(-1) === 0 ? text.toString('utf8', 0, text.length - 1) : undefined;
}

/**
 * Returns the absolute path that a call names, on this machine or in the guest. This machine's
 * symbolic links in it are followed. Returns undefined if the call names no path.
 */
export function absolutePath(
  call: Notification,
  context: Pick<Context, 'placeholders' | 'folders'>,
  { path, folder, link }: PathArguments,
): Place | undefined {
  const text = pathAt(new ProcessMemory(call, context.placeholders), call.word(path));
  if (text === undefined || text === '') return undefined;
  const whole = text.startsWith('/') ? text : `${baseOf(call, context, folder)}/${text}`;
  return throughLinks(whole, call, link);
}

const MOST_LINKS = 40;

/** Follows the links in a path until the path enters a folder of the kernel. */
function throughLinks(path: string, call: Notification, link: PathArguments['link']): Place {
  let place = { path: normal(path), text: path };
  const last = link?.(call) !== true;
  for (let links = 0; links < MOST_LINKS && !isBelowKernel(place.path); links++) {
    const text = native.followLink(call.thread, place.text, last);
    if (text === '') break;
    place = { path: normal(text), text };
  }
  return place;
}

/** Returns a path without `..`, as if no part of it were a symbolic link. */
function normal(path: string): string {
  const simple = !path.includes('//') && !path.includes('/.');
  const whole = simple ? path : posix.normalize(path);
  return whole.length > 1 && whole.endsWith('/') ? whole.slice(0, -1) : whole;
}

/** Returns the folder at which a relative path begins. */
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

/** Returns the guest's path that a call names. Returns undefined if the path is not the guest's. */
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

/**
 * Returns the guest's path for a path of the program. Returns undefined if the path is not the
 * guest's.
 */
export function guestPathOf(path: string, context: Pick<Context, 'own'>): string | undefined {
  if (!isBelowKernel(path)) return undefined;
  const [, id, rest = ''] =
    /^\/proc\/(self|thread-self|\d+)(?:\/task\/\d+)?(\/.*)?$/.exec(path) ?? [];
  if (id === undefined) return isGuestPath(path) ? path : undefined;
  if (/^\d/.test(id) && context.own.isForeign(path)) return path;
  // A path below the program's own /proc/PID/root means the same as the path without this prefix.
  if (rest.startsWith('/root/')) return guestPathOf(rest.slice('/root'.length), context);
  return rest === '/net' || rest.startsWith('/net/') ? `/proc${rest}` : undefined;
}

/** Returns the file that lists mounts, and the path of that file for the program's own process. */
export function mountFileOf(
  path: string,
  thread: number,
  { own }: Pick<Context, 'own'>,
): { file: MountFile; own: string } | undefined {
  if (path === '/proc/mounts') {
    return { file: 'mounts', own: `/proc/${thread}/mounts` };
  }
  const [, id, file] = /^\/proc\/(self|thread-self|\d+)\/(mounts|mountinfo)$/.exec(path) ?? [];
  if (id === undefined || (/^\d/.test(id) && own.isForeign(path))) return undefined;
  const process = /^\d/.test(id) ? id : thread;
  return { file: file as MountFile, own: `/proc/${process}/${file}` };
}

/** Resolves a path that contains `..`. The symbolic links in it are the guest's. */
export async function settled({ path, text }: Place, context: Context): Promise<string> {
  // Other links do not matter: only `..` leads to the parent of a link's target.
  const follows = (rest: readonly string[]) => rest.includes('..');
  return text.includes('/..') ? resolve(text, follows, context) : path;
}

/** Resolves the guest's symbolic links on the way to the last part of a path. */
export function throughFolders(path: string, context: Context): Promise<string> {
  return resolve(path, (rest) => rest.length > 0, context);
}

/** @param follows whether to follow a link, by the parts of the path behind it */
async function resolve(
  path: string,
  follows: (rest: readonly string[]) => boolean,
  context: Context,
): Promise<string> {
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
    const target =
      isGuestPath(next) && follows(parts) && links < MOST_LINKS
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
