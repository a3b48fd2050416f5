import { constants } from 'node:os';
import { enums } from '../bpf/index.js';
import type { Handle } from '../call.js';
import { failure } from '../errors.js';
import type { Guest } from './guest.js';
import type { Notification } from './notification.js';
import { ProcessMemory } from './process-memory.js';

const { BPF_MAP_TYPE_RINGBUF, BPF_MAP_TYPE_USER_RINGBUF, BPF_MAP_TYPE_ARENA } = enums.MapType;

const EPOLL_CTL_DEL = 2;
const EPOLLET = 1 << 31;

/** Answers mmap(2) of memory to be shared. */
export async function mapMemory(call: Notification, guest: Guest): Promise<void> {
  const { placeholders, objects, events, mapped } = guest;
  const handle: Handle = placeholders.handleOf(call.thread, call.descriptor(4));
  if (handle === 0) return call.proceed();
  const kind = await objects.find(handle);
  if (kind === 'perf_event') return events.mapPerf(call, handle);
  const facts = await objects.findMap(handle);
  if (facts === undefined) throw refusal(`mmap(2) of a ${kind ?? 'descriptor'}`);
  if (facts.type === BPF_MAP_TYPE_RINGBUF) return events.mapRing(call, handle, facts);
  if (facts.type === BPF_MAP_TYPE_USER_RINGBUF) throw refusal('mmap(2) of a user ring buffer');
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
export async function watchDescriptor(call: Notification, guest: Guest): Promise<void> {
  const { placeholders, objects, events } = guest;
  const descriptor = call.descriptor(2);
  const handle = placeholders.handleOf(call.thread, descriptor);
  const kind = handle === 0 ? undefined : await objects.find(handle);
  const map = kind === 'map' ? await objects.findMap(handle) : undefined;
  const waitable = kind === 'perf_event' || map?.type === BPF_MAP_TYPE_RINGBUF;
  if (waitable && call.argument(1) !== EPOLL_CTL_DEL) {
    const memory = new ProcessMemory(call.thread, placeholders);
    const flags = Buffer.from(memory.read(call.word(3), 4));
    if (flags.length < 4) return call.fail(constants.errno.EFAULT);
    flags.writeUInt32LE((flags.readUInt32LE() | EPOLLET) >>> 0);
    memory.writeOrFault(call.word(3), flags);
  }
  if (!waitable || call.replaceDescriptor(events.eventOf(handle), descriptor)) call.proceed();
}
