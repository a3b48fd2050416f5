/*
 * System calls on descriptors. An object's placeholder on this machine would answer them
 * differently from the object. The kernel makes the file of an object with anon_inode_getfd() in
 * kernel/bpf and kernel/events.
 */
import { constants as files, fstatSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { enums, type FdKind } from '../bpf/index.js';
import type { Handle } from '../call.js';
import { failure, systemError, type WaepError } from '../errors.js';
import { native } from '../native.js';
import type { Context } from './context.js';
import { forms, statxOf } from './file-status.js';
import { copyNetlink, sendNetlink } from './netlink-calls.js';
import type { Notification } from './notification.js';
import { defineProbes } from './probe-definitions.js';
import { ProcessMemory } from './process-memory.js';
import { notUsed } from './processes.js';

const { errno } = constants;
const { O_RDONLY, O_WRONLY, O_RDWR, O_NONBLOCK } = files;
const { BPF_F_RDONLY, BPF_F_WRONLY } = enums.ObjectFlag;
const { BPF_MAP_TYPE_RINGBUF, BPF_MAP_TYPE_USER_RINGBUF } = enums.MapType;

/** Answers read(2). Only a perf event can be read: it returns its counters. */
export async function readDescriptor(call: Notification, context: Context): Promise<void> {
  const { session, objects, placeholders } = context;
  const handle = placeholders.handleOf(call.thread, call.descriptor(0));
  if (handle === 0) return call.proceed();
  const kind = await objects.find(handle);
  // An iterator's placeholder is a pipe, from which the program reads the output.
  if (kind === 'iter') return call.proceed();
  if ((await accessOf(handle, context)) === O_WRONLY) return call.fail(errno.EBADF);
  if (context.folders.pathOf(handle) !== undefined) return call.fail(errno.EISDIR);
  if (kind !== 'perf_event') return call.fail(errno.EINVAL);
  if (objects.isOfOwnProcess(handle)) throw notUsed('read(2)');
  const counts = await session.read(handle, call.argument(2));
  if (counts === undefined) return call.fail(errno.EAGAIN);
  new ProcessMemory(call, placeholders).writeOrFault(call.word(1), counts);
  call.succeed(counts.length);
}

/** Answers write(2). An eventfd would accept the write, but an object does not. */
export async function writeDescriptor(call: Notification, context: Context): Promise<void> {
  const handle = context.placeholders.handleOf(call.thread, call.descriptor(0));
  if (handle === 0) {
    const { netlink } = context;
    const isNetlink = netlink.find(call.thread, call.descriptor(0)) !== undefined;
    return isNetlink ? sendNetlink(call, context) : defineProbes(call, context);
  }
  call.fail((await accessOf(handle, context)) === O_RDONLY ? errno.EBADF : errno.EINVAL);
}

const F_DUPFD = 0;
const F_DUPFD_CLOEXEC = 1030;
const copySocket = copyNetlink((call) => call.argument(1) === F_DUPFD_CLOEXEC);

/** Answers fcntl(2) with F_GETFL, or for a copy of a socket of netlink. */
export function controlDescriptor(call: Notification, context: Context): void | Promise<void> {
  const command = call.argument(1);
  const copies = command === F_DUPFD || command === F_DUPFD_CLOEXEC;
  return copies ? copySocket(call, context) : flagsOf(call, context);
}

async function flagsOf(call: Notification, context: Context): Promise<void> {
  const handle = context.placeholders.handleOf(call.thread, call.descriptor(0));
  if (handle === 0) return call.proceed();
  const access = await accessOf(handle, context);
  const info = readFileSync(`/proc/${call.thread}/fdinfo/${call.descriptor(0)}`, 'latin1');
  const flags = Number.parseInt(/^flags:\s*([0-7]+)$/m.exec(info)?.[1] ?? '0', 8);
  // waep opens the eventfd with O_NONBLOCK for its own use. The object does not have this flag.
  call.succeed(info.includes('eventfd-count') ? access : access | (flags & O_NONBLOCK));
}

/** Returns how the kernel opens the file of an object: O_RDONLY, O_WRONLY or O_RDWR. */
export async function accessOf(handle: Handle, { objects }: Context): Promise<number> {
  const kind = await objects.find(handle);
  if (kind === 'prog' || kind === 'perf_event') return O_RDWR;
  if (kind !== 'map') return O_RDONLY;
  const flags = (await objects.findMap(handle))?.flags ?? 0;
  if ((flags & BPF_F_RDONLY) !== 0) return O_RDONLY;
  return (flags & BPF_F_WRONLY) === 0 ? O_RDWR : O_WRONLY;
}

/** Answers ioctl(2) with FIONREAD. A socket supports it, an object does not. */
export function countUnread(call: Notification, { placeholders }: Context): void {
  if (placeholders.handleOf(call.thread, call.descriptor(0)) === 0) call.proceed();
  else call.fail(errno.ENOTTY);
}

/**
 * Answers fstat(2), and also newfstatat(2) and statx(2) with an empty path. The caller has checked
 * the path.
 *
 * @param result the index of the argument that points to the result
 */
export async function describe(
  call: Notification,
  { files, folders, placeholders }: Context,
  form: 'stat' | 'statx',
  result: number,
): Promise<void> {
  const handle = placeholders.handleOf(call.thread, call.descriptor(0));
  if (handle === 0) return call.proceed();
  const folder = folders.pathOf(handle);
  const status = folder === undefined ? statxOf(anonymous()) : await files.look(folder);
  new ProcessMemory(call, placeholders).writeOrFault(call.word(result), forms[form](status));
  call.succeed(0);
}

/**
 * Returns the status of an anonymous inode. All kernel objects without a file share one such inode.
 */
function anonymous() {
  const event = native.makeEvent();
  if (event < 0) throw systemError('eventfd', event);
  try {
    return fstatSync(event, { bigint: true });
  } finally {
    native.close(event);
  }
}

/** `struct pollfd`. */
const POLLFD_BYTES = 8;
/** Only this many descriptors of a call are searched for those of the guest. */
const MAX_POLLED = 1024;

/** Answers poll(2) and its variants. The program can then wait for events of the guest. */
export async function pollDescriptors(call: Notification, context: Context): Promise<void> {
  const { placeholders } = context;
  const count = Math.min(call.argument(1), MAX_POLLED);
  if (!placeholders.any || count === 0) return call.proceed();
  const memory = new ProcessMemory(call, placeholders);
  const polled = Buffer.from(memory.read(call.word(0), count * POLLFD_BYTES));
  const descriptors: number[] = [];
  for (let at = 0; at + POLLFD_BYTES <= polled.length; at += POLLFD_BYTES) {
    descriptors.push(polled.readInt32LE(at));
  }
  if (await settle(call, context, descriptors, 'poll(2)')) call.proceed();
}

/** Answers select(2) and its variants like {@link pollDescriptors}. */
export async function selectDescriptors(call: Notification, context: Context): Promise<void> {
  const { placeholders } = context;
  const count = Math.min(call.argument(0), MAX_POLLED);
  if (!placeholders.any || count === 0) return call.proceed();
  const memory = new ProcessMemory(call, placeholders);
  const descriptors = new Set<number>();
  for (const argument of [1, 2, 3]) {
    if (call.word(argument) === 0n) continue;
    const set = memory.read(call.word(argument), Math.ceil(count / 8));
    for (let number = 0; number < Math.min(count, 8 * set.length); number++) {
      if (((set[number >> 3] as number) >> (number & 7)) & 1) descriptors.add(number);
    }
  }
  if (await settle(call, context, descriptors, 'select(2)')) call.proceed();
}

/**
 * Replaces each descriptor of a guest's object with one that is ready when the object is ready.
 *
 * @returns false when a descriptor could not be replaced, because the call no longer waits
 */
async function settle(
  call: Notification,
  context: Context,
  descriptors: Iterable<number>,
  name: string,
): Promise<boolean> {
  for (const descriptor of descriptors) {
    const handle = context.placeholders.handleOf(call.thread, descriptor);
    if (handle === 0) continue;
    const event = await readiness(handle, context, name);
    if (event !== undefined && !call.replaceDescriptor(event, descriptor)) return false;
  }
  return true;
}

/**
 * Returns an eventfd that is ready exactly while the object is ready. Returns undefined if the
 * placeholder of the object already behaves so.
 *
 * @throws ERR_RUN_REFUSED for an object that cannot become ready
 */
export async function readiness(
  handle: Handle,
  { objects, events }: Context,
  name: string,
): Promise<number | undefined> {
  const kind = await objects.find(handle);
  if (kind === 'iter') return undefined;
  if (kind === 'perf_event') {
    if (events.isMapped(handle) || events.isRedirected(handle)) return events.settle(handle);
    throw unready(name, 'a perf event that is not mapped', 'Map its buffer first.');
  }
  const spec = kind === 'map' ? await objects.findMap(handle) : undefined;
  if (spec?.type === BPF_MAP_TYPE_USER_RINGBUF) return events.eventOf(handle);
  if (spec?.type !== BPF_MAP_TYPE_RINGBUF) throw unready(name, describeKind(kind));
  await events.beginRing(handle, spec);
  return events.settle(handle);
}

function describeKind(kind: FdKind | undefined): string {
  return kind === undefined ? 'an object' : `a ${kind}`;
}

function unready(call: string, what: string, instead = 'Leave its descriptor out.'): WaepError {
  const why = 'the kernel has nothing to wait for there, and says so by a state of its own';
  return failure('ERR_RUN_REFUSED', { call: `${call} of ${what} of the guest`, why, instead });
}
