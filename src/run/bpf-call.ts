import { constants } from 'node:os';
import {
  type Command,
  type Encoded,
  encode,
  encodeRaw,
  enums,
  type RawCall,
  rows,
} from '../bpf/index.js';
import type { Handle } from '../call.js';
import { failure, type SystemError, systemError, type WaepError } from '../errors.js';
import { native } from '../native.js';
import { readGuestPipe } from '../view/index.js';
import type { Guest } from './guest.js';
import type { Notification } from './notification.js';
import type { Objects } from './objects.js';
import { ProcessMemory } from './process-memory.js';

const PAGE_BYTES = 4096;
const { errno } = constants;
const { BPF_MAP_CREATE, BPF_OBJ_PIN, BPF_PROG_LOAD, BPF_PROG_TEST_RUN, BPF_TASK_FD_QUERY } =
  enums.Cmd;
const { BPF_COMMON_ATTRS } = enums.CallFlag;
/** The offset of attach_btf_id in BPF_PROG_LOAD's attribute. */
const ATTACH_BTF_ID = 108;
/** An errno of the kernel's that programs are not meant to see, and do. */
const ENOTSUPP = 524;

/** Has a bpf(2) call of the program executed in the guest. */
export async function forwardBpf(call: Notification, guest: Guest): Promise<void> {
  const { session, objects, placeholders, mapped, userRings, probes, interruptions } = guest;
  const key = probes.keyOf(call);
  if (key !== undefined && (await probes.await(key)) && call.recall(probes.recall)) return;
  const address = call.word(1);
  const sizeBytes = call.argument(2);
  // The kernel's order: bpf_check_uarg_tail_zero() looks at the size before it looks there.
  if (sizeBytes > PAGE_BYTES) return call.fail(errno.E2BIG);
  const image = new ProcessMemory(call.thread, placeholders).read(address, sizeBytes);
  if (image.length < sizeBytes) return call.fail(errno.EFAULT);
  const { pid, descriptor } = call.argument(0) === BPF_TASK_FD_QUERY ? taskIn(image) : nobody;
  // As the kernel answers where no program is attached: none of the guest's can be, to what is not
  // the guest's.
  if (pid !== 0 && placeholders.handleOf(pid, descriptor) === 0) {
    if (pid !== call.thread) guest.complain(noTask());
    return call.fail(ENOTSUPP);
  }
  const memory = new ProcessMemory(call.thread, placeholders, pid);
  const common = commonOf(call, memory);
  if (common instanceof Error) return call.fail(await commonErrno(guest, common));
  const raw = { command: call.argument(0), address, image, ...common };
  const handle = session.newHandle();
  await mapped.push();
  await userRings.push();
  const encoded = await encodeKnowing(objects, () => encodeRaw(raw, memory, objects, handle));
  // Whoever has the thread's number now, it may be another thread than was read from.
  if (!call.waits) return;
  probes.about(encoded.call.command);
  if (call.recalled && encoded.call.result !== 0) {
    probes.defer(encoded.call);
    learn(objects, handle, encoded.shape, image);
    if (!placeholders.create(handle, (fd) => call.giveDescriptor(fd))) drop(handle, guest);
    return;
  }
  const reply = await interruptions.during(call, encoded.call.command, (options) =>
    key === undefined
      ? session.call(encoded.call, { name: encoded.shape.name, ...options })
      : probes.load({ key, encoded, image, address }, options),
  );
  const bound = encoded.call.result !== 0 && reply.result >= 0;
  const written = encoded.writes(reply).every(({ address, bytes }) => memory.write(address, bytes));
  if (bound) learn(objects, handle, encoded.shape, image);
  if (encoded.shape.command === BPF_PROG_TEST_RUN) await mapped.pull();
  if (!written) {
    if (bound) drop(handle, guest);
    return call.fail(errno.EFAULT);
  }
  if (reply.result < 0) {
    if (encoded.shape.command === BPF_OBJ_PIN && reply.errno === errno.ENOENT) throw noFolder();
    return call.fail(reply.errno);
  }
  if (!bound) return call.succeed(reply.result);
  if (encoded.shape.makes === 'iter') return giveStream(call, handle, guest);
  if (!placeholders.create(handle, (fd) => call.giveDescriptor(fd))) drop(handle, guest);
}

/** Lets go of an object that the program does not have. */
function drop(handle: Handle, { session, objects, probes }: Guest): void {
  objects.remove(handle);
  // The session may have ended, and the object with it.
  if (!probes.drop(handle)) session.release([handle]).catch(() => {});
}

/** The fourth and fifth argument, of calls that have them; or what a kernel that knows them says. */
function commonOf(call: Notification, memory: ProcessMemory): Partial<RawCall> | SystemError {
  if ((call.argument(0) & BPF_COMMON_ATTRS) === 0) return {};
  const sizeBytes = call.argument(4);
  if (sizeBytes > PAGE_BYTES) return systemError('bpf', -errno.E2BIG);
  const address = call.word(3);
  const image = memory.read(address, sizeBytes);
  if (image.length < sizeBytes) return systemError('bpf', -errno.EFAULT);
  return { common: { address, image } };
}

/** Past all ids that there are. */
const LAST_ID = 0x7ffffffe;

/**
 * The errno of a call whose common attributes are bad. Kernels before 7.2 know none, and whatever
 * the call, say EINVAL: programs find out in this way.
 */
async function commonErrno({ session, objects }: Guest, bad: SystemError): Promise<number> {
  const ask = encode(rows.PROG_GET_NEXT_ID, { start_id: LAST_ID }, objects, 0, {});
  const reply = await session.call(ask.call, { name: ask.shape.name });
  return reply.errno === errno.EINVAL ? errno.EINVAL : -bad.errno;
}

function noFolder(): WaepError {
  return failure('ERR_RUN_REFUSED', {
    call: 'pinning into a folder that the guest does not have',
    why: 'mkdir(2) of a program stays on this machine',
    instead: 'Pin into a folder that is there, such as /sys/fs/bpf.',
  });
}

function noTask(): WaepError {
  return failure('ERR_RUN_REFUSED', {
    call: 'BPF_TASK_FD_QUERY about other processes',
    why: 'those in /proc are of this machine, and none has anything of the guest',
    instead: 'List what is attached there: bpftool link list.',
  });
}

/** Of whom and what BPF_TASK_FD_QUERY asks; or of nobody. */
interface Asked {
  readonly pid: number;
  readonly descriptor: number;
}

const nobody: Asked = { pid: 0, descriptor: -1 };

/** Whose descriptor BPF_TASK_FD_QUERY asks about, by this machine's numbers. */
function taskIn(image: Uint8Array): Asked {
  if (image.length < 8) return nobody;
  const view = new DataView(image.buffer, image.byteOffset);
  return { pid: view.getUint32(0, true), descriptor: view.getInt32(4, true) };
}

/** Gives the program something to read from: what the iterator writes. */
function giveStream(call: Notification, handle: Handle, guest: Guest): void {
  const { session, objects, placeholders } = guest;
  const fd = readGuestPipe(session, handle, async () => {
    forget();
    objects.remove(handle);
    await session.release([handle]);
  });
  const forget = placeholders.adopt(handle, fd);
  call.giveDescriptor(fd);
  native.close(fd);
}

/** Takes note of a new object. */
function learn(objects: Objects, handle: Handle, shape: Command, image: Uint8Array): void {
  if (shape.command === BPF_MAP_CREATE) {
    const [type = 0, keySize = 0, valueSize = 0, maxEntries = 0, flags = 0] = wordsAt(image, 0, 5);
    objects.addMap(handle, { type, keySize, valueSize, maxEntries, flags });
  } else if (shape.command === BPF_PROG_LOAD) {
    objects.addProgram(handle, wordsAt(image, ATTACH_BTF_ID, 1)[0] ?? 0);
  } else {
    objects.add(handle, shape.makes);
  }
}

/** Words of an attribute, whose end is zeroes. */
function wordsAt(image: Uint8Array, offset: number, count: number): Uint32Array {
  const bytes = new Uint8Array(4 * count);
  bytes.set(image.subarray(offset, offset + bytes.length));
  return new Uint32Array(bytes.buffer);
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
