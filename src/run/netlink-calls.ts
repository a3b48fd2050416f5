/*
 * The program's sockets of netlink(7). In the program, a socket of this machine for messages among
 * programs (NETLINK_USERSOCK) stands for each of them, so that the kernel answers most calls on it.
 * waep answers those that send: each message goes to the guest's kernel, and waep puts the answer
 * into the program's socket before the call returns, as the kernel does. waep also answers those
 * that receive, because the sender of a message has to be the kernel.
 *
 * The filter hands over these calls only for some numbers of descriptors, so that no program pays
 * for them that has no such socket.
 */
import { constants } from 'node:os';
import { netlink } from '../bpf/index.js';
import { Relocation } from '../call.js';
import { failure, systemError, type WaepError } from '../errors.js';
import { native } from '../native.js';
import type { Context } from './context.js';
import type { NetlinkSocket } from './netlink-sockets.js';
import type { Notification } from './notification.js';
import { freeNumber, netlinkNumbers } from './numbered.js';
import { ProcessMemory } from './process-memory.js';

const { errno } = constants;
const { NLMSG_HDRLEN } = netlink;

const ESOCKTNOSUPPORT = 94;
const AF_NETLINK = 16;
const SOCK_DGRAM = 2;
const SOCK_RAW = 3;
const SOCK_TYPE_MASK = 0xf;
const SOCK_NONBLOCK = 0x800;
const SOCK_CLOEXEC = 0x80000;
const MSG_PEEK = 0x2;
const MSG_TRUNC = 0x20;
const MSG_DONTWAIT = 0x40;
const MSG_ERRQUEUE = 0x2000;
const NLMSG_ERROR = 2;
const NLM_F_CAPPED = 0x100;

/** `struct sockaddr_nl`: the family, the port and the groups. */
const ADDRESS = { bytes: 12, port: 4, groups: 8 };
/** `struct msghdr`. */
const HEADER = { bytes: 56, name: 0, nameLength: 8, parts: 16, count: 24, control: 40, flags: 48 };
const PART_BYTES = 16;
/** UIO_MAXIOV. */
const MAX_PARTS = 1024;
/** What the kernel lets a socket send at once by default (net.core.wmem_default). */
const MAX_MESSAGE_BYTES = 212_992;
/** More than a datagram of the kernel ever has. */
const MAX_DATAGRAM_BYTES = 1024 * 1024;

/** A stretch of the program's memory. */
interface Part {
  readonly address: bigint;
  readonly length: number;
}

const refusal = (call: string, why: string, instead: string) =>
  failure('ERR_RUN_REFUSED', { call: `${call} of netlink`, why, instead });

/** Returns whether the guest may have a socket of this protocol. */
export function isNetlinkOfGuest(protocol: number): boolean {
  return Object.values<number>(netlink.NetlinkProtocol).includes(protocol);
}

/** Answers socket(2) for netlink of the guest. */
export function openNetlink(call: Notification, context: Context): void {
  const type = call.argument(1);
  const kind = type & SOCK_TYPE_MASK;
  if (kind !== SOCK_RAW && kind !== SOCK_DGRAM) throw systemError('socket', -ESOCKTNOSUPPORT);
  const fd = context.netlink.create(call.argument(2), kind | SOCK_CLOEXEC | (type & SOCK_NONBLOCK));
  try {
    give(call, fd, (type & SOCK_CLOEXEC) !== 0);
  } finally {
    native.close(fd);
  }
}

/** Lets a call return a descriptor whose calls the filter hands over. */
function give(call: Notification, fd: number, closeOnExec: boolean): void {
  const number = freeNumber(call.thread, netlinkNumbers);
  if (number === undefined || !call.replaceDescriptor(fd, number, closeOnExec)) {
    const { first, count } = netlinkNumbers;
    throw refusal(
      'a socket',
      `it needs a descriptor from ${first} to ${first + count - 1}, and none is free`,
      'Raise the limit of open files (ulimit -n 1024), and close sockets that are not needed.',
    );
  }
  call.succeed(number);
}

/** Answers a call whose first argument may be a socket of netlink. */
function ofNetlink(
  answer: (call: Notification, context: Context, socket: NetlinkSocket) => void | Promise<void>,
) {
  return (call: Notification, context: Context): void | Promise<void> => {
    const socket = context.netlink.find(call.thread, call.descriptor(0));
    return socket === undefined ? call.proceed() : answer(call, context, socket);
  };
}

const refuseCall = (name: string, instead: string) =>
  ofNetlink(() => {
    throw refusal(`${name}(2) on a socket`, 'waep does not answer it', instead);
  });

export const refuseSendAll = refuseCall('sendmmsg', 'Send by sendmsg(2).');
export const refuseReceiveAll = refuseCall('recvmmsg', 'Receive by recvmsg(2).');
export const refuseWriteParts = refuseCall('writev', 'Send by sendmsg(2).');
export const refuseReplacing = refuseCall('dup2', 'Copy the descriptor by dup(2).');
export const refuseGroup = refuseCall(
  'setsockopt of NETLINK_ADD_MEMBERSHIP',
  'Ask again, or monitor in the guest.',
);

/** Answers dup(2), and fcntl(2) for a copy. The copy needs a number of the same kind. */
export const copyNetlink = (closesOnExec: (call: Notification) => boolean) =>
  ofNetlink((call, context, socket) => {
    const copy = copyOf(call, context, socket);
    try {
      give(call, copy, closesOnExec(call));
    } finally {
      native.close(copy);
    }
  });

function copyOf(call: Notification, context: Context, socket: NetlinkSocket): number {
  const copy = native.takeCopy(call.thread, call.descriptor(0));
  if (copy < 0) throw systemError('pidfd_getfd', copy);
  // The number may mean another file by now, of this process or of one that has got its id.
  if (context.netlink.find(process.pid, copy) === socket) return copy;
  native.close(copy);
  throw systemError('pidfd_getfd', -errno.EBADF);
}

/**
 * Answers bind(2). The groups of messages among programs are not those of the guest's kernel. Every
 * user of this machine can send to the port, so from then on only answers arrive.
 */
export const bindNetlink = ofNetlink((call, context, socket) => {
  const address = addressAt(call, context, call.word(1), call.argument(2));
  if (address?.groups !== 0 && address !== undefined) {
    throw refusal(
      'bind(2) to a group',
      'waep relays answers, and not what the guest tells by itself',
      'Ask again, or monitor in the guest.',
    );
  }
  if (address?.port !== 0 || socket.port !== 0) return call.proceed();
  const copy = copyOf(call, context, socket);
  try {
    if (!call.waits) return;
    socket.port = context.netlink.tie(copy, call.thread).port;
  } finally {
    native.close(copy);
  }
  call.succeed(0);
});

/** Answers connect(2). The only peer is the guest's kernel, and the socket has it already. */
export const connectNetlink = ofNetlink((call, context) => {
  const address = addressAt(call, context, call.word(1), call.argument(2));
  if (address === undefined) return call.fail(errno.EINVAL);
  if (address.port !== 0 || address.groups !== 0) return call.fail(errno.EPERM);
  call.succeed(0);
});

function addressAt(call: Notification, context: Context, address: bigint, length: number) {
  if (length < ADDRESS.bytes) return undefined;
  const memory = new ProcessMemory(call, context.placeholders);
  const bytes = Buffer.from(memory.read(address, ADDRESS.bytes));
  if (bytes.length < ADDRESS.bytes || bytes.readUInt16LE(0) !== AF_NETLINK) return undefined;
  return { port: bytes.readUInt32LE(ADDRESS.port), groups: bytes.readUInt32LE(ADDRESS.groups) };
}

/** Answers sendto(2), and write(2) without the arguments of an address. */
export const sendNetlink = ofNetlink((call, context, socket) => {
  const part = { address: call.word(1), length: Number(call.word(2)) };
  const withAddress = call.number !== WRITE && call.word(4) !== 0n;
  const to = withAddress ? { address: call.word(4), length: call.argument(5) } : undefined;
  return send(call, context, socket, [part], to);
});
const WRITE = 1;

/** Answers sendmsg(2). */
export const sendNetlinkParts = ofNetlink((call, context, socket) => {
  const header = messageHeader(call, context);
  if (header === undefined) return call.fail(errno.EFAULT);
  if (typeof header === 'number') return call.fail(header);
  return send(call, context, socket, header.parts, header.name);
});

/** Answers recvfrom(2). */
export const receiveNetlink = ofNetlink((call, context, socket) => {
  const parts = [{ address: call.word(1), length: Number(call.word(2)) }];
  return receive(call, context, socket, parts, call.argument(3), (_, memory) => {
    if (call.word(4) === 0n) return [];
    const room = Buffer.from(memory.read(call.word(5), 4));
    const name = fromKernel(room.length < 4 ? 0 : room.readUInt32LE());
    return [
      { address: call.word(4), bytes: name },
      { address: call.word(5), bytes: uint32(ADDRESS.bytes) },
    ];
  });
});

/** Answers recvmsg(2). */
export const receiveNetlinkParts = ofNetlink((call, context, socket) => {
  const header = messageHeader(call, context);
  if (header === undefined) return call.fail(errno.EFAULT);
  if (typeof header === 'number') return call.fail(header);
  const { name, parts } = header;
  const at = call.word(1);
  return receive(call, context, socket, parts, call.argument(2), (cut) => [
    ...(name === undefined
      ? []
      : [
          { address: name.address, bytes: fromKernel(name.length) },
          { address: at + BigInt(HEADER.nameLength), bytes: uint32(ADDRESS.bytes) },
        ]),
    { address: at + BigInt(HEADER.control), bytes: Buffer.alloc(8) },
    { address: at + BigInt(HEADER.flags), bytes: uint32(cut ? MSG_TRUNC : 0) },
  ]);
});

const uint32 = (value: number) => Buffer.from(Uint32Array.of(value).buffer);

/** Returns the beginning of the kernel's address, whose port and groups are 0. */
function fromKernel(roomBytes: number): Uint8Array {
  const address = Buffer.alloc(ADDRESS.bytes);
  address.writeUInt16LE(AF_NETLINK);
  return address.subarray(0, Math.min(roomBytes, ADDRESS.bytes));
}

/** Reads the second argument, a `struct msghdr`. Returns the errno of one that is wrong. */
function messageHeader(
  call: Notification,
  context: Context,
): { name: Part | undefined; parts: Part[] } | number | undefined {
  const memory = new ProcessMemory(call, context.placeholders);
  const header = Buffer.from(memory.read(call.word(1), HEADER.bytes));
  if (header.length < HEADER.bytes) return undefined;
  const name = header.readBigUInt64LE(HEADER.name);
  const count = header.readBigUInt64LE(HEADER.count);
  if (count > BigInt(MAX_PARTS)) return errno.EMSGSIZE;
  const lengthBytes = Number(count) * PART_BYTES;
  const list = Buffer.from(memory.read(header.readBigUInt64LE(HEADER.parts), lengthBytes));
  if (list.length < lengthBytes) return undefined;
  const parts = Array.from({ length: Number(count) }, (_, index) => ({
    address: list.readBigUInt64LE(index * PART_BYTES),
    length: Number(list.readBigUInt64LE(index * PART_BYTES + 8)),
  }));
  const length = header.readUInt32LE(HEADER.nameLength);
  return { name: name === 0n ? undefined : { address: name, length }, parts };
}

async function send(
  call: Notification,
  context: Context,
  socket: NetlinkSocket,
  parts: readonly Part[],
  to: Part | undefined,
): Promise<void> {
  if (to !== undefined) {
    const address = addressAt(call, context, to.address, to.length);
    if (address === undefined) return call.fail(errno.EINVAL);
    if (address.port !== 0 || address.groups !== 0) return call.fail(errno.EPERM);
  }
  const sizeBytes = parts.reduce((sum, { length }) => sum + length, 0);
  if (sizeBytes > MAX_MESSAGE_BYTES) return call.fail(errno.EMSGSIZE);
  const memory = new ProcessMemory(call, context.placeholders);
  const bytes = Buffer.concat(parts.map(({ address, length }) => memory.read(address, length)));
  if (bytes.length < sizeBytes) return call.fail(errno.EFAULT);
  const copy = copyOf(call, context, socket);
  try {
    if (!call.waits) return;
    const { port, options } = context.netlink.tie(copy, call.thread);
    socket.port = port;
    context.netlink.deliver(socket);
    for (const message of messagesIn(bytes)) {
      // The answers of a program that receives none must not fill this process.
      if (socket.waiting.length > 0) return call.fail(errno.ENOBUFS);
      const answer = await ask(call, context, socket.protocol, options, message);
      for (const datagram of answer) address(datagram, port);
      context.netlink.deliver(socket, answer);
    }
  } finally {
    native.close(copy);
  }
  call.succeed(sizeBytes);
}

/** Returns the messages of a datagram, up to the first that is malformed (netlink_rcv_skb()). */
function* messagesIn(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at + NLMSG_HDRLEN <= bytes.length; ) {
    const length = bytes.readUInt32LE(at);
    if (length < NLMSG_HDRLEN || length > bytes.length - at) return;
    yield bytes.subarray(at, at + length);
    at += (length + 3) & ~3;
  }
}

/** Puts the program's port into the messages of an answer, where the executor's is. */
function address(datagram: Uint8Array, port: number): void {
  const { buffer, byteOffset, length } = datagram;
  for (const message of messagesIn(Buffer.from(buffer, byteOffset, length))) {
    message.writeUInt32LE(port, 12);
  }
}

/** Sends a message to the guest's kernel. Returns the answer, which may be waep's refusal. */
async function ask(
  call: Notification,
  context: Context,
  protocol: number,
  options: number,
  message: Buffer,
): Promise<Uint8Array[]> {
  const { session, placeholders } = context;
  const memory = new ProcessMemory(call, placeholders);
  const known = netlink.netlinkMessage(protocol, message);
  const relocations = netlink.netlinkDescriptors(known, message).flatMap((offset) => {
    const descriptor = message.readInt32LE(offset);
    const handle = descriptor < 0 ? 0 : memory.handleOf(descriptor);
    return handle === 0 ? [] : [0, offset, Relocation.FD32, handle];
  });
  if (known?.interface !== undefined && namesNothing(known, message)) {
    return [errorFor(message, errno.ENODEV)];
  }
  try {
    const request = { protocol, options, message, relocations };
    return await session.netlink(request, { without: call.lost });
  } catch (error) {
    if ((error as Partial<WaepError>).code !== 'ERR_POLICY_REFUSED') throw error;
    context.warnOnce(error as Error);
    return [errorFor(message, errno.EPERM)];
  }
}

/** Whether a message names no interface. ip(8) asks in this way whether the kernel knows it. */
function namesNothing(known: netlink.NetlinkMessage, message: Buffer): boolean {
  const { interface: index = 0, attributes } = known;
  return message.length === attributes?.offset && message.readUInt32LE(index) === 0;
}

/** Returns the message with which a kernel refuses another (netlink_ack()). */
function errorFor(message: Buffer, number: number): Buffer {
  const answer = Buffer.alloc(2 * NLMSG_HDRLEN + 4);
  answer.writeUInt32LE(answer.length, 0);
  answer.writeUInt16LE(NLMSG_ERROR, 4);
  answer.writeUInt16LE(NLM_F_CAPPED, 6);
  message.copy(answer, 8, 8, 12); // the sequence number
  answer.writeInt32LE(-number, NLMSG_HDRLEN);
  message.copy(answer, NLMSG_HDRLEN + 4, 0, NLMSG_HDRLEN);
  return answer;
}

function receive(
  call: Notification,
  context: Context,
  socket: NetlinkSocket,
  parts: readonly Part[],
  flags: number,
  rest: (cut: boolean, memory: ProcessMemory) => { address: bigint; bytes: Uint8Array }[],
): void {
  if ((flags & MSG_ERRQUEUE) !== 0) {
    call.proceed();
    return;
  }
  const copy = copyOf(call, context, socket);
  try {
    context.netlink.deliver(socket);
    const sizeBytes = parts.reduce((sum, { length }) => sum + length, 0);
    const room = Buffer.alloc(Math.min(sizeBytes, MAX_DATAGRAM_BYTES));
    const length = native.netlinkReceive(copy, room, (flags & MSG_PEEK) !== 0);
    // The kernel knows whether and how long to wait.
    if (length === -errno.EAGAIN && (flags & MSG_DONTWAIT) === 0) {
      call.proceed();
      return;
    }
    if (length < 0) throw systemError('recvmsg', length);
    const got = room.subarray(0, Math.min(length, room.length));
    const memory = new ProcessMemory(call, context.placeholders);
    const writes = [...scatter(got, parts), ...rest(length > got.length, memory)];
    if (!memory.writeAll(writes)) throw systemError('recvmsg', -errno.EFAULT);
    context.netlink.deliver(socket);
    call.succeed((flags & MSG_TRUNC) === 0 ? got.length : length);
  } finally {
    native.close(copy);
  }
}

function scatter(bytes: Uint8Array, parts: readonly Part[]) {
  let at = 0;
  return parts.flatMap(({ address, length }) => {
    const piece = bytes.subarray(at, at + length);
    at += piece.length;
    return piece.length === 0 ? [] : [{ address, bytes: piece }];
  });
}
