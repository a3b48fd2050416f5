import { enums } from '../bpf/index.js';
import { failure } from '../errors.js';
import type { Guest } from './guest.js';
import type { Notification } from './notification.js';

/** Answers mmap(2) of memory to be shared. */
export async function mapMemory(call: Notification, guest: Guest): Promise<void> {
  const handle = guest.placeholders.handleOf(call.thread, call.descriptor(4));
  if (handle === 0) return call.proceed();
  const facts = await guest.objects.findMap(handle);
  if (facts === undefined || refused.has(facts.type)) {
    throw failure('ERR_RUN_REFUSED', {
      call: 'mmap(2) of this object',
      why: 'its memory is not shared with the guest',
      instead: 'Read it by its elements instead.',
    });
  }
  await guest.mapped.map(call, handle, facts);
}
const { MapType } = enums;
const refused = new Set<number>([
  MapType.BPF_MAP_TYPE_RINGBUF,
  MapType.BPF_MAP_TYPE_USER_RINGBUF,
  MapType.BPF_MAP_TYPE_ARENA,
]);
