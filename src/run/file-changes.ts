/*
 * Answers calls that change files of the guest. waep makes them in the guest's BPF file system,
 * makes and removes cgroups, and refuses everything else.
 */
import { constants } from 'node:os';
import { FileOperation, type FileRequest } from '../call.js';
import { failure, type SystemError } from '../errors.js';
import { askFile } from '../kernel/guest-folder.js';
import { isBelowKernel, isCgroupPath, isPinPath } from '../view/index.js';
import type { Context } from './context.js';
import { forms } from './file-status.js';
import { ofGuest } from './files.js';
import type { Notification } from './notification.js';
import {
  absolutePath,
  guestPlace,
  type PathArguments,
  pathAt,
  settled,
  throughFolders,
} from './places.js';
import { ProcessMemory } from './process-memory.js';

const { errno } = constants;
const AT_REMOVEDIR = 0x200;
const FOLDER = 0o040000;
const FILE_TYPE = 0o170000;

async function change(request: FileRequest, call: Notification, context: Context): Promise<void> {
  const options = { without: call.lost };
  try {
    await askFile(context.session, request, options);
  } catch (error) {
    if ((error as SystemError).code !== 'ELOOP') throw error;
    // The agent follows no link, because its policy judges the folder that is changed.
    const path = await throughFolders(request.path, context);
    await askFile(context.session, { ...request, path }, options);
  }
  call.succeed(0);
}

/** How a folder is made at a path, and what is there removed. */
interface Operations {
  readonly make: number;
  readonly remove: number;
  /** Undefined where a program cannot remove files. */
  readonly unlink?: number;
}

const ofPins: Operations = {
  make: FileOperation.MKDIR,
  remove: FileOperation.RMDIR,
  unlink: FileOperation.UNLINK,
};
const ofCgroups: Operations = {
  make: FileOperation.MKDIR_CGROUP,
  remove: FileOperation.RMDIR_CGROUP,
};

function operationsAt(path: string): Operations | undefined {
  return isPinPath(path) ? ofPins : isCgroupPath(path) ? ofCgroups : undefined;
}

/** Fails as the kernel does. Programs try unlink(2) on folders before they try rmdir(2). */
async function refuseUnlink(path: string, call: Notification, { files }: Context): Promise<void> {
  const mode = (await files.look(path, false)).readUInt16LE(forms.MODE);
  call.fail((mode & FILE_TYPE) === FOLDER ? errno.EISDIR : errno.EPERM);
}

/** Answers mkdir(2) and mkdirat(2). The mode is the argument after the path. */
export function makeFolder(which: PathArguments) {
  return ofGuest(which, async (path, call, context) => {
    const operation = operationsAt(path)?.make;
    if (operation !== undefined) {
      const number = call.argument(which.path + 1);
      return change({ operation, path, number }, call, context);
    }
    // A program that creates all folders of a path starts with folders that exist.
    if (await exists(path, context)) return call.fail(errno.EEXIST);
    throw refusal('mkdir(2)', path);
  });
}

async function exists(path: string, { files }: Context): Promise<boolean> {
  try {
    await files.look(path, false);
    return true;
  } catch (error) {
    if ((error as SystemError).code === 'ENOENT') return false;
    throw error;
  }
}

/**
 * Answers unlink(2), rmdir(2) and unlinkat(2).
 *
 * @param name the call, or the index of the flags of unlinkat(2), which decide between the two
 */
export function remove(which: PathArguments, name: 'unlink' | 'rmdir' | { flags: number }) {
  return ofGuest(which, (path, call, context) => {
    const isFolder =
      typeof name === 'string'
        ? name === 'rmdir'
        : (call.argument(name.flags) & AT_REMOVEDIR) !== 0;
    const operations = operationsAt(path);
    if (operations === undefined) throw refusal(isFolder ? 'rmdir(2)' : 'unlink(2)', path);
    const operation = isFolder ? operations.remove : operations.unlink;
    if (operation === undefined) return refuseUnlink(path, call, context);
    return change({ operation, path }, call, context);
  });
}

/**
 * Answers rename(2), renameat(2) and renameat2(2).
 *
 * @param flags the index of the argument with the flags of renameat2(2)
 */
export function rename(from: PathArguments, to: PathArguments, flags?: number) {
  return async (call: Notification, context: Context): Promise<void> => {
    const [old, next] = [from, to].map((which) => guestPlace(call, context, which));
    if (old === undefined && next === undefined) return call.proceed();
    if (old === undefined || next === undefined) return call.fail(errno.EXDEV);
    const path = await settled(old, context);
    const other = await settled(next, context);
    if (!isPinPath(path) || !isPinPath(other)) throw refusal('rename(2)', path);
    const number = flags === undefined ? 0 : call.argument(flags);
    return change({ operation: FileOperation.RENAME, path, other, number }, call, context);
  };
}

/**
 * Answers symlink(2) and symlinkat(2). Their first argument is the path to which the link leads. tc(8)
 * and ip(8) make such links before they load a program.
 */
export function makeLink(which: PathArguments) {
  return ofGuest(which, (path, call, context) => {
    const target = pathAt(new ProcessMemory(call, context.placeholders), call.word(0)) ?? '';
    if (!isPinPath(path) || !isPinPath(target)) throw refusal('symlink(2)', path);
    return change({ operation: FileOperation.SYMLINK, path, other: target }, call, context);
  });
}

/** Refuses a call that changes or watches a file of the guest. */
export function refuseChange(name: string, which: PathArguments) {
  return ofGuest(which, (path) => {
    throw refusal(`${name}(2)`, path);
  });
}

/** The flags of mount(2) with which it makes no mount of a new file system. */
const MS_REMOUNT = 0x20;
const MS_BIND = 0x1000;
const MS_MOVE = 0x2000;
const MS_PROPAGATION = 0x1e0000;
/** The file systems in which a kernel describes itself. */
const ofKernel: ReadonlySet<string> = new Set([
  ...['bpf', 'cgroup', 'cgroup2', 'configfs', 'debugfs', 'proc', 'pstore', 'securityfs'],
  ...['selinuxfs', 'sysfs', 'tracefs'],
]);
const refuseMount = refuseChange('mount', { path: 1 });

/** Answers mount(2). It refuses to show files of this machine's kernel at another place. */
export function mount(call: Notification, context: Context): void | Promise<void> {
  const memory = new ProcessMemory(call, context.placeholders);
  const flags = call.argument(3);
  const source = { path: 0 };
  if ((flags & (MS_BIND | MS_MOVE)) !== 0) {
    const place = guestPlace(call, context, source);
    if (place !== undefined) throw ofHost(`mount(2) of ${place.path} at another place`);
  } else if ((flags & (MS_REMOUNT | MS_PROPAGATION)) === 0) {
    const type = pathAt(memory, call.word(2)) ?? '';
    const target = absolutePath(call, context, { path: 1 });
    const elsewhere = target !== undefined && !isBelowKernel(target.path);
    if (elsewhere && ofKernel.has(type)) throw ofHost(`mount(2) of ${type} on ${target.path}`);
  }
  return refuseMount(call, context);
}

function ofHost(call: string) {
  return failure('ERR_RUN_REFUSED', {
    call,
    why: "it would show files of this machine's kernel, and not the guest's",
    instead: "Use the guest's files at their own places, such as /proc and /sys/fs/bpf.",
  });
}

function refusal(call: string, path: string) {
  return failure('ERR_RUN_REFUSED', {
    call: `${call} of ${path}`,
    why: "of the guest's files only pins, folders and links in /sys/fs/bpf are made, moved and removed, and cgroups made and removed",
    instead: 'Do it in the guest.',
  });
}
