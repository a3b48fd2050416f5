/* Answers system calls about files. The files that describe the kernel are the guest's. */
import { constants, readFileSync, readlinkSync, statSync } from 'node:fs';
import { constants as system } from 'node:os';
import type { FdKind } from '../bpf/index.js';
import type { Handle } from '../call.js';
import { failure, type SystemError, type WaepError } from '../errors.js';
import { native } from '../native.js';
import {
  copiedFrom,
  isKernelDevice,
  isLive,
  isNamespace,
  isProcessRoot,
  isProgramFile,
  mergeMounts,
  openGuestPipe,
} from '../view/index.js';
import type { Context } from './context.js';
import { forms } from './file-status.js';
import type { Notification } from './notification.js';
import {
  absolutePath,
  guestPathOf,
  guestPlace,
  mountFileOf,
  type PathArguments,
  settled,
} from './places.js';
import { definitionsIn, unseen } from './probe-definitions.js';
import { ProcessMemory } from './process-memory.js';

const { errno } = system;
const ACCESS_MODE = constants.O_WRONLY | constants.O_RDWR;
const CLOSE_ON_EXEC = 0o2000000;
/** The flags with which tools open a file of definitions to append to it. */
const APPENDED = constants.O_WRONLY | constants.O_APPEND;
const FALLBACK = ACCESS_MODE | constants.O_APPEND | constants.O_CREAT | constants.O_TRUNC;
const CREATED_ANEW = constants.O_CREAT | constants.O_EXCL;
const SEEK_SET = 0;
const FOLDER = 0o040000;
const FILE_TYPE = 0o170000;

/**
 * The names that the kernel gives to the files of its objects: anon_inode_getfd() in kernel/bpf.
 */
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
 * Those of objects that were there before. anon_inode_getfd() in bpf_link_new_fd() and
 * anon_inode_getfile() in bpf_link_prime() have different names for a link.
 */
const foundNames: { readonly [K in FdKind]?: string } = { link: 'bpf-link' };

/** Answers a call about a path of the guest. */
type PathAnswer = (path: string, call: Notification, context: Context) => void | Promise<void>;

/**
 * Lets `answer` handle a call about a path of the guest. This machine's kernel makes any other
 * call.
 */
export function ofGuest(which: PathArguments, answer: PathAnswer) {
  return async (call: Notification, context: Context): Promise<void> => {
    const place = guestPlace(call, context, which);
    if (place === undefined) return call.proceed();
    return answer(await settled(place, context), call, context);
  };
}

/**
 * Answers open(2) and its variants.
 *
 * @param flagsAt where the flags are: in the argument after the path (`argument`), in the structure
 *   to which this argument points (`structure`), or nowhere, as for creat(2) (`created`)
 */
export function openFile(which: PathArguments, flagsAt: 'argument' | 'structure' | 'created') {
  return async (call: Notification, context: Context): Promise<void> => {
    const memory = new ProcessMemory(call, context.placeholders);
    const flags = flagsOf(call, memory, which.path + 1, flagsAt);
    if (flags === undefined) return call.proceed();
    const named = absolutePath(call, context, { ...which, link: () => meansLink(flags) });
    if (named === undefined) return call.proceed();
    if (isKernelDevice(named.path)) throw ofHost(`opening ${named.path}`);
    const described = handleIn('fdinfo', named.path, call, context);
    const mounted = mountFileOf(named.path, call.thread, context);
    const ofGuest = guestPathOf(named.path, context);
    if (described === 0 && mounted === undefined && ofGuest === undefined) return call.proceed();
    const closeOnExec = (flags & CLOSE_ON_EXEC) !== 0;
    if (mounted !== undefined) {
      const own = readFileSync(mounted.own, 'utf8');
      const guests = Buffer.from(await context.files.bytes(`/proc/self/${mounted.file}`));
      const merged = mergeMounts(mounted.file, own, guests.toString());
      return giveFile(call, context.files.hold(Buffer.from(merged)), closeOnExec);
    }
    if (described !== 0) {
      const path = `/proc/self/fdinfo/${described}`;
      return giveFile(call, await context.files.open(path), closeOnExec);
    }
    const path = await settled({ ...named, path: ofGuest as string }, context);
    if ((flags & ACCESS_MODE) !== constants.O_RDONLY)
      return openToWrite(path, flags, call, context);
    if (isNamespace(path)) return openObject(call, path, 'netns', closeOnExec, context);
    if (isProcessRoot(path)) return openObject(call, path, 'directory', closeOnExec, context);
    if ((flags & constants.O_DIRECTORY) === 0) {
      try {
        const fd = await open(path, context);
        if ((flags & constants.O_NONBLOCK) !== 0) native.setBlocking(fd, false);
        return giveFile(call, fd, closeOnExec);
      } catch (error) {
        if ((error as SystemError).code !== 'EISDIR') throw error;
      }
    } else if ((await context.files.look(path)).readUInt16LE(forms.MODE) >> 12 !== FOLDER >> 12) {
      return call.fail(errno.ENOTDIR);
    }
    return openObject(call, path, kindOf(path), closeOnExec, context);
  };
}

/** Returns whether open(2) with these flags does not follow a link at the end of the path. */
function meansLink(flags: number): boolean {
  return (flags & constants.O_NOFOLLOW) !== 0 || (flags & CREATED_ANEW) === CREATED_ANEW;
}

function flagsOf(
  call: Notification,
  memory: ProcessMemory,
  argument: number,
  flagsAt: 'argument' | 'structure' | 'created',
): number | undefined {
  if (flagsAt === 'argument') return call.argument(argument);
  if (flagsAt === 'created') return constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC;
  const how = Buffer.from(memory.read(call.word(argument), 8));
  return how.length < 8 ? undefined : how.readUInt32LE();
}

function openToWrite(path: string, flags: number, call: Notification, context: Context): void {
  const kind = definitionsIn(path);
  if (kind !== undefined) {
    // A shell opens with O_CREAT or O_TRUNC and duplicates the descriptor to another number. waep
    // does not see writes to that number.
    if ((flags & FALLBACK) === APPENDED && context.definitions.open(call, kind)) return;
    throw unseen(path);
  }
  throw failure('ERR_RUN_REFUSED', {
    call: `writing to ${path}`,
    why: 'files of the guest can only be read',
    instead: 'Attach by a link or by perf_event_open(2), which need none of them.',
  });
}

function ofHost(call: string): WaepError {
  return failure('ERR_RUN_REFUSED', {
    call,
    why: 'it tells of the kernel of this host',
    instead: 'Look at it in the guest.',
  });
}

/** Refuses syslog(2). */
export function readKernelLog(): never {
  throw ofHost('syslog(2)');
}

/** Gives the program a copy of a descriptor, and closes the descriptor here. */
function giveFile(call: Notification, fd: number, closeOnExec: boolean): void {
  try {
    call.giveDescriptor(fd, closeOnExec);
  } finally {
    native.close(fd);
  }
}

function kindOf(path: string): FdKind {
  return path === '/sys/fs/cgroup' || path.startsWith('/sys/fs/cgroup/') ? 'cgroup' : 'directory';
}

/**
 * Opens an object of the guest that the program lists or passes to calls: a folder, or the
 * namespace of a process.
 */
async function openObject(
  call: Notification,
  path: string,
  kind: FdKind,
  closeOnExec: boolean,
  { session, files, objects, placeholders, folders }: Context,
): Promise<void> {
  const handle = session.newHandle();
  // /proc/PID/root is not opened in the guest. The program only uses it as the beginning of longer
  // paths.
  if (isProcessRoot(path)) await files.look(path, false);
  else await session.open(path, { handle });
  objects.add(handle, kind);
  if (kind !== 'netns') folders.add(handle, path);
  placeholders.create(handle, (fd) => call.giveDescriptor(fd, closeOnExec));
}

/** Answers access(2) and its variants. */
export function accessFile(which: PathArguments) {
  return ofGuest(which, async (path, call, context) => {
    if (context.recent.has(path)) return call.succeed(0);
    const mode = (await look(path, which.link?.(call) !== true, context)).readUInt16LE(forms.MODE);
    const executes = (call.argument(which.path + 1) & constants.X_OK) !== 0;
    if (executes && (mode & FILE_TYPE) !== FOLDER && (mode & 0o111) === 0) call.fail(errno.EACCES);
    else call.succeed(0);
  });
}

/**
 * Answers stat(2) and its variants.
 *
 * @param result the index of the argument that points to the result
 */
export function lookAtFile(which: PathArguments, form: 'stat' | 'statx', result: number) {
  return ofGuest(which, async (path, call, context) => {
    const facts = await look(path, which.link?.(call) !== true, context);
    const memory = new ProcessMemory(call, context.placeholders);
    memory.writeOrFault(call.word(result), forms[form](facts));
    call.succeed(0);
  });
}

/** Answers statfs(2). */
export const lookAtFileSystem = ofGuest({ path: 0 }, async (path, call, context) => {
  const status = await context.files.fileSystem(path);
  new ProcessMemory(call, context.placeholders).writeOrFault(call.word(1), status);
  call.succeed(0);
});

/** The flag of the *at calls by which an empty path names the descriptor itself. */
export const AT_EMPTY_PATH = 0x1000;
/** FILEID_KERNFS: the handle is the inode number, which is the id of a cgroup. */
const ID_HANDLE = { type: 0xfe, bytes: 8 } as const;
const CGROUP2 = 0x63677270;

const giveHandle: PathAnswer = async (path, call, { files, placeholders }) => {
  const system = Buffer.from(await files.fileSystem(path));
  if (system.readUInt32LE() !== CGROUP2) {
    throw failure('ERR_RUN_REFUSED', {
      call: `name_to_handle_at(2) of ${path}`,
      why: 'only the id of a cgroup means the same on this machine',
      instead: 'Name the file by its path.',
    });
  }
  const memory = new ProcessMemory(call, placeholders);
  const address = call.word(2);
  const room = Buffer.from(memory.read(address, 4));
  if (room.length < 4) return call.fail(errno.EFAULT);
  const written = Buffer.alloc(8 + ID_HANDLE.bytes);
  written.writeUInt32LE(ID_HANDLE.bytes, 0);
  if (room.readUInt32LE() < ID_HANDLE.bytes) {
    memory.writeOrFault(address, written.subarray(0, 4));
    return call.fail(errno.EOVERFLOW);
  }
  written.writeInt32LE(ID_HANDLE.type, 4);
  (await files.look(path)).copy(written, 8, forms.INODE, forms.INODE + 8);
  memory.writeOrFault(address, written);
  // The id of the mount. No mount of this machine corresponds to it.
  memory.writeOrFault(call.word(3), Buffer.alloc(4));
  call.succeed(0);
};
const handleOfPath = ofGuest({ folder: 0, path: 1 }, giveHandle);

/** Answers name_to_handle_at(2). Programs learn the id of a cgroup by this call. */
export function makeFileHandle(call: Notification, context: Context): void | Promise<void> {
  const { folders, placeholders } = context;
  const first = new ProcessMemory(call, placeholders).read(call.word(1), 1)[0];
  const isEmpty = first === 0 && (call.argument(4) & AT_EMPTY_PATH) !== 0;
  const handle = isEmpty ? placeholders.handleOf(call.thread, call.descriptor(0)) : 0;
  const path = handle === 0 ? undefined : folders.pathOf(handle);
  return path === undefined ? handleOfPath(call, context) : giveHandle(path, call, context);
}

/** Answers fstatfs(2). */
export async function describeFileSystem(call: Notification, context: Context): Promise<void> {
  const handle = context.placeholders.handleOf(call.thread, call.descriptor(0));
  const path = handle === 0 ? undefined : context.folders.pathOf(handle);
  if (path === undefined) return call.proceed();
  const status = await context.files.fileSystem(path);
  new ProcessMemory(call, context.placeholders).writeOrFault(call.word(1), status);
  call.succeed(0);
}

/**
 * Answers readlink(2) and its variants. Programs read /proc/self/fd to learn what a descriptor is.
 */
export function readLink(which: PathArguments) {
  return async (call: Notification, context: Context): Promise<void> => {
    const named = absolutePath(call, context, which);
    if (named === undefined) return call.proceed();
    const memory = new ProcessMemory(call, context.placeholders);
    const handle = handleIn('fd', named.path, call, context);
    const ofGuest = guestPathOf(named.path, context);
    let text: Buffer;
    if (handle !== 0) {
      const name = context.folders.pathOf(handle) ?? (await nameOf(handle, context));
      if (name === undefined) return call.proceed();
      text = Buffer.from(name);
    } else if (ofGuest !== undefined) {
      const path = await settled({ ...named, path: ofGuest }, context);
      text = await context.files.link(path);
    } else {
      return call.proceed();
    }
    text = text.subarray(0, call.argument(which.path + 2));
    memory.writeOrFault(call.word(which.path + 1), text);
    call.succeed(text.length);
  };
}

async function nameOf(handle: Handle, { objects }: Context): Promise<string | undefined> {
  const kind = await objects.find(handle);
  if (kind === undefined) return undefined;
  const name = (objects.isFound(handle) ? foundNames[kind] : undefined) ?? fileNames[kind];
  return name === undefined ? undefined : `anon_inode:${name}`;
}

/**
 * Answers chdir(2). The program enters this machine's folder with the same path. waep then resolves
 * relative paths from there as the guest's.
 */
export const changeFolder = ofGuest({ path: 0 }, async (path, call, context) => {
  const mode = (await context.files.look(path)).readUInt16LE(forms.MODE);
  if ((mode & FILE_TYPE) !== FOLDER) return call.fail(errno.ENOTDIR);
  const here = statSync(`/proc/${call.thread}/root${path}`, { throwIfNoEntry: false });
  if (here?.isDirectory() === true) return call.proceed();
  throw unentered(`chdir(2) to ${path}`);
});

/** Answers fchdir(2). */
export function changeToDescriptor(call: Notification, { placeholders, folders }: Context): void {
  const handle = placeholders.handleOf(call.thread, call.descriptor(0));
  const path = handle === 0 ? undefined : folders.pathOf(handle);
  if (path !== undefined) throw unentered(`fchdir(2) to ${path}`);
  call.proceed();
}

function unentered(call: string): WaepError {
  return failure('ERR_RUN_REFUSED', {
    call,
    why: 'this machine has no such folder, and a working directory is always one of its own',
    instead: 'Name files of the guest by their whole paths.',
  });
}

/**
 * Answers getxattr(2) and its variants. waep shows no attributes: files of a kernel rarely have
 * any.
 */
export const lackAttribute = (which: PathArguments) =>
  ofGuest(which, (_, call) => call.fail(errno.ENODATA));

/** Answers listxattr(2) and its variants. */
export const listNoAttributes = (which: PathArguments) =>
  ofGuest(which, (_, call) => call.succeed(0));

/** Answers getdents64(2). */
export async function listDescriptor(call: Notification, context: Context): Promise<void> {
  const { placeholders, folders } = context;
  const handle = placeholders.handleOf(call.thread, call.descriptor(0));
  if (handle === 0) return call.proceed();
  if (folders.pathOf(handle) === undefined) return call.fail(errno.ENOTDIR);
  const records = await folders.next(handle, call.argument(2));
  if (records === undefined) return call.fail(errno.EINVAL);
  if (records.length > 0) {
    new ProcessMemory(call, placeholders).writeOrFault(call.word(1), records);
  }
  call.succeed(records.length);
}

/**
 * Answers lseek(2) to the beginning. It starts the listing of a folder again, and a file of the
 * guest's kernel then has its present contents, which tools such as vmstat and top rely on.
 */
export async function seekDescriptor(call: Notification, context: Context): Promise<void> {
  const { placeholders, folders } = context;
  const handle = placeholders.handleOf(call.thread, call.descriptor(0));
  if (handle === 0) return readAgain(call, context);
  if (folders.pathOf(handle) === undefined) return call.proceed();
  folders.rewind(handle);
  call.succeed(0);
}

async function readAgain(call: Notification, context: Context): Promise<void> {
  const [descriptor, offset, whence] = [call.descriptor(0), call.word(1), call.argument(2)];
  const isRewound = offset === 0n && whence === SEEK_SET;
  const path = isRewound ? copiedFrom(linkOf(call.thread, descriptor)) : undefined;
  if (path === undefined || isProgramFile(path)) return call.proceed();
  let fd: number;
  try {
    fd = await open(path, context);
  } catch {
    // What the file is about may have ended. Its last contents are still there.
    return call.proceed();
  }
  try {
    if (call.replaceDescriptor(fd, descriptor)) call.succeed(0);
    else call.proceed();
  } finally {
    native.close(fd);
  }
}

function linkOf(thread: number, descriptor: number): string {
  try {
    return readlinkSync(`/proc/${thread}/fd/${descriptor}`);
  } catch {
    return '';
  }
}

/**
 * Returns the object whose entry in /proc/self/fd or fdinfo a path names, or 0. The path may name
 * another process of the program. Descriptors of a process of the guest are the guest's.
 */
function handleIn(
  folder: 'fd' | 'fdinfo',
  path: string,
  call: Notification,
  { own, placeholders }: Context,
): Handle {
  const [, id, found, descriptor] =
    /^\/proc\/(self|thread-self|\d+)\/(fd|fdinfo)\/(\d+)$/.exec(path) ?? [];
  if (id === undefined || found !== folder) return 0;
  if (!/^\d/.test(id)) return placeholders.handleOf(call.thread, Number(descriptor));
  return own.isForeign(path) ? 0 : placeholders.handleOf(Number(id), Number(descriptor));
}

/**
 * Returns the status of a path. The path may exist only because the program has defined a probe.
 */
function look(path: string, follow: boolean, { files, definitions }: Context): Promise<Buffer> {
  return files.look(definitions.like(path) ?? path, follow);
}

async function open(path: string, context: Context): Promise<number> {
  const { session, files, recent, definitions } = context;
  if (isLive(path)) return openGuestPipe(session, path);
  const text = definitions.textOf(path);
  if (text !== undefined) return files.hold(Buffer.from(text));
  const kind = definitionsIn(path);
  if (kind !== undefined) {
    const own = Buffer.from(definitions.list(kind));
    return files.hold(Buffer.concat([await files.bytes(path), own]), path);
  }
  return isProgramFile(path) ? recent.open(path) : files.open(path);
}
