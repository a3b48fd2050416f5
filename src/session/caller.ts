import type { Call, FileRequest, Handle, IoctlCall, PerfOpenCall, Reply } from '../call.js';
import type { KernelInfo, SessionLimits } from '../frame/index.js';
import type { GuestClock } from './clock.js';
import type { BatchCallback, EventStream, StreamOptions, StreamOrigin } from './event-stream.js';
import type { Patience } from './pending.js';
import type { RingWriter } from './ring-writer.js';

export type {
  BatchCallback,
  EventStream,
  StreamOptions,
  StreamOrigin,
  StreamStatistics,
} from './event-stream.js';
export type { Patience } from './pending.js';
export type { RingWriter } from './ring-writer.js';

/** Options of one call. */
export interface CallOptions extends Patience {
  /** What errors call it, such as `BPF_PROG_LOAD`. */
  name?: string;
  /**
   * Whether the answer is wanted later, and other work comes first: the call is sent, and this
   * thread does not stay for its answer. Default: no.
   */
  ahead?: boolean;
  /** Whether outputs may come without the zeroes at their ends, as they travel. Default: no. */
  trimmed?: boolean;
  /**
   * Capabilities that the guest makes the call without: bits by their numbers in
   * linux/capability.h. Default: none.
   */
  without?: number;
}

/**
 * What the library needs of a conversation with a guest's agent. A {@link Session} is one; a test,
 * or another way to reach a kernel, may be another.
 */
export interface Caller {
  /** The address as it was given, or `stream`. */
  readonly address: string;
  /** Facts about the guest's kernel. */
  readonly kernel: KernelInfo;
  /** The bounds that the agent sets. */
  readonly limits: SessionLimits;
  /** The name of the agent's profile that this session is under. */
  readonly profile: string;
  /** Whether the session has ended. */
  readonly closed: boolean;

  /** Returns a handle that has not been used in this session. */
  newHandle(): Handle;

  /**
   * Has a call executed in the guest. One frame goes there and one comes back.
   *
   * A failure that the guest's kernel reports is no rejection: it is in the reply's `errno`, with
   * whatever the kernel wrote all the same.
   *
   * @throws ERR_CALL_* and ERR_HANDLE_* when the agent finds the call at fault,
   *   ERR_POLICY_REFUSED, ERR_CALL_TIMEOUT, ERR_CALL_ABORTED, ERR_SESSION_CLOSED
   */
  call(call: Call, options?: CallOptions): Promise<Reply>;

  /**
   * Like {@link call}, but a reply that is there at once is returned at once, which costs least,
   * and what keeps a call from being sent is thrown.
   *
   * @param name what errors call it
   */
  start(
    call: Call,
    options: CallOptions | undefined,
    name: string | number,
  ): Reply | Promise<Reply>;

  /**
   * Has calls executed in the guest in their order, whatever becomes of each: like {@link call} for
   * one after the other, but they travel together, and so do their answers, for which this thread
   * does not stay. Many small calls take a fraction of the time so.
   *
   * @returns the replies in the order of the calls; each rejects by itself, as {@link call} does
   */
  callAll(calls: readonly Call[], options?: CallOptions): Promise<Reply>[];

  /**
   * Opens a file of the guest's kernel for reading, such as
   * `/sys/kernel/tracing/trace_pipe`, if the guest's policy allows.
   *
   * @param options `handle`: what to bind it to, so that requests that depend on it need not wait.
   *   Default: a new one
   * @throws the guest's system error, ERR_POLICY_REFUSED and what {@link call} throws
   */
  open(path: string, options?: CallOptions & { handle?: Handle }): Promise<Handle>;

  /**
   * Reads up to `lengthBytes` from what a handle stands for: an opened file, an iterator. Resolves
   * with an empty array at the end, and with `undefined` when nothing is there yet (EAGAIN).
   */
  read(handle: Handle, lengthBytes: number, options?: CallOptions): Promise<Uint8Array | undefined>;

  /**
   * Reads as {@link read} does, and says whether less than `lengthBytes` means that the end is
   * near: `errno` is 0, or the positive errno of what kept the guest from reading on.
   */
  readPart(
    handle: Handle,
    lengthBytes: number,
    options?: CallOptions,
  ): Promise<{ bytes: Uint8Array; errno: number }>;

  /**
   * Looks at a file of the guest, or changes a bpf file system, if the guest's policy allows: `bytes`
   * are what the system call writes (`struct statx`, `struct statfs`, the text of a link, records of
   * getdents64(2)), and `errno` is 0 or the guest's positive errno.
   *
   * @throws ERR_AGENT_LACKS when the agent is older than this; ERR_POLICY_REFUSED and what
   *   {@link call} throws
   */
  file(request: FileRequest, options?: CallOptions): Promise<{ bytes: Uint8Array; errno: number }>;

  /** Closes handles in the guest. What only they held alive is gone afterwards. */
  release(handles: readonly Handle[], options?: CallOptions): Promise<void>;

  /**
   * Closes every handle that the session has, or that a call under way is to bind. Streams hold on
   * to what they read from until they are closed themselves.
   */
  releaseAll(options?: CallOptions): Promise<void>;

  /**
   * Opens a perf event in the guest (perf_event_open(2)). Like {@link call}, it leaves the kernel's
   * errno in the reply; {@link Session.openPerfEvent} is the comfortable form.
   */
  perfEventOpen(call: PerfOpenCall, options?: CallOptions): Promise<Reply>;

  /**
   * Makes an ioctl(2) on what a handle stands for, of the requests that the guest's policy lists:
   * those of perf events. Like {@link call}, it leaves the kernel's errno in the reply.
   */
  ioctl(call: IoctlCall, options?: CallOptions): Promise<Reply>;

  /**
   * Reads the guest's clock, some times in a row, and returns what is known of it on the host's
   * timeline: the same object each time, with more readings. Read it now and then while stamps are
   * placed by it: before the first of them, and after.
   */
  readClock(rounds?: number): Promise<GuestClock>;

  /**
   * Has events delivered as they happen, over a connection of their own: stretches of raw records,
   * in order. {@link BpfMap.records} takes them apart.
   *
   * While `callback` has not returned for as many bytes as the window has, the guest does not read
   * on, its kernel's buffer fills, and programs there see what they would see with a slow reader of
   * their own.
   *
   * @throws the guest's system error, ERR_HANDLE_UNKNOWN, ERR_STREAM_LIMIT
   */
  subscribe(
    origin: StreamOrigin,
    options: StreamOptions,
    callback: BatchCallback,
  ): Promise<EventStream>;

  /** Makes a writer for the user ring buffer behind a handle, which has so many bytes. */
  ringWriter(map: Handle, sizeBytes: number): RingWriter;
}
