/* Every native class and function is declared in this file, and the addon is loaded here only. */

import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { failure } from './errors.js';
import { codeFile, packageFolder } from './paths.js';

/** What a {@link Channel} is made of: a descriptor that it owns from then on, or a device's stream. */
export type ChannelSource = number | { device: Device; stream: number };

/** What a {@link Device} is made with. */
export interface DeviceSettings {
  /** The guest's context identifier. */
  guestCid: number;
  /** What each connection may hold unread, in bytes: the credit that the guest gets. */
  bufferBytes: number;
  /** Connections at a time, those that are being closed included. */
  maxConnections: number;
}

/**
 * A guest's virtio-vsock device, which QEMU reaches over a vhost-user socket; the event loop of the
 * thread that made it runs it. Its streams and listeners are numbers, for which these functions do
 * what the system calls of the same names do for descriptors: they do not block, and return a
 * negative errno on failure. It does not keep the process from ending unless it is held.
 */
export interface Device {
  /** Whether the guest's driver is there. */
  readonly running: boolean;
  /**
   * Asks the guest for a connection, from a free port if `localPort` is 0 → a stream. It becomes
   * writable when it is made, or {@link socketError} tells why not.
   */
  connect(port: number, localPort: number): number;
  /**
   * Listens on a port of the host, or with 2^32 − 1 on all that have no listener of their own → a
   * listener, readable when there is something to accept.
   */
  listen(port: number, backlog: number): number;
  /** → a stream. The guest is not answered before {@link confirm}; {@link closeStream} refuses. */
  accept(listener: number): number;
  confirm(stream: number): number;
  /** `ports[0]` becomes the host's port of a stream, `ports[1]` the guest's. */
  ports(stream: number, ports: Uint32Array): number;
  /** Calls `onReady` for these {@link PollEvent}s, as long as they hold; 0 pauses. */
  watch(id: number, events: number): number;
  /** → bytes, 0 at the end; -EHOSTDOWN when QEMU has gone, -ECONNABORTED when the device has. */
  recv(stream: number, buffer: Uint8Array, offset: number, length: number): number;
  send(stream: number, parts: readonly Uint8Array[], offset: number): number;
  shutdown(stream: number, how: number): number;
  /** Closes a stream or a listener. What was sent still arrives. */
  closeStream(id: number): number;
  socketError(stream: number): number;
  /** Keeps the process from ending until {@link letGo} is called as often. */
  hold(): void;
  letGo(): void;
  /** Ends every connection and the device. QEMU cannot be served again. */
  close(): void;
}

/** Readiness bits of {@link Poller}; the values are libuv's `UV_READABLE` and so on. */
export const PollEvent = { READABLE: 1, WRITABLE: 2, DISCONNECT: 4 } as const;

/**
 * Watches one descriptor on the event loop of the thread that made it. The descriptor stays the
 * caller's, but when the thread is torn down while it is watched, it is closed with it.
 */
export interface Poller {
  /** Starts or changes the watch; 0 pauses it. Returns 0 or a negative errno. */
  poll(events: number): number;
  ref(): void;
  unref(): void;
  /** Ends the watch. The descriptor may be closed as soon as this returns. */
  close(): void;
}

/**
 * The host's end of a session's connection: owns a stream, assembles frames as they
 * arrive and writes frames without a copy where the kernel takes them at once.
 */
export interface Channel {
  /**
   * The buffer that frames of up to its size are received into. The bytes of a frame are valid
   * until the frame callback returns, or until the next turn after {@link Channel.exchange}.
   */
  readonly receiveBuffer: Uint8Array;
  /** The frame at hand: its type, its id, and where its body starts and ends in its buffer. */
  readonly frame: Uint32Array;
  /** The buffer to build a frame in before {@link Channel.send}. */
  readonly sendBuffer: Uint8Array;
  /** Bytes accepted but not yet taken by the kernel. */
  readonly queuedBytes: number;
  /** Sends the first `length` bytes of `sendBuffer`. Returns 0 or a negative errno. */
  send(length: number): number;
  /**
   * Like {@link Channel.send}, for a caller that has nothing else to do before the answer: gives
   * way to a peer on the same core, looks out up to 20 µs for one on another, and sleeps for up to
   * 30 µs more. Does not wait when that has not helped of late, nor in more than 16 calls without
   * a turn of the event loop.
   *
   * Returns {@link ExchangeStatus} or a negative errno.
   */
  exchange(length: number): number;
  /** Delivers what {@link Channel.exchange} left undelivered. */
  deliver(): void;
  /** Sends these parts as one message, by writev(2). What the kernel does not take is copied. */
  sendParts(parts: readonly Uint8Array[]): number;
  /** Starts receiving. Until then the kernel holds what arrives. */
  start(): void;
  ref(): void;
  unref(): void;
  /** Closes the descriptor. No callback follows. */
  close(): void;
}

/**
 * The words of a waiting system call: its id, the thread as this process sees it, the architecture
 * (AUDIT_ARCH_*), the call's number, and its six arguments.
 */
export const NOTIFICATION_WORDS = 11;

/** What a {@link VerdictCache} made of a call. */
export const Verdict = {
  /** Nothing: its outcome is not known, or it has no key. */
  UNKNOWN: 0,
  /** It has failed as it did before. */
  ANSWERED: 1,
  /** The same, by an outcome that was inserted with `notify`. */
  NOTIFY: 2,
  /** It succeeds: the outputs are written, the rest is left to do, and it waits for the answer. */
  SUCCEEDS: 3,
} as const;

/**
 * What calls of one command have come to, by keys: the bytes of all that their outcome depends on.
 * Calls that can refer to a descriptor have none.
 */
export interface VerdictCache {
  /** The key of the call that was read last, if it has one. */
  readonly key: Uint8Array | undefined;
  /** The key of the call that was answered last; empty before that. */
  readonly latest: Uint8Array;
  /** How many outcomes are kept. */
  readonly size: number;
  /** The key of a call that waits, whose memory is read. */
  read(notification: BigUint64Array): Uint8Array | undefined;
  /** Answers a call that waits, if that can be done → {@link Verdict}. */
  answer(listener: number, notification: BigUint64Array): number;
  /** The errno that is kept for a key, 0 for success. */
  find(key: Uint8Array): number | undefined;
  /**
   * Keeps an outcome, in the place of an older one.
   *
   * @param writes what the kernel writes: parts of three 32-bit words (the region, which is 0 for
   *   the attribute and 1 for what the first pointer of the recipe leads to, the offset there, the
   *   length) and bytes
   * @param notify whether {@link Listener} tells of calls that are answered by it
   * @returns whether there was room
   */
  insert(key: Uint8Array, errno: number, writes: Uint8Array, notify: boolean): boolean;
  /** All outcomes, as a file. */
  save(): Uint8Array;
  /**
   * Adds the outcomes of a file of the same recipe, up to where it is damaged. The bytes are the
   * table's own from then on.
   */
  load(file: Uint8Array): void;
}

/**
 * The listener of a program's system calls. Calls that {@link VerdictCache} knows are answered by it;
 * after an answer it polls for the next call for up to 50 µs, while that pays, instead of going
 * through the event loop.
 */
export interface Listener {
  /** The call that `onCall` is called for, in {@link NOTIFICATION_WORDS}, until that returns. */
  readonly words: BigUint64Array;
  /** Ends the watch. The descriptor, which is the caller's, may be closed as soon as this returns. */
  close(): void;
}

/** What {@link Channel.exchange} found after it sent. */
export const ExchangeStatus = {
  /** Nothing; what comes in will be delivered in the usual way. */
  SENT: 0,
  /** One frame, now in `receiveBuffer` and described by `frame`, for the caller to take. */
  ANSWERED: 1,
  /** Something else, for which the caller must call {@link Channel.deliver}. */
  UNDELIVERED: 2,
} as const;

/**
 * Called for each frame, which {@link Channel.frame} describes. `bytes` is `receiveBuffer`, or a
 * buffer of its own for a frame that is larger.
 */
export type FrameCallback = (bytes: Uint8Array) => void;

/**
 * Called once when the connection ends.
 *
 * `status` is 0 at a clean end between frames, a negative errno when the kernel reported one,
 * {@link ChannelEnd.TRUNCATED} or {@link ChannelEnd.MALFORMED}; `have` and `want` tell how many
 * bytes of the last frame had arrived and how many were announced.
 */
export type EndCallback = (status: number, have: number, want: number) => void;

/** Values of `status` in {@link EndCallback} that are no errno. */
export const ChannelEnd = { TRUNCATED: 1, MALFORMED: 2, TOO_LARGE: 3 } as const;

/**
 * Executes frames on the calling thread and in this process: the session executor's core without
 * its process. For tests, and to judge calls by; it has none of the isolation of the real one.
 */
export interface Executor {
  /** Takes one whole frame, header included, and returns the whole answering frame. */
  execute(frame: Uint8Array): Uint8Array;
  /** Closes every handle. */
  close(): void;
}

/** Memory that another process may map, too. */
export type SharedMemory = Uint8Array & { readonly fd: number };

/** The addon's exports. Functions that return `number` return a negative errno on failure. */
export interface Native {
  Poller: new (fd: number, callback: (status: number, events: number) => void) => Poller;
  /** @param recipe see addon/core/supervisor/verdict_cache.h */
  VerdictCache: new (
    recipe: Uint32Array,
  ) => VerdictCache;
  /**
   * @param kernelPaths calls that open or look at a file by an absolute path which leads past all of
   *   these are made by this machine's kernel, without `onCall`
   * @param program the process that is about to become the program. What it may do is what the
   *   program can give up
   * @param begins unless its first byte is 0, `onCall` is called for these, too
   * @param onCall takes a call, and what {@link Verdict} says of it: never `ANSWERED`
   * @param onEnd called when nobody is left who could make a call
   */
  Listener: new (
    fd: number,
    program: number,
    cache: VerdictCache,
    kernelPaths: readonly string[],
    begins: Uint8Array,
    onCall: (verdict: number) => void,
    onEnd: () => void,
  ) => Listener;
  Channel: new (
    source: ChannelSource,
    maxFrameBytes: number,
    onFrame: FrameCallback,
    onEnd: EndCallback,
    onDrain: () => void,
  ) => Channel;
  /** Listens on the Unix socket `path` for QEMU; throws a system error. */
  Device: new (
    path: string,
    settings: DeviceSettings,
    onReady: (id: number, events: number) => void,
    onState: (running: boolean) => void,
  ) => Device;
  /**
   * @param rules in CBOR, as addon/core/executor/rules.h describes and src/policy/rules.ts encodes
   * @param judges whether calls are held against the rules only: what they allow ends with ENOSYS
   */
  Executor: new (
    rules: Uint8Array,
    judges?: boolean,
  ) => Executor;

  /** socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) → fd. */
  vsockSocket(): number;
  vsockBind(fd: number, cid: number, port: number): number;
  /** 0, -EINPROGRESS, or another negative errno. */
  vsockConnect(fd: number, cid: number, port: number): number;
  /** accept4(2) → fd; `peer[0]` becomes the CID, `peer[1]` the port. */
  vsockAccept(fd: number, peer: Uint32Array): number;
  /** getsockname(2); `name[0]` becomes the CID, `name[1]` the port. */
  vsockName(fd: number, name: Uint32Array): number;
  /** The CID of this machine, by IOCTL_VM_SOCKETS_GET_LOCAL_CID on /dev/vsock. */
  vsockLocalCid(): number;
  /** Sets SO_VM_SOCKETS_BUFFER_MAX_SIZE and then BUFFER_SIZE: the receive credit, in bytes. */
  vsockSetBufferSize(fd: number, bytes: number): number;
  /** SO_VM_SOCKETS_CONNECT_TIMEOUT. */
  vsockSetConnectTimeout(fd: number, timeoutMs: number): number;

  listen(fd: number, backlog: number): number;
  /** SO_ERROR, as a negative errno, or 0. */
  socketError(fd: number): number;
  /** recv(2) → bytes, 0 at the end of the stream. */
  recv(fd: number, buffer: Uint8Array, offset: number, length: number): number;
  /** sendmsg(2) of `parts`, of which the first `offset` bytes are left out → bytes taken. */
  send(fd: number, parts: readonly Uint8Array[], offset: number): number;
  /** shutdown(2); `how` is 0 (receive), 1 (send) or 2 (both). */
  shutdown(fd: number, how: number): number;
  close(fd: number): number;
  /** fcntl(F_DUPFD_CLOEXEC) → fd. */
  duplicate(fd: number): number;
  /** pipe2(2) → `pair[0]` to read from and `pair[1]` to write to; 0 or a negative errno. */
  pipe(pair: Int32Array): number;
  /** socketpair(AF_UNIX, SOCK_STREAM) → both ends in `pair`; 0 or a negative errno. */
  socketPair(pair: Int32Array): number;
  /**
   * Makes a socket, `pair[1]`, that cannot be read from (EINVAL) or written to (ENOTCONN), and one,
   * `pair[0]`, that is readable once the last copy of that is closed. 0 or a negative errno.
   */
  deafPair(pair: Int32Array): number;
  /** socketpair(AF_UNIX, SOCK_SEQPACKET) → both ends in `pair`; 0 or a negative errno. */
  messagePair(pair: Int32Array): number;
  /**
   * sendmsg(2) of `parts` as one message, with a copy of `descriptor` (SCM_RIGHTS) unless that is
   * negative. Does not wait: -EAGAIN when there is no room.
   */
  sendMessage(fd: number, parts: readonly Uint8Array[], descriptor: number): number;
  /** Whether calls on a socket wait. */
  setBlocking(fd: number, blocking: boolean): number;
  /** SO_RCVTIMEO and SO_SNDTIMEO: how long such a call may wait; 0 is for ever. */
  setTimeouts(fd: number, timeoutMs: number): number;
  /** TCP_NODELAY, where the socket has it. */
  setNoDelay(fd: number): number;
  /** recvmsg(2) of one descriptor (SCM_RIGHTS) → fd. */
  receiveDescriptor(fd: number): number;
  /**
   * Sends a message to the Unix socket of datagrams at `path`, which begins with `@` where it is a
   * name that is no file's → bytes taken. Does not wait.
   */
  sendDatagram(path: string, message: Uint8Array): number;

  /*
   * Answering the system calls of another process: seccomp_unotify(2). `listener` is the descriptor
   * that waep-launch hands over; `notification` has {@link NOTIFICATION_WORDS} words, of which
   * these look at the first. -ENOENT: the call waits no more.
   */

  /** Has waiting callers woken on this processor: SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP, Linux 6.6. */
  seccompSetSyncWakeUp(listener: number): number;
  /** 0 while the thread is the one that made the call: what was read of it can be trusted. */
  seccompCheck(listener: number, notification: BigUint64Array): number;
  /** Lets the call return `value`, or fail with the positive `errno`. */
  seccompRespond(
    listener: number,
    notification: BigUint64Array,
    value: number,
    errno: number,
  ): number;
  /** Has this machine's kernel make the call after all. */
  seccompContinue(listener: number, notification: BigUint64Array): number;
  /** Gives the caller a copy of `fd` and lets the call return its number, which is returned. */
  seccompRespondDescriptor(
    listener: number,
    notification: BigUint64Array,
    fd: number,
    closeOnExec: boolean,
  ): number;
  /** Puts a copy of `fd` in the place of the caller's descriptor `number`. */
  seccompReplaceDescriptor(
    listener: number,
    notification: BigUint64Array,
    fd: number,
    number: number,
    closeOnExec: boolean,
  ): number;
  /** process_vm_readv(2) → how many bytes of `buffer` there are at `address`, counted from there. */
  readMemory(thread: number, address: bigint, buffer: Uint8Array): number;
  /**
   * Writes to the memory of whoever made a call that waits, and to nobody else's → bytes written, up
   * to the first that the program could not write; -ENOENT when the call waits no more.
   */
  writeMemory(
    listener: number,
    notification: BigUint64Array,
    parts: readonly { readonly address: bigint; readonly bytes: Uint8Array }[],
  ): number;
  /**
   * A number that tells the socket, shared memory or eventfd behind a descriptor of another process
   * from all others, or 0 for anything else.
   */
  identify(thread: number, fd: number): number;
  /**
   * memfd_create(2) of `bytes` zeroes, mapped here for as long as the array lives. Links in /proc
   * show the name, which has 249 bytes at most. Default: `waep`. The descriptor,
   * in `fd`, is the caller's to close.
   */
  shareMemory(bytes: number, name?: string): number | SharedMemory;
  /** Has read(2) of shared memory find nothing and write(2) fail, and keeps its size. */
  sealMemory(fd: number): number;
  /** Opens shared memory once more, for reading → fd. Its read(2) finds nothing, too. */
  readableCopy(fd: number): number;
  /** eventfd(2) → fd. */
  makeEvent(): number;
  /**
   * Makes an eventfd readable, or not, whatever the program that shares it has done to it. Never
   * waits.
   */
  setEvent(fd: number, ready: boolean): number;
  /** pidfd_getfd(2) → a copy of a descriptor of a thread's process. */
  takeCopy(thread: number, fd: number): number;

  /*
   * Sockets that stand for sockets of netlink in the guest (addon/core/supervisor/netlink_socket.h).
   */

  /** Makes such a socket → fd. */
  netlinkOpen(type: number): number;
  /** → the port of a socket, which it gets if it has none. */
  netlinkPort(fd: number): number;
  /**
   * Makes a program's socket receive from the port `from` only → 0. `found` gets its port, which is
   * that of the thread's process unless it has one, and its options.
   */
  netlinkTie(fd: number, thread: number, from: number, found: Uint32Array): number;
  /** Sends a datagram to a port without waiting → 0; -EAGAIN if there is no room. */
  netlinkDeliver(fd: number, port: number, bytes: Uint8Array): number;
  /** Receives a datagram without waiting → its whole length. */
  netlinkReceive(fd: number, buffer: Uint8Array, peek: boolean): number;
  /**
   * Replaces the first symbolic link in an absolute path, as `thread` sees it, by its target. A link
   * at the end counts if `last` is set → an empty text if there is none.
   */
  followLink(thread: number, path: string, last: boolean): string;

  /*
   * Standing by for programs that are to run on a guest (addon/core/supervisor/standby_socket.h): each sends
   * its name and its standard error, is told by how much the guest's clock is ahead, hands over the
   * listener of its system calls, and is let go by a byte.
   */

  /**
   * Listens for those that name this address → fd, non-blocking. -EADDRINUSE: another process
   * stands by for it; -ENAMETOOLONG.
   */
  standbyListen(address: string): number;
  /** → fd, non-blocking; -EPERM when it was another user's, who has been turned away. */
  standbyAccept(fd: number): number;
  /**
   * → the length of the program's name, in `name` (255 bytes); `others[0]` is its standard error and
   * `others[1]` its process.
   */
  standbyReceive(fd: number, name: Uint8Array, others: Int32Array): number;
  /** Writes to a program's standard error without waiting → 0; -EAGAIN when it is full. */
  standbyTell(output: number, text: Uint8Array): number;

  /** flock(2), exclusive and without waiting → 0; -EWOULDBLOCK when another open file has the lock. */
  tryLock(fd: number): number;
  /**
   * Takes system calls from this process that a server of sockets has no use for, for ever: those
   * that start programs or give rights (addon/core/supervisor/restraint.h) → 0.
   */
  restrain(): number;
  /**
   * Makes io_uring_setup(2) fail with ENOSYS in this process and in what it starts. Returns 1, or 0
   * if it has failed so before, or a negative errno.
   */
  refuseRings(): number;
  /**
   * execve(2) of a file with these arguments, the program's name first, the same environment and
   * the same standard streams. Returns a negative errno, or not at all.
   */
  execute(file: string, words: readonly string[]): number;

  /*
   * Mounts of this process' own (addon/core/executor/mounts.h). They are those of the calling thread and of
   * the processes that it starts; libuv's threads, which serve asynchronous calls of `node:fs`, do
   * not see them.
   */

  /** unshare(2) with CLONE_NEWNS: what is mounted from then on, nobody else sees. */
  leaveMounts(): number;
  /** mount(2) of a new file system of this type. */
  mount(type: string, place: string): number;
  /** mount(2) with MS_BIND: shows at `place` what is mounted at `source`. */
  bindMount(source: string, place: string): number;

  /** Takes all capabilities from all threads of this process. Returns 0 or a negative errno. */
  dropCapabilities(): number;
  /**
   * For this process and what it starts: no new privileges, and EPERM for the system calls that the
   * agent has no use for (addon/core/executor/confinement.cc lists them). Returns 0 or a negative errno.
   */
  refuseSystemCalls(): number;
}

/**
 * Returns the path of a file that the addon's build makes: `waep.node`, or the programs
 * `waep-executor`, `waep-keeper` and `waep-launch`. It is taken from the package, and from beside the running file
 * for a bundle that was copied somewhere else. WAEP_NATIVE_DIR names another folder to take it from.
 *
 * @throws ERR_ADDON_MISSING, and ERR_PLATFORM for a program that is not made for this platform
 */
export function nativeFile(name: string): string {
  if (name !== 'waep.node') requirePlatform(name);
  const here = dirname(codeFile);
  const override = process.env.WAEP_NATIVE_DIR;
  const folders = override === undefined ? [...packageFolders(here), here] : [override];
  const path = folders.map((candidate) => join(candidate, name)).find((file) => existsSync(file));
  if (path !== undefined) return path;
  throw missing(join(folders[0] ?? '', name), 'no such file');
}

function missing(path: string, why: string, cause?: unknown): Error {
  const cure = isBundled()
    ? `The code is in ${codeFile}, outside of the package. Copy ${PREBUILDS}/waep.node of the package beside it, or leave waep out of the bundle (esbuild: --external:waep; webpack: externals; rollup: external; ncc: --external waep).`
    : `Build it with "npx node-gyp rebuild" in the package's folder. That needs a C++17 compiler, make and python3: "apt-get install g++ make python3", "dnf install gcc-c++ make python3" or "apk add g++ make python3 linux-headers".`;
  return failure('ERR_ADDON_MISSING', { path, why, cure }, cause);
}

/** Whether this code is in somebody else's package, or in none. */
function isBundled(): boolean {
  try {
    return JSON.parse(readFileSync(join(packageFolder, 'package.json'), 'utf8')).name !== 'waep';
  } catch {
    return true;
  }
}

/** Where the package has them that this file is part of. A copy of a bundle is part of none. */
function packageFolders(here: string): string[] {
  const at = `${here}/`.lastIndexOf('/dist/');
  if (at < 0) return [];
  return ['build/Release', PREBUILDS].map((name) => join(here.slice(0, at), name));
}

const PLATFORM = `${process.platform}-${process.arch}`;
/** The folder with what was built for this platform. The addon is for every C library. */
const PREBUILDS = `prebuilds/${PLATFORM}`;

/**
 * Refuses what is not made for this platform. Agents and `waep run` know the numbers and registers of
 * the system calls of linux-x64 only.
 *
 * @throws ERR_PLATFORM
 */
export function requirePlatform(what: string, platforms: readonly string[] = ['linux-x64']): void {
  if (platforms.includes(PLATFORM)) return;
  throw failure('ERR_PLATFORM', { what, where: platforms.join(' and '), found: PLATFORM });
}

function load(): Native {
  requirePlatform('The addon, which only tcp: and unix: do without,', ['linux-x64', 'linux-arm64']);
  const path = nativeFile('waep.node');
  try {
    // Not require(): webpack takes it for its own.
    const module = { exports: {} as Native };
    process.dlopen(module, path);
    return module.exports;
  } catch (error) {
    throw missing(path, (error as Error).message, error);
  }
}

/** What throws the same for whatever is asked of it: much of the package works without the addon. */
function lacking(reason: unknown): Native {
  const get = () => {
    throw reason;
  };
  return new Proxy({} as Native, { get });
}

function loadOrLack(): Native {
  try {
    return load();
  } catch (reason) {
    return lacking(reason);
  }
}

/**
 * The loaded addon. Where it cannot be loaded, its functions throw ERR_ADDON_MISSING or ERR_PLATFORM,
 * and what needs none of them works.
 */
export const native: Native = loadOrLack();
