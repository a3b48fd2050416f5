/* Makes perf_event_open(2) and the ioctls of perf events in the guest. */
import { constants } from 'node:os';
import { enums, perf } from '../bpf/index.js';
import { type CallBuffer, type Handle, Relocation } from '../call.js';
import { failure, systemError } from '../errors.js';
import type { Context } from './context.js';
import type { Notification } from './notification.js';
import { type ProbeKind, pmuOf, withoutPmu } from './probe-definitions.js';
import { ProcessMemory } from './process-memory.js';
import { notThere, notUsed } from './processes.js';

const { errno } = constants;
const PAGE_BYTES = 4096;
const PATH_MAX = 4096;

const { type, size, config, config1, config2 } = perf.PERF_EVENT_ATTR.fields;
const Attribute = {
  TYPE: type.offset,
  SIZE: size.offset,
  CONFIG: config.offset,
  CONFIG1: config1.offset,
  CONFIG2: config2.offset,
  FIRST_BYTES: perf.PERF_ATTR_SIZE_VER0,
} as const;
const { PERF_FLAG_PID_CGROUP, PERF_FLAG_FD_CLOEXEC } = enums.PerfFlag;
const Flag = { PID_CGROUP: PERF_FLAG_PID_CGROUP, FD_CLOEXEC: PERF_FLAG_FD_CLOEXEC } as const;
const bit = (name: keyof typeof perf.PerfEventBit) => 1n << BigInt(perf.PerfEventBit[name]);
const OFF = bit('disabled');
/** The flags by which an event spreads to other threads, turns itself on or sends signals. */
const ACTING = bit('inherit') | bit('inherit_thread') | bit('enable_on_exec') | bit('sigtrap');

/** Makes perf_event_open(2) of the program in the guest. */
export async function openPerfEvent(call: Notification, context: Context): Promise<void> {
  const { session, objects, placeholders, own } = context;
  const memory = new ProcessMemory(call, placeholders);
  const address = call.word(0);
  const head = Buffer.from(memory.read(address, Attribute.FIRST_BYTES));
  if (head.length < Attribute.FIRST_BYTES) return call.fail(errno.EFAULT);
  const sizeBytes = head.readUInt32LE(Attribute.SIZE) || Attribute.FIRST_BYTES;
  if (sizeBytes < Attribute.FIRST_BYTES || sizeBytes > PAGE_BYTES) return call.fail(errno.E2BIG);
  const image = Buffer.from(memory.read(address, sizeBytes));
  if (image.length < sizeBytes) return call.fail(errno.EFAULT);

  const pid = call.descriptor(1);
  const flags = call.argument(4);
  const ofCgroup = (flags & Flag.PID_CGROUP) !== 0;
  const ofOwn = pid >= 0 && !ofCgroup && !own.isOfGuest(pid, call.thread);
  const leader = call.descriptor(3);
  const group = leader < 0 ? 0 : memory.handleOf(leader);
  const cgroup = ofCgroup ? memory.handleOf(pid) : 0;
  if ((leader >= 0 && group === 0) || (ofCgroup && cgroup === 0)) return call.fail(errno.EBADF);
  if (objects.isOfOwnProcess(group)) throw notUsed('perf_event_open(2) in the group');

  const named = (await definedProbe(image, context)) ?? (await namedProbe(image, memory, context));
  if (named === 'fault') return call.fail(errno.EFAULT);
  // libbpf looks for functions of the kernel by a probe of its own process, which it never uses.
  if (ofOwn) {
    if (named?.kind !== 'kprobe') {
      const whose = pid === 0 ? 'the calling process' : `process ${pid}`;
      throw notThere(`perf_event_open(2) of ${whose}`);
    }
    turnOff(named.image);
  }
  const buffers: CallBuffer[] = [{ inout: named?.image ?? image }];
  const relocations: number[] = [];
  if (named !== undefined) {
    if (named.kind === 'uprobe') await context.probed.check(call.thread, pathOf(named.name));
    buffers.push(named.name);
    relocations.push(0, Attribute.CONFIG1, Relocation.POINTER, 1);
  }
  if (!call.waits) return;
  const handle = session.newHandle();
  const reply = await session.perfEventOpen(
    {
      result: handle,
      // The agent's own thread takes the place of a process that the guest does not have.
      pid: ofCgroup ? { handle: cgroup } : ofOwn ? 0 : pid,
      cpu: call.descriptor(2),
      group,
      flags: flags & ~Flag.FD_CLOEXEC,
      buffers,
      relocations,
    },
    { without: call.lost },
  );
  if (reply.result < 0) {
    // When perf_copy_attr() refuses a size with E2BIG, it writes the size that it supports.
    const size = reply.outputs[0]?.subarray(Attribute.SIZE, Attribute.SIZE + 4);
    if (reply.errno === errno.E2BIG && size !== undefined) {
      memory.write(address + BigInt(Attribute.SIZE), size);
    }
    return call.fail(reply.errno);
  }
  objects.addPerfEvent(handle, perf.sampleIdBytes(image), ofOwn);
  const closeOnExec = (flags & Flag.FD_CLOEXEC) !== 0;
  placeholders.create(handle, (fd) => call.giveDescriptor(fd, closeOnExec));
}

/**
 * Turns an event off. It stays so, because waep refuses every call that could turn the event on.
 */
function turnOff(image: Buffer): void {
  const flags = image.readBigUInt64LE(perf.PERF_EVENT_FLAGS);
  image.writeBigUInt64LE((flags | OFF) & ~ACTING, perf.PERF_EVENT_FLAGS);
}

/** Returns a path without the NUL at its end. */
export function pathOf(text: Uint8Array): string {
  return Buffer.from(text.subarray(0, -1)).toString();
}

/**
 * An event of the kprobe or uprobe PMU. Its config1 points to the name of a function or to a path.
 */
interface NamedProbe {
  readonly kind: ProbeKind;
  /** The attribute, with config1 set to zero. */
  readonly image: Buffer;
  /** The name, including its NUL. */
  readonly name: Uint8Array;
}

/** Returns the probe that an attribute asks the kprobe or uprobe PMU for. */
async function namedProbe(
  image: Buffer,
  memory: ProcessMemory,
  context: Context,
): Promise<NamedProbe | 'fault' | undefined> {
  const text = image.readBigUInt64LE(Attribute.CONFIG1);
  const type = image.readUInt32LE(Attribute.TYPE);
  for (const kind of ['kprobe', 'uprobe'] as const) {
    if (text === 0n || type !== (await pmuOf(kind, context))) continue;
    const name = memory.readText(text, PATH_MAX);
    if (name.at(-1) !== 0) return 'fault';
    image.writeBigUInt64LE(0n, Attribute.CONFIG1);
    return { kind, image, name };
  }
  return undefined;
}

/**
 * Returns the probe that the program has defined in the tracing file system, by the id in an
 * attribute.
 */
async function definedProbe(image: Buffer, context: Context): Promise<NamedProbe | undefined> {
  if (image.readUInt32LE(Attribute.TYPE) !== enums.PerfType.PERF_TYPE_TRACEPOINT) return undefined;
  const probe = context.definitions.probeOf(image.readBigUInt64LE(Attribute.CONFIG));
  if (probe === undefined) return undefined;
  const type = await pmuOf(probe.kind, context);
  if (type === undefined) throw withoutPmu(probe.kind);
  const whole = Buffer.alloc(Math.max(image.length, Attribute.CONFIG2 + 8));
  image.copy(whole);
  whole.writeUInt32LE(type, Attribute.TYPE);
  whole.writeUInt32LE(whole.length, Attribute.SIZE);
  whole.writeBigUInt64LE(probe.config, Attribute.CONFIG);
  whole.writeBigUInt64LE(0n, Attribute.CONFIG1);
  whole.writeBigUInt64LE(probe.config2, Attribute.CONFIG2);
  return { kind: probe.kind, image: whole, name: Buffer.from(`${probe.config1}\0`) };
}

const MAX_QUERIED = 1024;
const NO_DESCRIPTOR = 0xffffffffffffffffn;

/** Makes an ioctl(2) on a perf event in the guest. */
export async function controlPerfEvent(call: Notification, context: Context): Promise<void> {
  const { session, placeholders, objects } = context;
  const memory = new ProcessMemory(call, placeholders);
  const handle = memory.handleOf(call.descriptor(0));
  if (handle === 0) return call.proceed();
  if (objects.isOfOwnProcess(handle)) throw notUsed('ioctl(2)');
  const request = call.argument(1);
  const argument = perf.perfIoctls.get(request);
  if (argument === undefined || argument.is === 'attribute') {
    throw failure('ERR_RUN_REFUSED', {
      call: `ioctl(2) 0x${request.toString(16)} of an object of the guest`,
      why: 'it is none of those of perf events that are forwarded',
      instead: 'Open the event with the attributes that it shall have.',
    });
  }
  const word = call.word(2);
  const { buffers, relocations, back } = placed[argument.is](word, argument as never, memory);
  if (objects.isOwnProcessIn(relocations)) throw notUsed('ioctl(2)');
  // If the call no longer waits, its thread id may belong to another thread, and the bytes that
  // were read may be that thread's.
  if (!call.waits) return;
  const reply = await session.ioctl(
    { handle, request, buffers, relocations },
    { without: call.lost },
  );
  const written = reply.outputs[0];
  if (back && written !== undefined && reply.result >= 0) memory.writeOrFault(word, written);
  if (reply.result < 0) return call.fail(reply.errno);
  if (request === enums.PerfIoctl.PERF_EVENT_IOC_SET_OUTPUT) {
    context.events.redirect(handle, memory.handleOf(Number(word & 0xffffffffn) | 0));
  }
  call.succeed(reply.result);
}

interface Placed {
  readonly buffers: CallBuffer[];
  readonly relocations: number[];
  /** Whether the kernel writes to the second buffer. */
  readonly back: boolean;
}

/** Every ioctl but MODIFY_ATTRIBUTES, which waep refuses: an event keeps its attribute. */
type Forwarded = Exclude<perf.PerfIoctlArgument, { is: 'attribute' }>;

const placed: {
  readonly [K in Forwarded['is']]: (
    word: bigint,
    argument: Extract<Forwarded, { is: K }>,
    memory: ProcessMemory,
  ) => Placed;
} = {
  number: (word) => ({ buffers: [bytesOf(word)], relocations: [], back: false }),
  descriptor: (word, _, memory) => {
    const descriptor = Number(word & 0xffffffffn) | 0;
    const target: Handle = memory.handleOf(descriptor);
    if (target === 0 && descriptor >= 0) throw systemError('ioctl', errno.EBADF);
    return target === 0
      ? { buffers: [bytesOf(NO_DESCRIPTOR)], relocations: [], back: false }
      : { buffers: [bytesOf(0n)], relocations: [0, 0, Relocation.FD64, target], back: false };
  },
  text: (word, _, memory) => behind(memory.readText(word, PAGE_BYTES), false),
  buffer: (word, { flow, bytes }, memory) =>
    flow === 'out' ? behind(bytes, true) : behind(read(memory, word, bytes), false),
  query: (word, _, memory) => {
    const room = Buffer.from(read(memory, word, 8)).readUInt32LE(0);
    const bytes = 8 + 4 * Math.min(room, MAX_QUERIED);
    return behind({ inout: read(memory, word, bytes) }, true);
  },
};

function behind(buffer: CallBuffer, back: boolean): Placed {
  const relocations = [0, 0, Relocation.POINTER, 1];
  return { buffers: [bytesOf(0n), buffer], relocations, back };
}

function read(memory: ProcessMemory, address: bigint, length: number): Uint8Array {
  const bytes = memory.read(address, length);
  if (bytes.length < length) throw systemError('process_vm_readv', errno.EFAULT);
  return bytes;
}

function bytesOf(word: bigint): Uint8Array {
  return new Uint8Array(BigUint64Array.of(word).buffer);
}
