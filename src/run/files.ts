/* Answers to what a program asks of files: those that tell it about the kernel are the guest's. */
import { constants } from 'node:fs';
import { constants as system } from 'node:os';
import type { FdKind } from '../bpf/index.js';
import type { Handle } from '../call.js';
import { failure, type SystemError, type WaepError } from '../errors.js';
import { native } from '../native.js';
import { isGuestCgroup, isGuestPath, isLive, isProgramFile, openGuestPipe } from '../view/index.js';
import type { Context } from './context.js';
import type { Notification } from './notification.js';
import { isForeign } from './own-processes.js';
import { isProbeDefinitions, refusal } from './probe-definitions.js';
import { ProcessMemory } from './process-memory.js';

const { errno } = system;
const PATH_MAX = 4096;
const ACCESS_MODE = constants.O_WRONLY | constants.O_RDWR;
const CLOSE_ON_EXEC = 0o2000000;
/** How tools open what they append a definition to. */
const APPENDED = constants.O_WRONLY | constants.O_APPEND;
const FALLBACK = ACCESS_MODE | constants.O_APPEND | constants.O_CREAT | constants.O_TRUNC;
const LISTED = constants.O_DIRECTORY | CLOSE_ON_EXEC;

/** What the kernel calls the files of its objects: anon_inode_getfd() in kernel/bpf. */
const fileNames: { readonly [K in FdKind]?: string } = {
  map: 'bpf-map',
  prog: 'bpf-prog',
  link: 'bpf_link',
  btf: 'btf',
  iter: 'bpf_iter',
  stats: 'bpf-stats',
  token: 'bpf-token',
};

/**
 * Answers open(2) and its kin.
 *
 * @param argument the path's
 * @param flagsAt where the flags are: in an argument, or in the structure that it points to
 */
export function openFile(argument: number, flagsAt: 'argument' | 'structure') {
  return async (call: Notification, context: Context): Promise<void> => {
    const memory = new ProcessMemory(call, context.placeholders);
    const path = pathAt(memory, call.word(argument));
    const described = path === undefined ? 0 : handleIn('fdinfo', path, memory);
    const root = path === undefined ? undefined : guestFolders.get(path);
    if (
      path === undefined ||
      (described === 0 && root === undefined && !isOfGuest(path, call.thread))
    ) {
      return call.proceed();
    }
    const how = Buffer.from(memory.read(call.word(argument + 1), flagsAt === 'structure' ? 8 : 0));
    if (flagsAt === 'structure' && how.length < 8) return call.proceed();
    const flags = flagsAt === 'structure' ? how.readUInt32LE() : call.argument(argument + 1);
    if (root !== undefined) return openRoot(call, path, flags, root, context);
    if ((flags & ACCESS_MODE) !== constants.O_RDONLY) {
      if (isProbeDefinitions(path)) {
        // Shells, which create what they write to, pass it on by another number.
        if ((flags & FALLBACK) === APPENDED && context.definitions.open(call)) return;
        throw refusal();
      }
      throw failure('ERR_RUN_REFUSED', {
        call: `writing to ${path}`,
        why: 'files of the guest can only be read',
        instead: 'Attach by a link or by perf_event_open(2), which need none of them.',
      });
    }
    const opened = described === 0 ? path : `/proc/self/fdinfo/${described}`;
    const fd = await open(opened, context).catch((error: SystemError) => error);
    if (fd instanceof Error) {
      // Folders that this machine has and the guest has not are found by listing, or in /proc/mounts.
      if (fd.code === 'ENOENT' && (flags & LISTED) === LISTED) throw unlisted(path);
      if (fd.code !== 'EISDIR') throw fd;
      return openFolder(call, path, (flags & CLOSE_ON_EXEC) !== 0, context);
    }
    try {
      call.giveDescriptor(fd, (flags & CLOSE_ON_EXEC) !== 0);
    } finally {
      native.close(fd);
    }
  };
}

/**
 * Folders of the guest that this machine has of its own: what is in them here. The bpf file system
 * that a program sees is empty (launcher_main.cc).
 */
const guestFolders: ReadonlyMap<string, 'nothing' | 'others'> = new Map([
  ['/sys/fs/bpf', 'nothing'],
  ['/sys/fs/bpf/', 'nothing'],
  ['/sys/fs/cgroup', 'others'],
  ['/sys/fs/cgroup/', 'others'],
]);

/** Opens one of {@link guestFolders}, which can be passed to others, but not be listed. */
async function openRoot(
  call: Notification,
  path: string,
  flags: number,
  holds: 'nothing' | 'others',
  context: Context,
): Promise<void> {
  // opendir(3) closes on exec; libbpf, which wants a descriptor to have a token made, does not.
  const listing = (flags & LISTED) === LISTED;
  if (listing && holds === 'others') throw unlisted(path);
  if (listing) context.complain(unlisted(path));
  if (holds === 'nothing') {
    const forToken = !listing && (flags & constants.O_DIRECTORY) !== 0;
    // Whoever may not open it in the guest may have no token made there either.
    const handle = forToken ? await context.session.open(path).catch(() => undefined) : undefined;
    return handle === undefined ? call.proceed() : giveFolder(call, handle, false, context);
  }
  return openFolder(call, path, (flags & CLOSE_ON_EXEC) !== 0, context);
}

function unlisted(path: string): WaepError {
  return failure('ERR_RUN_REFUSED', {
    call: `listing ${path}`,
    why: 'folders of the guest cannot be listed from here',
    instead: 'Name what is in it.',
  });
}

/** Opens a cgroup of the guest, of which bpf(2) is told by descriptor, or a folder to be listed. */
async function openFolder(
  call: Notification,
  path: string,
  closeOnExec: boolean,
  context: Context,
): Promise<void> {
  if (!isGuestCgroup(path)) {
    if (await context.folders.fill(path)) return call.proceed();
    throw unlisted(path);
  }
  return giveFolder(call, await context.session.open(path), closeOnExec, context);
}

/** Gives the program a descriptor that stands for a folder of the guest. */
async function giveFolder(
  call: Notification,
  handle: Handle,
  closeOnExec: boolean,
  { session, objects, placeholders }: Context,
): Promise<void> {
  objects.add(handle, 'cgroup');
  if (placeholders.create(handle, (fd) => call.giveDescriptor(fd, closeOnExec))) return;
  objects.remove(handle);
  await session.release([handle]);
}

/** Answers access(2) and its kin. */
export function accessFile(argument: number) {
  return async (call: Notification, context: Context): Promise<void> => {
    const memory = new ProcessMemory(call, context.placeholders);
    const path = pathAt(memory, call.word(argument));
    if (path === undefined || !isOfGuest(path, call.thread)) return call.proceed();
    if (!context.recent.has(path)) await context.files.access(path);
    call.succeed(0);
  };
}

/** Answers readlink(2) and its kin: by /proc/self/fd programs tell what a descriptor is. */
export function readLink(argument: number) {
  return async (call: Notification, context: Context): Promise<void> => {
    const memory = new ProcessMemory(call, context.placeholders);
    const path = pathAt(memory, call.word(argument));
    if (path !== undefined && isForeign(path, call.thread)) return call.fail(errno.ENOENT);
    const handle = path === undefined ? 0 : handleIn('fd', path, memory);
    const kind = handle === 0 ? undefined : await context.objects.find(handle);
    const name = kind === undefined ? undefined : fileNames[kind];
    if (name === undefined) return call.proceed();
    const text = Buffer.from(`anon_inode:${name}`).subarray(0, call.argument(argument + 2));
    memory.writeOrFault(call.word(argument + 1), text);
    call.succeed(text.length);
  };
}

/** Whether a path means something of the guest to a thread of the program. */
function isOfGuest(path: string, thread: number): boolean {
  return isGuestPath(path) || isForeign(path, thread);
}

/**
 * Answers stat(2) and its kin. What files of the guest's processes are like, and where their links
 * lead, cannot be asked for: they are said not to be there. This machine's processes of the same
 * ids are not meant.
 */
export function lookAtFile(argument: number) {
  return (call: Notification, context: Context): void => {
    const memory = new ProcessMemory(call, context.placeholders);
    const path = pathAt(memory, call.word(argument));
    if (path !== undefined && isForeign(path, call.thread)) call.fail(errno.ENOENT);
    else call.proceed();
  };
}

function pathAt(memory: ProcessMemory, address: bigint): string | undefined {
  const text = Buffer.from(memory.readText(address, PATH_MAX));
  return text.at(-1) === 0 ? text.toString('utf8', 0, text.length - 1) : undefined;
}

/** The object whose entry in /proc/self/fd or fdinfo a path names, or 0. */
function handleIn(folder: 'fd' | 'fdinfo', path: string, memory: ProcessMemory): Handle {
  const [, found, descriptor] =
    /^\/proc\/(?:self|thread-self|\d+)\/(fd|fdinfo)\/(\d+)$/.exec(path) ?? [];
  return found === folder ? memory.handleOf(Number(descriptor)) : 0;
}

function open(path: string, { session, files, recent }: Context): Promise<number> {
  if (isLive(path)) return openGuestPipe(session, path);
  return isProgramFile(path) ? recent.open(path) : files.open(path);
}
