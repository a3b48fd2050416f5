import { constants } from 'node:os';
import { enums } from '../bpf/index.js';
import type { Handle } from '../call.js';
import { failure } from '../errors.js';
import type { Context } from './context.js';
import type { Notification } from './notification.js';
import { ProcessMemory } from './process-memory.js';

const { BPF_MAP_TYPE_RINGBUF, BPF_MAP_TYPE_USER_RINGBUF, BPF_MAP_TYPE_ARENA } = enums.MapType;

const rings: ReadonlySet<number> = new Set([BPF_MAP_TYPE_RINGBUF, BPF_MAP_TYPE_USER_RINGBUF]);

const EPOLL_CTL_DEL = 2;
const EPOLLET = 1 << 31;

/** Answers mmap(2) of memory to be shared. */
export async function mapMemory(call: Notification, context: Context): Promise<void> {
  const { placeholders, objects, events, mapped, userRings } = context;
  const handle: Handle = placeholders.handleOf(call.thread, call.descriptor(4));
  if (handle === 0) return call.proceed();
  const kind = await objects.find(handle);
  if (kind === 'perf_event') return events.mapPerf(call, handle);
  const facts = await objects.findMap(handle);
  if (facts === undefined) throw refusal(`mmap(2) of a ${kind ?? 'descriptor'}`);
  if (facts.type === BPF_MAP_TYPE_RINGBUF) return events.mapRing(call, handle, facts);
  if (facts.type === BPF_MAP_TYPE_USER_RINGBUF) return userRings.map(call, handle, facts);
  if (facts.type === BPF_MAP_TYPE_ARENA) throw refusal('mmap(2) of an arena');
  return mapped.map(call, handle, facts);
}

function refusal(call: string): Error {
  return failure('ERR_RUN_REFUSED', {
    call,
    why: 'its memory is not shared with the guest',
    instead: 'Use a map whose elements bpf(2) reads and writes.',
  });
}

/**
 * Answers epoll_ctl(2), so that the program can wait for events of the guest: for changes, since
 * nobody tells here when it has read all there is.
 */
export async function watchDescriptor(call: Notification, context: Context): Promise<void> {
  const { placeholders, objects, events } = context;
  const descriptor = call.descriptor(2);
  const handle = placeholders.handleOf(call.thread, descriptor);
  const kind = handle === 0 ? undefined : await objects.find(handle);
  const map = kind === 'map' ? await objects.findMap(handle) : undefined;
  const waitable = kind === 'perf_event' || (map !== undefined && rings.has(map.type));
  if (waitable && call.argument(1) !== EPOLL_CTL_DEL) {
    const memory = new ProcessMemory(call.thread, placeholders);
    const flags = Buffer.from(memory.read(call.word(3), 4));
    if (flags.length < 4) return call.fail(constants.errno.EFAULT);
    flags.writeUInt32LE((flags.readUInt32LE() | EPOLLET) >>> 0);
    memory.writeOrFault(call.word(3), flags);
  }
  if (!waitable || call.replaceDescriptor(events.eventOf(handle), descriptor)) call.proceed();
}

/** `struct pollfd`. */
const POLLFD_BYTES = 8;
/** More descriptors than this are not looked through for those of the guest. */
const MAX_POLLED = 1024;

/**
 * Has poll(2) wait for events of the guest as for anything: for as long as there is something that
 * the program has not read.
 */
export async function pollDescriptors(call: Notification, context: Context): Promise<void> {
  const { placeholders, events } = context;
  const count = Math.min(call.argument(1), MAX_POLLED);
  if (!events.any || count === 0) return call.proceed();
  const memory = new ProcessMemory(call.thread, placeholders);
  const polled = Buffer.from(memory.read(call.word(0), count * POLLFD_BYTES));
  for (let at = 0; at + POLLFD_BYTES <= polled.length; at += POLLFD_BYTES) {
    const descriptor = polled.readInt32LE(at);
    const event = events.settle(placeholders.handleOf(call.thread, descriptor));
    if (event !== undefined && !call.replaceDescriptor(event, descriptor)) return;
  }
  call.proceed();
}
