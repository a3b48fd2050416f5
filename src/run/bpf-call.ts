import { constants } from 'node:os';
import { type Encoded, encodeRaw } from '../bpf/index.js';
import type { Guest } from './guest.js';
import type { Notification } from './notification.js';
import type { Objects } from './objects.js';
import { ProcessMemory } from './process-memory.js';

const PAGE_BYTES = 4096;
const { errno } = constants;

/** Has a bpf(2) call of the program executed in the guest. */
export async function forwardBpf(call: Notification, guest: Guest): Promise<void> {
  const { session, objects, placeholders } = guest;
  const memory = new ProcessMemory(call.thread, placeholders);
  const address = call.word(1);
  const sizeBytes = call.argument(2);
  // The kernel's order: bpf_check_uarg_tail_zero() looks at the size before it looks there.
  if (sizeBytes > PAGE_BYTES) return call.fail(errno.E2BIG);
  const image = memory.read(address, sizeBytes);
  if (image.length < sizeBytes) return call.fail(errno.EFAULT);
  const raw = { command: call.argument(0), address, image };
  const handle = session.newHandle();
  const encoded = await encodeKnowing(objects, () => encodeRaw(raw, memory, objects, handle));
  // Whoever has the thread's number now, it may be another thread than was read from.
  if (!call.waits) return;
  const reply = await session.call(encoded.call, { name: encoded.shape.name });
  const bound = encoded.call.result !== 0 && reply.result >= 0;
  const written = encoded.writes(reply).every(({ address, bytes }) => memory.write(address, bytes));
  if (bound) objects.add(handle, encoded.shape.makes);
  const release = () => {
    objects.remove(handle);
    // The session may have ended, and the object with it.
    session.release([handle]).catch(() => {});
  };
  if (!written) {
    if (bound) release();
    return call.fail(errno.EFAULT);
  }
  if (reply.result < 0) return call.fail(reply.errno);
  if (!bound) return call.succeed(reply.result);
  if (!placeholders.create(handle, (fd) => call.giveDescriptor(fd))) release();
}

/** Encodes, and where something of an object had to be known and was not, asks and encodes again. */
async function encodeKnowing(objects: Objects, encode: () => Encoded): Promise<Encoded> {
  for (;;) {
    objects.missing.clear();
    try {
      const encoded = encode();
      if (!(await objects.learn())) return encoded;
    } catch (error) {
      if (!(await objects.learn())) throw error;
    }
  }
}
