/* Answers to what a program asks of files: those that tell it about the kernel are the guest's. */
import { constants } from 'node:fs';
import type { FdKind } from '../bpf/index.js';
import type { Handle } from '../call.js';
import { failure, type SystemError } from '../errors.js';
import { native } from '../native.js';
import { isGuestCgroup, isGuestPath, isLive, openGuestPipe } from '../view/index.js';
import type { Guest } from './guest.js';
import type { Notification } from './notification.js';
import { ProcessMemory } from './process-memory.js';

const PATH_MAX = 4096;
const ACCESS_MODE = constants.O_WRONLY | constants.O_RDWR;
const CLOSE_ON_EXEC = 0o2000000;

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
  return async (call: Notification, guest: Guest): Promise<void> => {
    const memory = new ProcessMemory(call.thread, guest.placeholders);
    const path = pathAt(memory, call.word(argument));
    const described = path === undefined ? 0 : handleIn('fdinfo', path, memory);
    if (path === undefined || (described === 0 && !isGuestPath(path))) return call.proceed();
    const how = memory.read(call.word(argument + 1), flagsAt === 'structure' ? 8 : 0);
    const flags =
      flagsAt === 'structure' ? Buffer.from(how).readUInt32LE() : call.argument(argument + 1);
    if ((flags & ACCESS_MODE) !== constants.O_RDONLY) {
      throw failure('ERR_RUN_REFUSED', {
        call: `writing to ${path}`,
        why: 'files of the guest can only be read',
        instead: 'Attach by a link or by perf_event_open(2), which need none of them.',
      });
    }
    const opened = described === 0 ? path : `/proc/self/fdinfo/${described}`;
    const fd = await open(opened, guest).catch((error: SystemError) => error);
    if (fd instanceof Error) {
      if (fd.code !== 'EISDIR') throw fd;
      return openFolder(call, path, (flags & CLOSE_ON_EXEC) !== 0, guest);
    }
    try {
      call.giveDescriptor(fd, (flags & CLOSE_ON_EXEC) !== 0);
    } finally {
      native.close(fd);
    }
  };
}

/** Opens a cgroup of the guest, of which bpf(2) is told by descriptor. Other folders are not seen. */
async function openFolder(
  call: Notification,
  path: string,
  closeOnExec: boolean,
  { session, objects, placeholders }: Guest,
): Promise<void> {
  if (!isGuestCgroup(path)) return call.proceed();
  const handle = await session.open(path);
  objects.add(handle, 'cgroup');
  if (placeholders.create(handle, (fd) => call.giveDescriptor(fd, closeOnExec))) return;
  objects.remove(handle);
  await session.release([handle]);
}

/** Answers access(2) and its kin. */
export function accessFile(argument: number) {
  return async (call: Notification, guest: Guest): Promise<void> => {
    const memory = new ProcessMemory(call.thread, guest.placeholders);
    const path = pathAt(memory, call.word(argument));
    if (path === undefined || !isGuestPath(path)) return call.proceed();
    await guest.files.access(path);
    call.succeed(0);
  };
}

/** Answers readlink(2) and its kin: by /proc/self/fd programs tell what a descriptor is. */
export function readLink(argument: number) {
  return async (call: Notification, guest: Guest): Promise<void> => {
    const memory = new ProcessMemory(call.thread, guest.placeholders);
    const path = pathAt(memory, call.word(argument));
    const handle = path === undefined ? 0 : handleIn('fd', path, memory);
    const kind = handle === 0 ? undefined : await guest.objects.find(handle);
    const name = kind === undefined ? undefined : fileNames[kind];
    if (name === undefined) return call.proceed();
    const text = Buffer.from(`anon_inode:${name}`).subarray(0, call.argument(argument + 2));
    memory.writeOrFault(call.word(argument + 1), text);
    call.succeed(text.length);
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

function open(path: string, { session, files }: Guest): Promise<number> {
  return isLive(path) ? openGuestPipe(session, path) : files.open(path);
}
