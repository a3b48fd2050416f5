/**
 * The shape of a forwarded system call: a small heap with relocations.
 *
 * A call is a command number, a list of buffers of which the leading {@link Call.args} are the
 * call's own arguments, and a list of relocations that say where in those buffers a pointer to
 * another buffer or the descriptor behind a handle belongs. Whoever executes it needs to know
 * nothing about the command. PROTOCOL.md describes the same on the wire.
 */
export interface Call {
  /** The command number, with its flag bits if the caller set any. */
  command: number;
  /** How many leading buffers are arguments, each passed as (pointer, size): 1, or 2. */
  args: 1 | 2;
  /** The handle to bind a new descriptor to (≥ 1), or 0 when the result is a plain number. */
  result: Handle;
  /** The buffers. The first is the attribute union. */
  buffers: CallBuffer[];
  /** Relocations, four numbers each: buffer, byte offset, {@link Relocation}, target. */
  relocations: number[];
}

/**
 * A buffer of a call: bytes that only go in, a length in bytes that only comes out (zero-filled
 * before the call), or bytes that go in and come back.
 */
export type CallBuffer = Uint8Array | number | InOut;

/** Bytes that go in and come back, possibly changed. */
export interface InOut {
  /** The bytes before the call. */
  readonly inout: Uint8Array;
}

/**
 * A call of a chain. It makes no descriptor, and its buffers may be copies of what earlier calls of
 * the chain have returned.
 */
export interface ChainedCall extends Omit<Call, 'result' | 'buffers'> {
  /** The buffers. The first is the attribute union. */
  buffers: (CallBuffer | Copied)[];
}

/** A buffer that only goes in, with the bytes of an output of an earlier call of the chain. */
export interface Copied {
  /** The index of the earlier call in the chain. */
  readonly call: number;
  /** The index of the output in the call's reply. */
  readonly output: number;
}

/** What came back from a chain. */
export interface ChainReply {
  /**
   * The replies to the calls that were executed, the first ones of the chain. Unless there is an
   * `error`, there is at least one. If the last of them is of a call that the kernel refused, or if
   * the agent has run out of time or room, there are fewer than calls.
   */
  replies: Reply[];
  /** The error of the call behind them, if the agent refused that call. */
  error: Error | undefined;
}

/** Names an object that lives in the guest. Chosen by the client, scoped to one session, ≥ 1. */
export type Handle = number;

/** What a relocation writes. */
export const Relocation = {
  /**
   * The 64-bit address of buffer `target`. What the word holds before is added to it, so it must
   * be zero or an offset within the target.
   */
  POINTER: 0,
  /** The descriptor behind handle `target`, as 32 bits. */
  FD32: 1,
  /** The descriptor behind handle `target`, zero-extended to 64 bits. */
  FD64: 2,
  /** The process id of whoever makes the call, as 32 bits; `target` is 0. */
  PID: 3,
} as const;

/** Returns the handles that relocations name: in an argument, in instructions and behind pointers. */
export function handlesIn(relocations: readonly number[]): Handle[] {
  const handles: Handle[] = [];
  for (let at = 0; at < relocations.length; at += 4) {
    const kind = relocations[at + 2];
    const isHandle = kind === Relocation.FD32 || kind === Relocation.FD64;
    if (isHandle) handles.push(relocations[at + 3] as Handle);
  }
  return handles;
}

/** A perf_event_open(2): the first buffer is its attribute, whose pointers are relocations. */
export interface PerfOpenCall {
  /** The handle to bind the event to. */
  result: Handle;
  /**
   * A process of the guest, 0 for the one that makes the call, −1 for any; or the handle of a
   * cgroup's folder, with PERF_FLAG_PID_CGROUP in `flags`.
   */
  pid: number | { readonly handle: Handle };
  /** A CPU of the guest, or −1 for any. */
  cpu: number;
  /** The handle of the event that leads the group, or 0. */
  group: Handle;
  /** `PERF_FLAG_*`. */
  flags: number;
  /** The buffers, as those of {@link Call}. */
  buffers: CallBuffer[];
  /** The relocations, as those of {@link Call}. */
  relocations: number[];
}

/** What can be asked of the guest's files by their paths. Those from MKDIR on change something. */
export const FileOperation = {
  STAT: 0,
  STATFS: 1,
  READLINK: 2,
  LIST: 3,
  MKDIR: 4,
  RMDIR: 5,
  UNLINK: 6,
  RENAME: 7,
  MKDIR_CGROUP: 8,
  RMDIR_CGROUP: 9,
  SYMLINK: 10,
} as const;

/** A question about a file of the guest, or a change of a pin, its folder, or a cgroup. */
export interface FileRequest {
  /** One of {@link FileOperation}. */
  readonly operation: number;
  readonly path: string;
  /**
   * STAT: 1 for a link itself instead of what it leads to. LIST: where to begin, 0 or `d_off` of the
   * last entry. MKDIR and MKDIR_CGROUP: the mode. RENAME: the flags of renameat2(2). Default 0.
   */
  readonly number?: number | bigint;
  /** RENAME: the new path. SYMLINK: the path to which the link leads. */
  readonly other?: string;
}

/** An ioctl(2) on what a handle stands for. */
export interface IoctlCall {
  /** The handle of the object. */
  handle: Handle;
  /** The number of the request. */
  request: number;
  /**
   * The first buffer has the 8 bytes of the third argument: a number, or zero with a relocation of
   * kind POINTER or FD64. All ones stand for no descriptor.
   */
  buffers: CallBuffer[];
  /** The relocations, as those of {@link Call}. */
  relocations: number[];
}

/** A message of netlink(7) to the guest's kernel. */
export interface NetlinkRequest {
  /** The protocol of the socket, such as 0 for NETLINK_ROUTE. */
  protocol: number;
  /** {@link NetlinkOption} bits. Default 0. */
  options?: number;
  /** One message with its header, `struct nlmsghdr`, which states the length of these bytes. */
  message: Uint8Array;
  /** Where descriptors are in the message, as in {@link Call}; all of kind FD32. */
  relocations?: number[];
}

/** The options of a netlink socket that change the kernel's answer. */
export const NetlinkOption = { EXT_ACK: 1, CAP_ACK: 2, GET_STRICT_CHK: 4 } as const;

/** What came back from a call that reached the kernel. */
export interface Reply {
  /** The system call's result: −1 on error; the bound handle when a descriptor was returned. */
  result: number;
  /** The positive errno when `result` is −1, else 0. */
  errno: number;
  /**
   * The contents of every out and inout buffer, in the order of their indices. Each has
   * its declared length; the bytes belong to the receiver. A relocated word of an output
   * comes back with all bits set where the kernel left it alone.
   */
  outputs: Uint8Array[];
}
