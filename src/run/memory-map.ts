import { constants as files } from 'node:fs';
import { constants } from 'node:os';
import { enums } from '../bpf/index.js';
import type { Handle } from '../call.js';
import { failure } from '../errors.js';
import type { Context } from './context.js';
import { accessOf, readiness } from './descriptors.js';
import type { Notification } from './notification.js';
import { ProcessMemory } from './process-memory.js';
import { notUsed } from './processes.js';

const { errno } = constants;
const { O_RDONLY, O_WRONLY } = files;
const { BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_RINGBUF, BPF_MAP_TYPE_USER_RINGBUF, BPF_MAP_TYPE_ARENA } =
  enums.MapType;

/** The types of maps that can be mapped into memory. */
const mappable: ReadonlySet<number> = new Set([
  BPF_MAP_TYPE_ARRAY,
  BPF_MAP_TYPE_RINGBUF,
  BPF_MAP_TYPE_USER_RINGBUF,
  BPF_MAP_TYPE_ARENA,
]);

const MAP_SHARED = 1;
const PROT_WRITE = 2;
const EPOLL_CTL_DEL = 2;
const EPOLLET = 1 << 31;

/** Answers mmap(2) with MAP_SHARED. */
export async function mapMemory(call: Notification, context: Context): Promise<void> {
  const { placeholders, objects, events, mapped, userRings } = context;
  const handle: Handle = placeholders.handleOf(call.thread, call.descriptor(4));
  if (handle === 0) return call.proceed();
  const kind = await objects.find(handle);
  if (kind !== 'perf_event' && kind !== 'map') return call.fail(errno.ENODEV);
  const shared = (call.argument(3) & MAP_SHARED) !== 0;
  const access = await accessOf(handle, context);
  const writes = shared && (call.argument(2) & PROT_WRITE) !== 0;
  if (access === O_WRONLY || (writes && access === O_RDONLY)) return call.fail(errno.EACCES);
  if (kind === 'perf_event') {
    if (!shared) return call.fail(errno.EINVAL);
    if (objects.isOfOwnProcess(handle)) throw notUsed('mmap(2)');
    return events.mapPerf(call, handle, objects.sampleIdBytesOf(handle));
  }
  const spec = await objects.findMap(handle);
  if (spec === undefined) throw refusal('mmap(2) of a map that the guest does not describe');
  if (!shared && mappable.has(spec.type)) return call.fail(errno.EINVAL);
  if (spec.type === BPF_MAP_TYPE_RINGBUF) return events.mapRing(call, handle, spec);
  if (spec.type === BPF_MAP_TYPE_USER_RINGBUF) return userRings.map(call, handle, spec);
  if (spec.type === BPF_MAP_TYPE_ARENA) throw refusal('mmap(2) of an arena');
  return mapped.map(call, handle, spec);
}

function refusal(call: string): Error {
  return failure('ERR_RUN_REFUSED', {
    call,
    why: 'its memory is not shared with the guest',
    instead: 'Use a map whose elements bpf(2) reads and writes.',
  });
}

/**
 * Answers epoll_ctl(2), so that the program can wait for events of the guest. Waiting is
 * edge-triggered, because nothing here learns when the program has read everything. A program that
 * asked for level-triggered waiting is woken again and again while it has unread records.
 */
export async function watchDescriptor(call: Notification, context: Context): Promise<void> {
  const { placeholders, objects, events } = context;
  const descriptor = call.descriptor(2);
  const handle = placeholders.handleOf(call.thread, descriptor);
  if (handle === 0 || call.argument(1) === EPOLL_CTL_DEL) return call.proceed();
  const kind = await objects.find(handle);
  if (kind !== 'perf_event' && kind !== 'map') return call.fail(errno.EPERM);
  const memory = new ProcessMemory(call, placeholders);
  const flags = Buffer.from(memory.read(call.word(3), 4));
  if (flags.length < 4) return call.fail(errno.EFAULT);
  // A perf event that is not mapped yet becomes ready once the program maps it.
  const unmapped = kind === 'perf_event' && !events.isMapped(handle);
  const event = unmapped
    ? events.eventOf(handle)
    : await readiness(handle, context, 'epoll_ctl(2)');
  const asked = flags.readUInt32LE();
  flags.writeUInt32LE((asked | EPOLLET) >>> 0);
  memory.writeOrFault(call.word(3), flags);
  if ((asked & EPOLLET) === 0) events.repeat(handle);
  if (event === undefined || call.replaceDescriptor(event, descriptor)) call.proceed();
}
