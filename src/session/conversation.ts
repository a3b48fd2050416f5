import type { Duplex } from 'node:stream';
import {
  type Call,
  type ChainedCall,
  type ChainReply,
  FileOperation,
  type FileRequest,
  type Handle,
  type IoctlCall,
  type NetlinkRequest,
  type PerfOpenCall,
  type Reply,
} from '../call.js';
import { failure, systemError, type WaepError } from '../errors.js';
import {
  callFrameBound,
  callFrameParts,
  chainFrame,
  FrameFlag,
  FrameType,
  frameTypeName,
  HEADER_BYTES,
  ioctlBody,
  type KernelInfo,
  MAX_CHAIN_CALLS,
  messageFrame,
  netlinkBody,
  outputLengths,
  parseChainReply,
  parseError,
  parseReply,
  perfOpenBody,
  putCallFrame,
  putHeader,
  type SessionLimits,
} from '../frame/index.js';
import { type OptionNames, refuseUnknownOptions } from '../known-options.js';
import { type Channel, ChannelEnd, ExchangeStatus } from '../native.js';
import { suspicionOf } from '../transport/mux.js';
import { type Caller, type CallOptions, callNames } from './caller.js';
import { GuestClock } from './clock.js';
import { EventHub } from './event-hub.js';
import {
  type BatchCallback,
  type EventStream,
  type StreamOptions,
  type StreamOrigin,
  streamNames,
} from './event-stream.js';
import type { HelloOptions, Rejoin, Welcomed } from './handshake.js';
import { Lease } from './lease.js';
import { PendingRequests, requestName } from './pending.js';
import { RingWriter } from './ring-writer.js';
import type { TlsOptions } from './start-tls.js';
import { openChannel } from './stream-channel.js';

/** Options of {@link Session.connect}. */
export interface SessionOptions extends HelloOptions {
  /**
   * A certificate with its key, and the authority that signed the agent's certificate, for agents
   * that require mutual TLS. Each is PEM.
   */
  tls?: TlsOptions;
  /** The time limit of a call that sets none itself, in milliseconds. Default 30 000. */
  callTimeoutMs?: number;
  /** How many bytes may wait to be sent before new calls wait. Default 1 MiB. */
  maxQueuedBytes?: number;
}

const optionNames: OptionNames<SessionOptions> = {
  tls: true,
  client: true,
  leaseMs: true,
  reconnect: true,
  callTimeoutMs: true,
  maxQueuedBytes: true,
  timeoutMs: true,
  handshakeTimeoutMs: true,
  signal: true,
  bufferBytes: true,
  localPort: true,
  allowHalfOpen: true,
  highWaterMark: true,
  onread: true,
  noDelay: true,
  keepAlive: true,
  keepAliveInitialDelay: true,
};

/**
 * Checks the options of {@link Session.connect} that the connection itself does not check.
 *
 * @throws ERR_OPTION_INVALID, ERR_OPTION_UNKNOWN
 */
export function checkSessionOptions(options: SessionOptions): void {
  refuseUnknownOptions('Session.connect()', options, optionNames);
  checkAtLeast0('leaseMs', options.leaseMs, 'milliseconds');
  checkAtLeast0('handshakeTimeoutMs', options.handshakeTimeoutMs, 'milliseconds');
  checkAtLeast0('callTimeoutMs', options.callTimeoutMs, 'milliseconds');
  checkAtLeast0('maxQueuedBytes', options.maxQueuedBytes, 'bytes');
}

function checkAtLeast0(option: string, value: number | undefined, unit: string): void {
  if (value === undefined || (typeof value === 'number' && value >= 0)) return;
  throw failure('ERR_OPTION_INVALID', { option, value, expected: `${unit}, 0 or more` });
}

function refuseUnknownCallOptions(operation: string, options: CallOptions | undefined): void {
  if (options !== undefined) refuseUnknownOptions(operation, options, callNames);
}

/** The size limit of an answer to FILE (addon/core/executor/file_operations.cc). */
const MAX_FILE_ANSWER_BYTES = 64 * 1024;
/** How many operations of FILE an agent knows that does not say so. */
const FIRST_FILE_OPERATIONS = 8;
/** An agent that knows so many also looks at the flags of RENAME. */
const FLAGS_KNOWN = 10;

/** The size limit of an answer to NETLINK (addon/core/executor/executor.cc). */
const MAX_NETLINK_BYTES = 16 * 1024 * 1024;
/** The bytes of the length before each datagram of such an answer. */
const LENGTH_BYTES = 4;
/** No datagram of a kernel is shorter than the header of a message. */
const NLMSG_HDRLEN = 16;

interface Room {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
}

function newRoom(): Room {
  let resolve = () => {};
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

/** Returns the lengths of a reply's outputs in full, or undefined to take them as they travel. */
function lengthsOf(call: Call, options: CallOptions | undefined): number[] | undefined {
  return options?.trimmed === true ? undefined : outputLengths(call);
}

/** Counters of one session, since it was opened. */
export interface SessionStatistics {
  /** The frames that were sent. */
  framesSent: number;
  /** The frames that were received. */
  framesReceived: number;
  /** The calls that wait for their answers. */
  pendingCalls: number;
  /** The bytes that wait to be sent. */
  queuedBytes: number;
  /** How often the session was resumed on another connection. */
  resumptions: number;
  /** Streams of events that were subscribed to, including those that have ended. */
  streams: number;
}

/**
 * A conversation with the agent of one guest. The guest's kernel executes the calls, and their
 * answers come back. Any number of calls can be under way.
 *
 * Everything that a session creates in the guest belongs to the session and ends with it. Sessions
 * share nothing. A handle is valid only in its own session.
 */
export class Conversation implements Caller {
  readonly address: string;
  readonly kernel: KernelInfo;
  readonly limits: SessionLimits;
  readonly profile: string;
  /** The agent's name and version. */
  readonly agent: string;
  /** How many sessions the agent had when this one began, and how many it allows. */
  readonly agentSessions: { readonly open: number; readonly most: number } | undefined;
  /**
   * How long the guest keeps the session's objects after a loss of the connection, in milliseconds;
   * 0: not at all.
   */
  readonly leaseMs: number;
  readonly chainCalls: number;

  readonly #silenceMs: number;
  /** The agent's name and version, and how many operations of FILE it knows. */
  readonly #agent: string;
  readonly #fileOperations: number;
  readonly #netlink: boolean;
  readonly #rejoin: Rejoin;
  readonly #lease: Lease;
  readonly #reconnects: boolean;
  #channel!: Channel;
  // The channel's accessors cross into C++. These copies do not change.
  #sendBuffer!: Uint8Array;
  #receiveBuffer!: Uint8Array;
  #frame!: Uint32Array;
  #heartbeat: NodeJS.Timeout | undefined;
  #framesAtHeartbeat = 0;
  #referenced = true;
  readonly #pending: PendingRequests;
  readonly #maxQueuedBytes: number;
  /** While too much waits to be sent: resolves when all of it has been sent, or never will be. */
  #room: Room | undefined;
  readonly #clock = new GuestClock();
  readonly #events: EventHub;
  #closed: Error | undefined;
  #nextHandle = 1;
  /** The capabilities that the guest drops for calls; undefined when they are unknown. */
  #without: number | undefined = 0;
  #framesSent = 0;
  #framesReceived = 0;
  #onClose: Array<(reason: Error) => void> = [];

  /** @param welcomed the connection, which this object owns from now on */
  protected constructor(welcomed: Welcomed, options: SessionOptions) {
    const { stream, address, welcome, rejoin } = welcomed;
    this.address = address;
    this.kernel = welcome.kernel;
    this.limits = welcome.limits;
    this.profile = welcome.profile;
    this.agent = welcome.agent;
    this.agentSessions = welcome.sessions;
    this.leaseMs = welcome.session.leaseMs;
    this.#agent = welcome.agent;
    const { files = false, fileOperations = FIRST_FILE_OPERATIONS } = welcome;
    this.#fileOperations = files ? fileOperations : 0;
    this.#netlink = welcome.netlink ?? false;
    this.chainCalls = Math.min(welcome.chainCalls ?? 0, MAX_CHAIN_CALLS);
    this.#silenceMs = welcome.session.silenceMs;
    this.#reconnects = options.reconnect !== false;
    this.#rejoin = rejoin;
    this.#lease = this.#newLease();
    const { callTimeoutMs = 30_000, maxQueuedBytes = 1024 * 1024 } = options;
    this.#pending = new PendingRequests(address, callTimeoutMs, (id) => this.#cancel(id));
    this.#events = new EventHub(address, callTimeoutMs, this.leaseMs, () => rejoin.join('events'));
    this.#maxQueuedBytes = maxQueuedBytes;
    this.#carry(stream);
    if (this.#silenceMs > 0) {
      this.#heartbeat = setInterval(() => this.#beat(), Math.ceil(this.#silenceMs / 4)).unref();
    }
  }

  /** Lets a greeted connection carry the session's calls. */
  #carry(stream: Duplex): void {
    this.#channel = openChannel(
      stream,
      (bytes) => this.#receive(bytes),
      (status, have, want) => this.#ended(status, have, want),
      () => this.#drained(),
    );
    this.#sendBuffer = this.#channel.sendBuffer;
    this.#receiveBuffer = this.#channel.receiveBuffer;
    this.#frame = this.#channel.frame;
    if (!this.#referenced) this.#channel.unref();
    this.#channel.start();
  }

  /** Whether the session has ended, by {@link close} or otherwise. */
  get closed(): boolean {
    return this.#closed !== undefined;
  }

  /** The counters of this session. */
  get statistics(): SessionStatistics {
    return {
      framesSent: this.#framesSent,
      framesReceived: this.#framesReceived,
      pendingCalls: this.#pending.size,
      queuedBytes: this.#channel.queuedBytes,
      resumptions: this.#lease.resumptions,
      streams: this.#events.subscribed,
    };
  }

  /** Whether the connection is lost and the session has not been resumed yet. */
  get interrupted(): boolean {
    return this.#lease.over !== undefined;
  }

  /**
   * Calls `listener` once when the session ends, with the reason. Returns a function that removes
   * the listener.
   *
   * @example
   * ```ts
   * session.onClose(({ message }) => console.error(`the guest is gone: ${message}`));
   * ```
   */
  onClose(listener: (reason: Error) => void): () => void {
    let wanted = true;
    const once = (reason: Error) => {
      if (wanted) listener(reason);
    };
    if (this.#closed === undefined) this.#onClose.push(once);
    else queueMicrotask(() => once(this.#closed as Error));
    return () => {
      wanted = false;
      this.#onClose = this.#onClose.filter((one) => one !== once);
    };
  }

  newHandle(): Handle {
    return this.#nextHandle++;
  }

  async call(call: Call, options?: CallOptions): Promise<Reply> {
    refuseUnknownCallOptions('call()', options);
    return this.start(call, options, options?.name ?? call.command);
  }

  callAll(calls: readonly Call[], options?: CallOptions): Promise<Reply>[] {
    refuseUnknownCallOptions('callAll()', options);
    if (this.#lease.over === undefined) this.#restrict(options);
    const buffer = this.#sendBuffer;
    let used = 0;
    let frames = 0;
    const flush = () => {
      if (frames > 0) this.#sent(this.#channel.send(used), frames);
      used = frames = 0;
    };
    const replies = calls.map((call, index) => {
      const name = options?.name ?? call.command;
      const bound = callFrameBound(call);
      if (bound > buffer.byteLength - used) flush();
      const held =
        this.#lease.over !== undefined || this.#channel.queuedBytes > this.#maxQueuedBytes;
      const refusal = this.#refusal(name, bound, options);
      if (refusal !== undefined) return Promise.reject(refusal);
      if (held || bound > buffer.byteLength) {
        return this.call(call, { ...options, ahead: true });
      }
      const lengths = lengthsOf(call, options);
      const pending = this.#pending.add(this.#pending.newId(), name, options, lengths, call.result);
      const flags = index < calls.length - 1 ? FrameFlag.ANSWER_MAY_WAIT : 0;
      used += putCallFrame(buffer.subarray(used), pending.id, call, flags);
      frames++;
      return pending.promise;
    });
    flush();
    return replies;
  }

  async chain(calls: readonly ChainedCall[], options?: CallOptions): Promise<ChainReply> {
    refuseUnknownCallOptions('chain()', options);
    if (calls.length > this.chainCalls) {
      const what = `execute a chain of ${calls.length} calls`;
      throw failure('ERR_AGENT_LACKS', { agent: this.#agent, what });
    }
    if (calls.length === 0) return { replies: [], error: undefined };
    const name = options?.name ?? 'chain';
    const frame = chainFrame(0, calls);
    return this.#admit(name, frame.byteLength, options, (waitedMs) => {
      const id = this.#pending.newId();
      putHeader(frame, 0, frame.byteLength - HEADER_BYTES, FrameType.CHAIN, id);
      const lengths = calls.map(outputLengths);
      const answer = this.#pending.addChain(id, name, options, lengths, waitedMs);
      this.#sent(this.#channel.sendParts([frame]));
      return answer;
    });
  }

  async open(path: string, options?: CallOptions & { handle?: Handle }): Promise<Handle> {
    const { handle = this.newHandle(), ...rest } = options ?? {};
    refuseUnknownCallOptions('open()', rest);
    const name = `open ${path}`;
    const reply = await this.#message(
      FrameType.OPEN,
      [path, handle],
      rest,
      name,
      undefined,
      handle,
    );
    if (reply.result < 0) throw systemError('open', reply.errno, { address: path, side: 'guest' });
    return handle;
  }

  async read(
    handle: Handle,
    lengthBytes: number,
    options?: CallOptions,
  ): Promise<Uint8Array | undefined> {
    refuseUnknownCallOptions('read()', options);
    const { bytes, errno } = await this.readPart(handle, lengthBytes, options);
    if (errno === 0 || bytes.length > 0) return bytes;
    const error = systemError('read', errno, { side: 'guest' });
    if (error.code === 'EAGAIN') return undefined;
    throw error;
  }

  async readPart(
    handle: Handle,
    lengthBytes: number,
    options?: CallOptions,
  ): Promise<{ bytes: Uint8Array; errno: number }> {
    refuseUnknownCallOptions('readPart()', options);
    const reply = await this.#message(FrameType.READ, [handle, lengthBytes], options, 'read');
    const { result, errno } = reply;
    if (result < 0) return { bytes: new Uint8Array(0), errno };
    const sent = reply.outputs[0] ?? new Uint8Array(0);
    if (result <= lengthBytes && sent.length <= result) {
      // Trailing zeroes do not travel.
      const bytes = new Uint8Array(result);
      bytes.set(sent);
      return { bytes, errno };
    }
    throw failure('ERR_PROTOCOL_UNEXPECTED', {
      received: `${sent.length} bytes and a result of ${result} from ${this.address}`,
      expected: `at most as many bytes as the result, and as the ${lengthBytes} asked for`,
    });
  }

  async file(
    { operation, path, number = 0, other = '' }: FileRequest,
    options?: CallOptions,
  ): Promise<{ bytes: Uint8Array; errno: number }> {
    refuseUnknownCallOptions('file()', options);
    // An agent of the first operations does not look at the flags of renameat2(2).
    const flagged = operation === FileOperation.RENAME && BigInt(number) !== 0n;
    if (operation >= this.#fileOperations || (flagged && this.#fileOperations < FLAGS_KNOWN)) {
      const verb = operation < FileOperation.MKDIR ? 'look at' : 'make this change to';
      throw failure('ERR_AGENT_LACKS', { agent: this.#agent, what: `${verb} ${path}` });
    }
    const body = [operation, path, BigInt(number), other];
    const reply = await this.#message(FrameType.FILE, body, options, 'file');
    const { result, errno } = reply;
    const sent = reply.outputs[0] ?? new Uint8Array(0);
    if (result < 0) return { bytes: new Uint8Array(0), errno };
    if (result > MAX_FILE_ANSWER_BYTES || sent.length > result) {
      throw failure('ERR_PROTOCOL_UNEXPECTED', {
        received: `${sent.length} bytes and a result of ${result} from ${this.address}`,
        expected: `at most as many bytes as the result, and as ${MAX_FILE_ANSWER_BYTES}`,
      });
    }
    const bytes = new Uint8Array(result);
    bytes.set(sent);
    return { bytes, errno };
  }

  async release(handles: readonly Handle[], options?: CallOptions): Promise<void> {
    refuseUnknownCallOptions('release()', options);
    try {
      await this.#message(FrameType.CLOSE, handles, options, 'close');
    } catch (error) {
      const { over } = this.#lease;
      if ((error as Partial<WaepError>).code !== 'ERR_SESSION_INTERRUPTED' || !over) throw error;
      for (const handle of handles) this.#lease.orphaned(handle);
      await over;
    }
  }

  async releaseAll(options?: CallOptions): Promise<void> {
    refuseUnknownCallOptions('releaseAll()', options);
    try {
      await this.#message(FrameType.CLOSE, undefined, options, 'close');
    } catch (error) {
      const { over } = this.#lease;
      if ((error as Partial<WaepError>).code !== 'ERR_SESSION_INTERRUPTED' || !over) throw error;
      await over;
      await this.releaseAll(options);
    }
  }

  async perfEventOpen(call: PerfOpenCall, options?: CallOptions): Promise<Reply> {
    refuseUnknownCallOptions('perfEventOpen()', options);
    const name = 'perf_event_open';
    const lengths = outputLengths(call);
    return this.#message(
      FrameType.PERF_OPEN,
      perfOpenBody(call),
      options,
      name,
      lengths,
      call.result,
    );
  }

  async ioctl(call: IoctlCall, options?: CallOptions): Promise<Reply> {
    refuseUnknownCallOptions('ioctl()', options);
    const lengths = outputLengths(call);
    return this.#message(FrameType.IOCTL, ioctlBody(call), options, 'ioctl', lengths);
  }

  async netlink(request: NetlinkRequest, options?: CallOptions): Promise<Uint8Array[]> {
    refuseUnknownCallOptions('netlink()', options);
    if (!this.#netlink) {
      throw failure('ERR_AGENT_LACKS', { agent: this.#agent, what: 'send a netlink message' });
    }
    const name = options?.name ?? 'netlink';
    const reply = await this.#message(FrameType.NETLINK, netlinkBody(request), options, name);
    const { result, errno, outputs } = reply;
    if (result < 0) throw systemError('sendmsg', errno, { side: 'guest' });
    return this.#datagramsOf(result, outputs[0] ?? new Uint8Array(0));
  }

  /** Returns the datagrams of an answer. Each has its length before it, and is padded. */
  #datagramsOf(sizeBytes: number, sent: Uint8Array): Uint8Array[] {
    const malformed = (what: string) =>
      failure('ERR_PROTOCOL_UNEXPECTED', {
        received: `${what} in an answer of ${sizeBytes} bytes from ${this.address}`,
        expected: `datagrams with their lengths, of at most ${MAX_NETLINK_BYTES} bytes together`,
      });
    if (sizeBytes > MAX_NETLINK_BYTES || sent.length > sizeBytes) {
      throw malformed(`${sent.length} bytes`);
    }
    // Trailing zeroes do not travel.
    const bytes = Buffer.alloc(sizeBytes);
    bytes.set(sent);
    const datagrams: Uint8Array[] = [];
    for (let at = 0; at < sizeBytes; ) {
      const length = sizeBytes - at < LENGTH_BYTES ? sizeBytes : bytes.readUInt32LE(at);
      at += LENGTH_BYTES;
      if (length < NLMSG_HDRLEN || length > sizeBytes - at) {
        throw malformed(`a datagram of ${length} bytes`);
      }
      datagrams.push(bytes.subarray(at, at + length));
      at += (length + 3) & ~3;
    }
    return datagrams;
  }

  async readClock(rounds = 8): Promise<GuestClock> {
    for (let i = 0; i < rounds; i++) {
      const afterMs = performance.now();
      const { outputs } = await this.#message(FrameType.CLOCK, [], undefined, 'clock', [24]);
      const beforeMs = performance.now();
      const { buffer, byteOffset } = outputs[0] as Uint8Array;
      const monotonicNs = new DataView(buffer, byteOffset).getBigUint64(8, true);
      this.#clock.add({ guestNs: Number(monotonicNs), afterMs, beforeMs });
    }
    return this.#clock;
  }

  async subscribe(
    origin: StreamOrigin,
    options: StreamOptions,
    callback: BatchCallback,
  ): Promise<EventStream> {
    refuseUnknownOptions('subscribe()', options, streamNames);
    return this.#events.subscribe(origin, options, callback);
  }

  ringWriter(map: Handle, sizeBytes: number): RingWriter {
    return new RingWriter(this.#events, map, sizeBytes);
  }

  /**
   * Moves the session to a new connection, within its lease. A session does this itself when it
   * loses its connection, unless `reconnect` is false. Handles and their objects stay as they are.
   *
   * Calls without an answer reject with ERR_SESSION_INTERRUPTED. When this method resolves, each of
   * them either has taken effect in full or never will. If one of them made an object, that object
   * is closed again, because nobody could have learned its handle. Calls that are made in the
   * meantime wait.
   *
   * @throws ERR_SESSION_CLOSED when the session has ended, or ends because it cannot be resumed;
   *   ERR_SESSION_UNKNOWN when the session has no lease
   */
  resume(): Promise<void> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    if (this.leaseMs === 0) {
      return Promise.reject(failure('ERR_SESSION_UNKNOWN', { why: 'the session has no lease' }));
    }
    return this.#lease.resume();
  }

  /**
   * Ends the session. Pending calls reject, and the guest drops every object of the session without
   * waiting for the lease. If the session is interrupted, the message cannot reach the guest, and
   * the guest drops the objects when the lease ends. A second call does nothing.
   */
  close(): void {
    if (this.leaseMs > 0 && this.#closed === undefined && !this.interrupted) {
      this.#channel.sendParts([messageFrame(FrameType.END, 0, undefined)]);
    }
    this.#end(
      failure('ERR_SESSION_CLOSED', { address: this.address, why: 'it was closed by this side' }),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  /** Lets the process end while this session is open and idle. {@link ref} undoes this. */
  unref(): this {
    this.#referenced = false;
    this.#channel.unref();
    return this;
  }

  /** Keeps the process from ending while this session is open, which is the default. */
  ref(): this {
    this.#referenced = true;
    this.#channel.ref();
    return this;
  }

  #message(
    type: number,
    body: unknown,
    options: CallOptions | undefined,
    name: string,
    lengths?: readonly number[],
    makes: Handle = 0,
  ): Promise<Reply> {
    const frame = (id: number) => messageFrame(type, id, body);
    return this.#admit(name, frame(0).byteLength, options, (waitedMs) => {
      const id = this.#pending.newId();
      const pending = this.#pending.add(id, name, options, lengths, makes, waitedMs);
      this.#sent(this.#channel.sendParts([frame(id)]));
      return pending.promise;
    });
  }

  /** Sends a request with `send` as soon as the session can send one, and resolves as `send` does. */
  async #admit<T>(
    name: string | number,
    frameBytes: number,
    options: CallOptions | undefined,
    send: (waitedMs: number) => T | Promise<T>,
  ): Promise<T> {
    let waitedMs = 0;
    for (;;) {
      const refusal = this.#refusal(name, frameBytes, options);
      if (refusal !== undefined) throw refusal;
      const wait = this.#lease.over ?? this.#fullQueue();
      if (wait === undefined) break;
      waitedMs = await this.#pending.unsent(wait, name, options, waitedMs);
    }
    this.#restrict(options);
    return send(waitedMs);
  }

  /** While too much waits to be sent: resolves when there is room. */
  #fullQueue(): Promise<void> | undefined {
    if (this.#channel.queuedBytes <= this.#maxQueuedBytes) return undefined;
    this.#room ??= newRoom();
    return this.#room.promise;
  }

  /** Returns the error of a request that cannot be sent. */
  #refusal(
    name: string | number,
    frameBytes: number,
    options: CallOptions | undefined,
  ): Error | undefined {
    if (this.#closed !== undefined) return this.#closed;
    const maximum = this.limits.maxFrameBytes;
    if (frameBytes > maximum)
      return failure('ERR_FRAME_TOO_LARGE', { length: frameBytes, maximum });
    const signal = options?.signal;
    if (signal?.aborted) return this.#pending.aborted(name, signal, true);
    return undefined;
  }

  start(
    call: Call,
    options: CallOptions | undefined,
    name: string | number,
  ): Reply | Promise<Reply> {
    const bound = callFrameBound(call);
    const refusal = this.#refusal(name, bound, options);
    if (refusal !== undefined) throw refusal;
    // Without requests under way, nothing waits to be sent.
    const held = this.#lease.over ?? (this.#pending.size > 0 ? this.#fullQueue() : undefined);
    if (held !== undefined) {
      return this.#admit(name, bound, options, (waitedMs) =>
        this.#begin(call, bound, options, name, waitedMs),
      );
    }
    this.#restrict(options);
    return this.#begin(call, bound, options, name, 0);
  }

  #begin(
    call: Call,
    bound: number,
    options: CallOptions | undefined,
    name: string | number,
    waitedMs: number,
  ): Reply | Promise<Reply> {
    const lengths = lengthsOf(call, options);
    // Usually the caller of a single call in flight waits for its answer.
    const alone = this.#pending.size === 0 && options?.ahead !== true;
    if (alone && bound <= this.#sendBuffer.byteLength) {
      return this.#exchange(call, lengths, options, name, waitedMs);
    }
    const id = this.#pending.newId();
    const pending = this.#pending.add(id, name, options, lengths, call.result, waitedMs);
    if (bound > this.#sendBuffer.byteLength) {
      this.#sent(this.#channel.sendParts(callFrameParts(id, call)));
    } else {
      this.#sent(this.#channel.send(putCallFrame(this.#sendBuffer, id, call)));
    }
    return pending.promise;
  }

  /** Lets the guest make the following calls without the capabilities that their caller lacks. */
  #restrict(options: CallOptions | undefined): void {
    const without = options?.without ?? 0;
    if (without === this.#without || this.#closed !== undefined) return;
    this.#without = without;
    const { id, promise } = this.#pending.add(
      this.#pending.newId(),
      'restrict',
      undefined,
      undefined,
      0,
    );
    // If the guest cannot drop the capabilities, no call may be made with them.
    const refuse = (error: Error & { code?: string }) => {
      if (error.code !== 'ERR_SESSION_INTERRUPTED') this.#end(this.#lost(error));
    };
    promise.then(({ result, errno }) => {
      if (result < 0) refuse(systemError('capset', errno, { side: 'guest' }));
    }, refuse);
    const mask = BigInt(without);
    this.#sent(this.#channel.sendParts([messageFrame(FrameType.RESTRICT, id, [mask])]));
  }

  #exchange(
    call: Call,
    lengths: readonly number[] | undefined,
    options: CallOptions | undefined,
    name: string | number,
    waitedMs: number,
  ): Reply | Promise<Reply> {
    const id = this.#pending.newId();
    const status = this.#channel.exchange(putCallFrame(this.#sendBuffer, id, call));
    const frame = this.#frame;
    if (status === ExchangeStatus.ANSWERED && frame[1] === id && frame[0] === FrameType.RESULT) {
      this.#framesSent++;
      this.#framesReceived++;
      try {
        const start = frame[2] as number;
        return parseReply(this.#receiveBuffer, start, frame[3] as number, lengths, false);
      } catch (error) {
        this.#end(this.#lost(error as Error));
        throw error;
      }
    }
    // The connection may have ended during the wait for the answer.
    if (this.#closed !== undefined) throw this.#closed;
    const { reason } = this.#lease;
    if (reason !== undefined) {
      this.#lease.orphaned(call.result);
      throw this.#interruption(name, reason);
    }
    const pending = this.#pending.add(id, name, options, lengths, call.result, waitedMs);
    this.#sent(status);
    return pending.promise;
  }

  #sent(status: number, frames = 1): void {
    if (status < 0) {
      this.#lose(this.#lost(systemError('send', status, { address: this.address })));
      return;
    }
    this.#framesSent += frames;
    if (status === ExchangeStatus.ANSWERED) this.#receive(this.#receiveBuffer);
    else if (status === ExchangeStatus.UNDELIVERED) this.#channel.deliver();
  }

  #receive(bytes: Uint8Array): void {
    this.#framesReceived++;
    const frame = this.#frame;
    const type = frame[0] as number;
    const id = frame[1] as number;
    const start = frame[2] as number;
    const end = frame[3] as number;
    const pending = this.#pending.take(id);
    if (pending === undefined) {
      if (type === FrameType.ERROR && id === 0) {
        this.#end(this.#lost(parseError(bytes.slice(start, end))));
      }
      this.#discard(type, id, bytes, start, end);
      return;
    }
    try {
      if (type === FrameType.RESULT) {
        const alias = bytes !== this.#receiveBuffer;
        const { chain, lengths } = pending;
        const reply: unknown =
          chain === undefined
            ? parseReply(bytes, start, end, lengths, alias)
            : parseChainReply(bytes, start, end, chain, alias);
        pending.resolve(reply as Reply);
      } else if (type === FrameType.ERROR) {
        pending.reject(parseError(bytes.slice(start, end)));
      } else {
        throw failure('ERR_PROTOCOL_UNEXPECTED', {
          received: frameTypeName(type),
          expected: 'RESULT or ERROR',
        });
      }
    } catch (error) {
      // After an invalid answer, the peer cannot be trusted with the rest of the conversation.
      pending.reject(error as Error);
      this.#end(this.#lost(error as Error));
    }
  }

  /** Handles the answer to a call that nobody waits for any more. */
  #discard(type: number, id: number, bytes: Uint8Array, start: number, end: number): void {
    const makes = this.#pending.takeAbandoned(id);
    if (makes === undefined) {
      const received = `${frameTypeName(type)} with the id ${id}`;
      const expected = 'the answer to a request';
      this.#end(this.#lost(failure('ERR_PROTOCOL_UNEXPECTED', { received, expected })));
      return;
    }
    if (makes === 0 || type !== FrameType.RESULT) return;
    if (parseReply(bytes, start, end, undefined, false).result < 0) return;
    this.#message(FrameType.CLOSE, [makes], undefined, 'close').catch(() => {});
  }

  /**
   * Asks the agent to cancel a call. The request has a connection of its own, because the agent
   * does not read this one during a call.
   */
  #cancel(call: number): void {
    if (!this.#rejoin.possible || this.#closed !== undefined) return;
    // A call that cannot be cancelled ends in its own time.
    this.#rejoin.join('cancel', call).then(
      (stream) => stream.destroy(),
      () => {},
    );
  }

  #drained(): void {
    this.#room?.resolve();
    this.#room = undefined;
  }

  #lost(cause: Error): Error {
    if ((cause as Partial<WaepError>).code === 'ERR_SESSION_CLOSED') return cause;
    const garbled = (cause as Partial<WaepError>).code?.startsWith('ERR_FRAME_') === true;
    const suspicion = garbled ? suspicionOf(this.address) : undefined;
    const why = suspicion === undefined ? cause.message : `${cause.message} ${suspicion}`;
    return failure('ERR_SESSION_CLOSED', { address: this.address, why }, cause);
  }

  #ended(status: number, have: number, want: number): void {
    if (status === ChannelEnd.TOO_LARGE) {
      this.#end(this.#lost(failure('ERR_FRAME_TOO_LARGE', { length: have, maximum: want })));
    } else if (status === ChannelEnd.MALFORMED) {
      const why = 'its header has bits set that version 1 has not';
      this.#end(this.#lost(failure('ERR_FRAME_MALFORMED', { why })));
    } else if (status === ChannelEnd.TRUNCATED) {
      this.#lose(this.#lost(failure('ERR_FRAME_TRUNCATED', { received: have, expected: want })));
    } else if (status < 0) {
      this.#lose(this.#lost(systemError('recv', status, { address: this.address })));
    } else {
      const why = 'the guest ended the connection';
      this.#lose(failure('ERR_SESSION_CLOSED', { address: this.address, why }));
    }
  }

  /** Handles the loss of the connection. Without a lease, the session ends as well. */
  #lose(reason: Error): void {
    if (this.#closed !== undefined || this.interrupted) return;
    if (this.leaseMs === 0) {
      this.#end(reason);
      return;
    }
    this.#lease.interrupt(reason);
    // If resuming fails, the session ends, and its listeners get the reason.
    if (this.#reconnects) this.resume().catch(() => {});
  }

  #newLease(): Lease {
    const session = this;
    return new Lease(
      {
        address: this.address,
        get closed() {
          return session.#closed;
        },
        get referenced() {
          return session.#referenced;
        },
        disconnect: (reason) => session.#disconnect(reason),
        join: () => session.#rejoin.join('resume'),
        carry: (stream) => session.#carry(stream),
        close: async (handle) => {
          await session.#message(FrameType.CLOSE, [handle], undefined, 'close');
        },
        end: (cause) => session.#end(session.#lost(cause)),
      },
      this.leaseMs,
    );
  }

  /** Drops a lost connection. Requests on it may or may not have taken effect. */
  #disconnect(reason: Error): void {
    this.#channel.close();
    this.#without = undefined;
    for (const makes of this.#pending.takeAllAbandoned()) this.#lease.orphaned(makes);
    for (const pending of this.#pending.takeAll()) {
      this.#lease.orphaned(pending.makes);
      pending.reject(this.#interruption(pending.name, reason));
    }
    this.#drained();
  }

  #interruption(name: string | number, reason: Error): Error {
    const detail = { call: requestName(name), address: this.address, why: reason.message };
    return failure('ERR_SESSION_INTERRUPTED', detail, reason);
  }

  /** Sends a sign of life to the agent, and checks whether the agent still answers. */
  #beat(): void {
    const idle = this.#framesSent === this.#framesAtHeartbeat;
    this.#framesAtHeartbeat = this.#framesSent;
    if (!idle || this.#closed !== undefined || this.interrupted) return;
    const alone = this.#pending.size === 0;
    const timeoutMs = this.#silenceMs;
    this.#message(FrameType.PING, undefined, { timeoutMs }, 'ping').catch((error) => {
      if ((error as Partial<WaepError>).code !== 'ERR_CALL_TIMEOUT') return;
      const silence = this.#lost(error);
      if (alone) this.#lose(silence);
      else this.#callOut(silence);
    });
  }

  /**
   * Asks for a sign of life over a connection of its own. On this connection, the answer would wait
   * for the earlier calls.
   */
  #callOut(silence: Error): void {
    if (!this.#rejoin.possible || this.#closed !== undefined || this.interrupted) return;
    // Every request has a number above 0, so this one cancels nothing.
    this.#rejoin.join('cancel', 0).then(
      (stream) => stream.destroy(),
      (error: Partial<WaepError>) => {
        // A refusal is a sign of life, too.
        if (error.code !== 'ERR_PEER_REFUSED') this.#lose(silence);
      },
    );
  }

  #end(reason: Error): void {
    if (this.#closed !== undefined) return;
    this.#closed = reason;
    this.#pending.stop();
    clearInterval(this.#heartbeat);
    this.#channel.close();
    this.#lease.end(reason);
    this.#events.close(reason);
    for (const { reject } of this.#pending.takeAll()) reject(reason);
    this.#drained();
    for (const listener of this.#onClose.splice(0)) listener(reason);
  }
}
