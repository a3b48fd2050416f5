import type {
  Call,
  ChainedCall,
  ChainReply,
  FileRequest,
  Handle,
  IoctlCall,
  NetlinkRequest,
  PerfOpenCall,
  Reply,
} from '../call.js';
import type { KernelInfo, SessionLimits } from '../frame/index.js';
import type { OptionNames } from '../known-options.js';
import type { GuestClock } from './clock.js';
import type { BatchCallback, EventStream, StreamOptions, StreamOrigin } from './event-stream.js';
import { type Patience, patienceNames } from './pending.js';
import type { RingWriter } from './ring-writer.js';

export type {
  BatchCallback,
  EventStream,
  StreamOptions,
  StreamOrigin,
  StreamStatistics,
} from './event-stream.js';
export { type Patience, patienceNames } from './pending.js';
export type { RingWriter } from './ring-writer.js';

/** Options of one call. */
export interface CallOptions extends Patience {
  /** The name of the call in errors, such as `BPF_PROG_LOAD`. */
  name?: string;
  /**
   * Whether other work comes before the answer. The call is sent, and this thread does not wait for
   * the answer. Default: no.
   */
  ahead?: boolean;
  /** Whether outputs may come as they travel, without their trailing zeroes. Default: no. */
  trimmed?: boolean;
  /**
   * Capabilities that the guest drops for the call: bits by their numbers in linux/capability.h.
   * Default: none.
   */
  without?: number;
}

export const callNames: OptionNames<CallOptions> = {
  ...{ name: true, ahead: true, trimmed: true, without: true },
  ...patienceNames,
};

/**
 * The parts of a conversation with a guest's agent that the library needs. {@link Session}
 * implements it. A test, or another way to reach a kernel, may implement it as well.
 */
export interface Caller {
  /** The address as it was given, or `stream`. */
  readonly address: string;
  /** Facts about the guest's kernel. */
  readonly kernel: KernelInfo;
  /** The limits that the agent sets. */
  readonly limits: SessionLimits;
  /** The name of the agent's profile that applies to this session. */
  readonly profile: string;
  /** Whether the session has ended. */
  readonly closed: boolean;

  /** Returns a handle that has not been used in this session. */
  newHandle(): Handle;

  /**
   * Executes a call in the guest. One frame goes to the guest and one comes back.
   *
   * An error of the guest's kernel does not reject the promise. The reply has its `errno`, and
   * everything that the kernel wrote.
   *
   * @throws ERR_CALL_* and ERR_HANDLE_* when the agent rejects the call as wrong,
   *   ERR_POLICY_REFUSED, ERR_CALL_TIMEOUT, ERR_CALL_ABORTED, ERR_SESSION_CLOSED
   */
  call(call: Call, options?: CallOptions): Promise<Reply>;

  /**
   * Like {@link call}, but returns a reply directly if it is there at once, which costs least.
   * Throws an error that keeps the call from being sent.
   *
   * @param name the name of the call in errors
   */
  start(
    call: Call,
    options: CallOptions | undefined,
    name: string | number,
  ): Reply | Promise<Reply>;

  /**
   * Executes calls in the guest in their order, even if some of them fail. The calls travel
   * together, and so do their answers, and this thread does not wait for the answers. Many small
   * calls take a fraction of the time that they take one by one with {@link call}.
   *
   * @returns the replies in the order of the calls; each rejects separately, as in {@link call}
   */
  callAll(calls: readonly Call[], options?: CallOptions): Promise<Reply>[];

  /** How many calls {@link chain} takes at most. 0: the agent is too old for it. */
  readonly chainCalls: number;

  /**
   * Executes calls in the guest in their order, until one fails. A call can take what an earlier
   * one has returned. One frame goes to the guest and one comes back. The agent checks each call as
   * it checks one by itself. It may end a chain early, so that other calls get their turn.
   *
   * @throws ERR_AGENT_LACKS for more than {@link chainCalls} calls, and what {@link call} throws,
   *   but for errors of the single calls
   */
  chain(calls: readonly ChainedCall[], options?: CallOptions): Promise<ChainReply>;

  /**
   * Opens a file of the guest's kernel for reading, such as `/sys/kernel/tracing/trace_pipe`, if
   * the guest's policy allows it.
   *
   * @param options `handle`: the handle to bind, so that requests with it need not wait for the
   *   answer. Default: a new handle
   * @throws the guest's system error, ERR_POLICY_REFUSED and the errors of {@link call}
   */
  open(path: string, options?: CallOptions & { handle?: Handle }): Promise<Handle>;

  /**
   * Reads up to `lengthBytes` from the object behind a handle, such as an opened file or an
   * iterator. Resolves with an empty array at the end, and with `undefined` when nothing is there
   * yet (EAGAIN).
   */
  read(handle: Handle, lengthBytes: number, options?: CallOptions): Promise<Uint8Array | undefined>;

  /**
   * Reads like {@link read}. `errno` is the positive errno that kept the guest from reading on, or
   * 0. With 0, fewer bytes than `lengthBytes` mean that the end is near.
   */
  readPart(
    handle: Handle,
    lengthBytes: number,
    options?: CallOptions,
  ): Promise<{ bytes: Uint8Array; errno: number }>;

  /**
   * Looks at a file of the guest, or changes a BPF file system, if the guest's policy allows it.
   * `bytes` are the output of the system call: `struct statx`, `struct statfs`, the text of a link,
   * or records of getdents64(2). `errno` is 0 or the guest's positive errno.
   *
   * @throws ERR_AGENT_LACKS when the agent is too old for this request; ERR_POLICY_REFUSED and the
   *   errors of {@link call}
   */
  file(request: FileRequest, options?: CallOptions): Promise<{ bytes: Uint8Array; errno: number }>;

  /** Closes handles in the guest. Objects that nothing else keeps alive are gone afterwards. */
  release(handles: readonly Handle[], options?: CallOptions): Promise<void>;

  /**
   * Closes every handle that the session has, or that a call under way will bind. A stream keeps
   * its source until the stream itself is closed.
   */
  releaseAll(options?: CallOptions): Promise<void>;

  /**
   * Opens a perf event in the guest (perf_event_open(2)). Like {@link call}, it leaves the kernel's
   * errno in the reply. {@link Session.openPerfEvent} is more convenient.
   */
  perfEventOpen(call: PerfOpenCall, options?: CallOptions): Promise<Reply>;

  /**
   * Makes an ioctl(2) on the object behind a handle. The guest's policy lists the allowed requests,
   * all of them on perf events. Like {@link call}, it leaves the kernel's errno in the reply.
   */
  ioctl(call: IoctlCall, options?: CallOptions): Promise<Reply>;

  /**
   * Sends a message of netlink(7) to the guest's kernel, if the guest's policy allows it. Resolves
   * with the datagrams of the answer, each with one message or several. They say what the kernel
   * refused.
   *
   * @throws the guest's system error if the message cannot be sent; ERR_AGENT_LACKS when the agent is
   *   too old for this request; ERR_POLICY_REFUSED and the errors of {@link call}
   */
  netlink(request: NetlinkRequest, options?: CallOptions): Promise<Uint8Array[]>;

  /**
   * Reads the guest's clock several times in a row. Returns the clock on the host's timeline: the
   * same object each time, with more readings. Read the clock before the first stamp that you
   * place, after the last one, and now and then in between.
   *
   * @example
   * ```ts
   * const clock = await session.readClock();
   * const { hostMs, errorMs } = clock.place(ktime, performance.now());
   * ```
   */
  readClock(rounds?: number): Promise<GuestClock>;

  /**
   * Delivers events as they happen, over a connection of their own, as stretches of raw records in
   * order. {@link BpfMap.records} splits them into records.
   *
   * The window limits the bytes for which `callback` has not returned yet. When the window is used
   * up, the guest stops reading and its kernel's buffer fills. Programs in the guest then see a
   * slow reader.
   *
   * @throws the guest's system error, ERR_HANDLE_UNKNOWN, ERR_STREAM_LIMIT
   */
  subscribe(
    origin: StreamOrigin,
    options: StreamOptions,
    callback: BatchCallback,
  ): Promise<EventStream>;

  /** Makes a writer for the user ring buffer behind a handle. The buffer has `sizeBytes` bytes. */
  ringWriter(map: Handle, sizeBytes: number): RingWriter;
}
