import { constants } from 'node:os';
import {
  type Encoded,
  encode,
  encodeRaw,
  enums,
  type MapSpecs,
  type Memory,
  type RawCall,
  rows,
} from '../bpf/index.js';
import { type Handle, handlesIn, type Reply } from '../call.js';
import { viewOf } from '../codec/index.js';
import { failure, WaepError } from '../errors.js';
import { native } from '../native.js';
import type { CallOptions } from '../session/index.js';
import type { Session } from '../session.js';
import { isBelowKernel, readGuestPipe } from '../view/index.js';
import type { Context } from './context.js';
import type { Notification } from './notification.js';
import type { Objects } from './objects.js';
import { pathOf } from './perf-events.js';
import { ProcessMemory } from './process-memory.js';
import { notThere, notUsed } from './processes.js';

const PAGE_BYTES = 4096;
const { errno } = constants;
const { BPF_MAP_CREATE, BPF_OBJ_PIN, BPF_PROG_LOAD, BPF_PROG_TEST_RUN, BPF_TASK_FD_QUERY } =
  enums.Cmd;
const { BPF_COMMON_ATTRS } = enums.CallFlag;
/** ENOTSUPP is internal to the kernel, but bpf(2) returns this errno to programs. */
const ENOTSUPP = 524;

/** Executes a bpf(2) call of the program in the guest. */
export async function forwardBpf(call: Notification, context: Context): Promise<void> {
  const { probes } = context;
  const key = probes.keyOf(call);
  if (key !== undefined && (await probes.await(key)) && call.answerFrom(probes.verdicts)) return;
  const asked = await readCall(call, context);
  if (typeof asked === 'number') return call.fail(asked);
  if (asked.encoded.shape === rows.LINK_CREATE_UPROBE_MULTI) {
    await checkProbed(call, asked, context);
  }
  checkProcesses(call, asked, context);
  if (frozenIn(asked).some((handle) => context.mapped.isWritable(handle, call.thread))) {
    return call.fail(errno.EBUSY);
  }
  const pinned = pinPathOf(asked);
  if (pinned !== undefined && /^[^/]/.test(pinned)) throw relative(asked.encoded.shape.name);
  // If the call no longer waits, its thread id may belong to another thread, and the bytes that
  // were read may be that thread's.
  if (!call.waits) return;
  probes.about(asked.encoded.call.command);
  if (call.knownToSucceed && asked.encoded.call.result !== 0) {
    probes.defer(asked.encoded.call);
    learn(context.objects, asked);
    giveDescriptor(call, asked, context);
    return;
  }
  const { interruptions } = context;
  const { command } = asked.encoded.call;
  const reply = await interruptions
    .during(call, command, (options) =>
      makeCall(asked, key, context, { without: call.lost, ...options }),
    )
    .catch((error: Error) => {
      throw foreignIn(asked, error) ?? error;
    });
  if (reply.result >= 0 && pinned !== undefined && !isBelowKernel(pinned)) {
    context.warnOnce(elsewhere(pinned));
  }
  await writeBack(call, asked, reply, context);
}

/** A call of the program, encoded for the guest. */
interface Asked {
  readonly encoded: Encoded;
  /** The handle to which the guest binds a new descriptor. */
  readonly handle: Handle;
  /** The attribute, and its address in the program's memory. */
  readonly image: Uint8Array;
  readonly address: bigint;
  readonly memory: ProcessMemory;
}

/** Reads a call from the program's memory. Returns an errno if the call already fails here. */
async function readCall(call: Notification, context: Context): Promise<Asked | number> {
  const { session, objects, placeholders, mapped, userRings, own } = context;
  const command = call.argument(0);
  const address = call.word(1);
  const sizeBytes = call.argument(2);
  // The kernel checks in this order: bpf_check_uarg_tail_zero() checks the size before it reads.
  if (sizeBytes > PAGE_BYTES) return errno.E2BIG;
  const image = new ProcessMemory(call, placeholders).read(address, sizeBytes);
  if (image.length < sizeBytes) return errno.EFAULT;
  const { pid, descriptor } =
    (command & ~BPF_COMMON_ATTRS) === BPF_TASK_FD_QUERY ? taskIn(image) : nobody;
  // If the id is none of the program's own processes, the process and its descriptor are the
  // guest's.
  const ofGuest = own.isOfGuest(pid, call.thread);
  // The kernel returns this errno for a descriptor without an attached program.
  if (pid !== 0 && !ofGuest && placeholders.handleOf(pid, descriptor) === 0) return ENOTSUPP;
  const memory = new ProcessMemory(call, placeholders, ofGuest ? 0 : pid);
  const common = await readCommon(session, objects, memory, {
    command,
    address: call.word(3),
    sizeBytes: call.argument(4),
  });
  if (typeof common === 'number') return common;
  const raw = { command, address, image, common };
  const handle = session.newHandle();
  // The guest must have the program's writes to mapped memory before it executes the call.
  await mapped.push();
  await userRings.push();
  const encode = () => encodeKnowing(objects, () => encodeRaw(raw, memory, objects, handle));
  let encoded = await encode();
  if (await context.network.replaceIn(memory)) encoded = await encode();
  return { encoded, handle, image, address, memory };
}

function makeCall(
  { encoded, image, address }: Asked,
  key: Uint8Array | undefined,
  { session, probes }: Context,
  options: CallOptions,
): Promise<Reply> {
  return key === undefined
    ? session.call(encoded.call, { name: encoded.shape.name, ...options })
    : probes.load({ key, encoded, image, address }, options);
}

/**
 * Returns the error of a call that was refused for a descriptor which stands for no object of the
 * guest. What the policy says of such a number helps nobody.
 */
function foreignIn({ encoded, memory }: Asked, error: Error): WaepError | undefined {
  if (!(error instanceof WaepError) || error.code !== 'ERR_POLICY_REFUSED') return undefined;
  if ((error as WaepError<'ERR_POLICY_REFUSED'>).detail.rule !== 'descriptors') return undefined;
  const [other] = memory.others();
  return other && notOfGuest(encoded.shape.name, other.name);
}

/** Writes the guest's output to the program's memory, and lets the call return. */
async function writeBack(
  call: Notification,
  asked: Asked,
  reply: Reply,
  context: Context,
): Promise<void> {
  const { encoded, handle, memory } = asked;
  const bound = encoded.call.result !== 0 && reply.result >= 0;
  const written = memory.writeAll(encoded.writes(reply));
  if (bound) learn(context.objects, asked);
  if (encoded.shape.command === BPF_PROG_TEST_RUN) await context.mapped.pull();
  if (!written) {
    if (bound) drop(handle, context);
    return call.fail(errno.EFAULT);
  }
  if (reply.result < 0) {
    if (reply.errno === errno.EBADF || reply.errno === errno.EINVAL) {
      const [other] = memory.others();
      if (other !== undefined) context.warnOnce(notOfGuest(encoded.shape.name, other.name));
    }
    if (encoded.shape.command === BPF_OBJ_PIN && reply.errno === errno.ENOENT) throw noFolder();
    return call.fail(reply.errno);
  }
  for (const frozen of frozenIn(asked)) context.objects.freeze(frozen);
  if (!bound) return call.succeed(reply.result);
  if (encoded.shape.makes === 'iter') return giveStream(call, handle, context);
  giveDescriptor(call, asked, context);
}

/** Returns the map that a call freezes. */
function frozenIn({ encoded: { shape, call } }: Asked): readonly Handle[] {
  return shape === rows.MAP_FREEZE ? handlesIn(call.relocations) : [];
}

/** Gives the program a descriptor that stands for the new object. */
function giveDescriptor(call: Notification, { handle }: Asked, context: Context): void {
  context.placeholders.create(handle, (fd) => call.giveDescriptor(fd));
}

const { path: PROBED } = rows.LINK_CREATE_UPROBE_MULTI.fields;
const PATH_MAX = 4096;

/** Throws ERR_RUN_REFUSED when the file to be probed differs between this machine and the guest. */
async function checkProbed(
  call: Notification,
  { memory, image }: Asked,
  { probed }: Context,
): Promise<void> {
  if (image.length < PROBED.offset + 8) return;
  const address = Buffer.from(image).readBigUInt64LE(PROBED.offset);
  const path = memory.readText(address, PATH_MAX);
  // The kernel refuses a path without a NUL.
  if (path.at(-1) === 0) await probed.check(call.thread, pathOf(path));
}

const { pathname: PINNED, file_flags: PIN_FLAGS } = rows.OBJ_PIN.fields;
const { BPF_F_PATH_FD } = enums.ObjectFlag;

/**
 * Returns the path of a pin. Returns undefined if a call names none, or one in a folder by its
 * descriptor.
 */
function pinPathOf({ encoded: { shape }, image, memory }: Asked): string | undefined {
  if ((shape !== rows.OBJ_PIN && shape !== rows.OBJ_GET) || image.length < 8) return undefined;
  if ((wordAt(image, PIN_FLAGS) & BPF_F_PATH_FD) !== 0) return undefined;
  const text = memory.readText(Buffer.from(image).readBigUInt64LE(PINNED.offset), PATH_MAX);
  return text.at(-1) === 0 ? pathOf(text) : undefined;
}

function relative(call: string): WaepError {
  return failure('ERR_RUN_REFUSED', {
    call: `${call} of a relative path`,
    why: 'a working directory is always one of this machine',
    instead: 'Name the pin by its whole path.',
  });
}

function elsewhere(path: string): WaepError {
  return failure('ERR_RUN_NOTICE', {
    what: `The pin ${path} is in the guest, while other calls see this machine's file at that path`,
    instead: 'Pin into /sys/fs/bpf, which is the guest’s for all calls.',
  });
}

const { pid: PROBED_PROCESS } = rows.LINK_CREATE_UPROBE_MULTI.fields;
const { iter_info: ITERATED } = rows.LINK_CREATE_ITER_TASK.fields;

/**
 * Refuses a call that names one of the program's own processes, or a probe of one. In the guest
 * that id would belong to another process.
 */
function checkProcesses(
  call: Notification,
  { encoded, image, memory }: Asked,
  { own, objects }: Context,
): void {
  const { shape } = encoded;
  if (objects.isOwnProcessIn(encoded.call.relocations)) throw notUsed(shape.name);
  let ids: number[] = [];
  if (shape === rows.LINK_CREATE_UPROBE_MULTI) {
    ids = [wordAt(image, PROBED_PROCESS)];
  } else if (shape === rows.LINK_CREATE_ITER_TASK && image.length >= ITERATED.offset + 8) {
    // The first two words are tid and pid.
    const address = Buffer.from(image).readBigUInt64LE(ITERATED.offset);
    const lengthBytes = wordAt(image, { offset: ITERATED.offset + 8 });
    const info = memory.read(address, Math.min(lengthBytes, 8));
    ids = [0, 4].map((offset) => wordAt(info, { offset }));
  }
  const foreign = ids.find((id) => id !== 0 && !own.isOfGuest(id, call.thread));
  if (foreign !== undefined) throw notThere(`${shape.name} of process ${foreign}`);
}

/** Releases an object for which the program got no descriptor. */
function drop(handle: Handle, { session, objects, probes }: Context): void {
  objects.remove(handle);
  // The call fails if the session has ended. The object has then ended as well.
  if (!probes.drop(handle)) session.release([handle]).catch(() => {});
}

/** The fourth and the fifth argument of a bpf(2) call. */
interface CommonArguments {
  readonly command: number;
  readonly address: bigint;
  readonly sizeBytes: number;
}

/**
 * Reads the common attributes of a call. Returns undefined for a call without common attributes,
 * and an errno if they are bad.
 */
export async function readCommon(
  session: Session,
  specs: MapSpecs,
  memory: Memory,
  { command, address, sizeBytes }: CommonArguments,
): Promise<RawCall['common'] | number> {
  if ((command & BPF_COMMON_ATTRS) === 0) return undefined;
  if (sizeBytes > PAGE_BYTES) return errnoOfCommon(session, specs, errno.E2BIG);
  const image = memory.read(address, sizeBytes);
  if (image.length < sizeBytes) return errnoOfCommon(session, specs, errno.EFAULT);
  return { address, image };
}

/** No kernel object has an id above this one. */
const LAST_ID = 0x7ffffffe;

/**
 * Returns the errno of a call whose common attributes are bad. A kernel before 7.2 does not know
 * common attributes and returns EINVAL for every such call. Programs detect the kernel in this way.
 */
async function errnoOfCommon(session: Session, specs: MapSpecs, bad: number): Promise<number> {
  const ask = encode(rows.PROG_GET_NEXT_ID, { start_id: LAST_ID }, specs, 0, {});
  const reply = await session.call(ask.call, { name: ask.shape.name });
  return reply.errno === errno.EINVAL ? errno.EINVAL : bad;
}

function noFolder(): WaepError {
  return failure('ERR_RUN_REFUSED', {
    call: 'pinning into a folder that the guest does not have',
    why: 'mkdir(2) of a program stays on this machine',
    instead: 'Pin into a folder that is there, such as /sys/fs/bpf.',
  });
}

function notOfGuest(call: string, descriptor: string): WaepError {
  return failure('ERR_RUN_REFUSED', {
    call: `${call} with a descriptor of ${descriptor}`,
    why: 'that is of this machine, and the guest has no part in it',
    instead: 'Open it by a path that is the guest’s, or attach inside the guest.',
  });
}

function unfinished(error: Error): WaepError {
  return failure('ERR_RUN_NOTICE', {
    what: `An iterator was not read to its end: ${error.message}`,
    instead: 'Take what was read for a part of it.',
  });
}

/**
 * The process and the descriptor about which BPF_TASK_FD_QUERY asks. The pid is 0 for any other
 * call.
 */
interface Task {
  readonly pid: number;
  readonly descriptor: number;
}

const nobody: Task = { pid: 0, descriptor: -1 };

/** Returns the task in the attribute of BPF_TASK_FD_QUERY. */
function taskIn(image: Uint8Array): Task {
  if (image.length < 8) return nobody;
  const view = new DataView(image.buffer, image.byteOffset);
  return { pid: view.getUint32(0, true), descriptor: view.getInt32(4, true) };
}

/** Gives the program a pipe that carries the iterator's output. */
function giveStream(call: Notification, handle: Handle, context: Context): void {
  const { session, objects, placeholders } = context;
  const fd = readGuestPipe(session, handle, {
    // The iterator's program may have written to memory that the program reads after the output. If
    // that memory cannot be had, the output can still be.
    arrived: () => context.mapped.pull().catch(() => {}),
    gone: async () => {
      forget();
      objects.remove(handle);
      await session.release([handle]);
    },
    failed: (error) => context.warnOnce(unfinished(error)),
  });
  const forget = placeholders.adopt(handle, fd);
  call.giveDescriptor(fd);
  native.close(fd);
}

/** Records a new object. */
function learn(objects: Objects, { handle, encoded: { shape }, image }: Asked): void {
  if (shape.command === BPF_MAP_CREATE) {
    const { fields } = rows.MAP_CREATE;
    objects.addMap(handle, {
      type: wordAt(image, fields.map_type),
      keySize: wordAt(image, fields.key_size),
      valueSize: wordAt(image, fields.value_size),
      maxEntries: wordAt(image, fields.max_entries),
      flags: wordAt(image, fields.map_flags),
    });
  } else if (shape.command === BPF_PROG_LOAD) {
    objects.addProgram(handle, wordAt(image, rows.PROG_LOAD.fields.attach_btf_id));
  } else {
    objects.add(handle, shape.makes, shape.finds);
  }
}

/** Returns a word of an attribute. Bytes beyond its end are zero. */
function wordAt(image: Uint8Array, { offset }: { readonly offset: number }): number {
  const bytes = new Uint8Array(4);
  bytes.set(image.subarray(offset, offset + 4));
  return viewOf(bytes).getUint32(0, true);
}

/**
 * Encodes a call. While facts about an object are missing, asks the guest for them and encodes
 * again.
 */
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
