import { performance } from 'node:perf_hooks';
import type { Duplex } from 'node:stream';
import type { Call, Handle, IoctlCall, PerfOpenCall, Reply } from '../call.js';
import { failure, systemError, type WaepError } from '../errors.js';
import {
  callFrameBound,
  callFrameParts,
  FrameFlag,
  FrameType,
  frameTypeName,
  ioctlBody,
  MAX_FRAME_BYTES,
  messageFrame,
  outputLengths,
  PROTOCOL_VERSION,
  parseError,
  parseReply,
  perfOpenBody,
  putCallFrame,
  type SessionLimits,
  type Welcome,
} from '../frame/index.js';
import { suspicionOf } from '../kernel/causes.js';
import { type CallOptions, GuestKernel } from '../kernel/guest-kernel.js';
import { type Channel, ChannelEnd, ExchangeStatus, native } from '../native.js';
import { detachStream } from '../transport/index.js';
import { Admission, type DialOptions, dial, type Opener } from './admission.js';
import { GuestClock } from './clock.js';
import { EventHub } from './event-hub.js';
import type { BatchCallback, EventStream, StreamOptions, StreamOrigin } from './event-stream.js';
import { greet } from './greeting.js';
import { Lease } from './lease.js';
import { RingWriter } from './ring-writer.js';
import { StreamChannel } from './stream-channel.js';

/** Options of {@link Session.connect}. */
export interface SessionOptions extends DialOptions {
  /** How long a call may take unless it says otherwise, in milliseconds. Default 30 000. */
  callTimeoutMs?: number;
  /** How the guest's audit log should name this client. Default: the program's name and pid. */
  client?: string;
  /** How many bytes may wait to be sent before calls are held back. Default 1 MiB. */
  maxQueuedBytes?: number;
  /**
   * How long the guest should keep what the session holds when the connection is lost, in
   * milliseconds. Default 0: everything goes with the connection. The agent's maximum applies;
   * {@link Session.leaseMs} is what it granted. {@link Session.close} ends a session at once all
   * the same.
   */
  leaseMs?: number;
  /**
   * How a session with a lease goes on when its connection is lost: `true`, the default, connects to
   * its address again by itself for as long as the lease lasts; `false` waits for
   * {@link Session.resume}. A function is called for each connection that is needed, for a session
   * that was given a stream.
   */
  reconnect?: boolean | (() => Duplex | Promise<Duplex>);
}

interface Pending {
  id: number;
  promise: Promise<Reply>;
  resolve: (reply: Reply) => void;
  reject: (error: Error) => void;
  lengths: readonly number[] | undefined;
  /** The handle that the call is to bind, or 0. */
  makes: Handle;
  deadlineMs: number;
  timeoutMs: number;
  name: string | number;
  signal: AbortSignal | undefined;
  onAbort: (() => void) | undefined;
}

/* One function serves every promise, where a closure for each would have to be made. */
const settlers: Pick<Pending, 'resolve' | 'reject'> = { resolve: () => {}, reject: () => {} };
function takeSettlers(resolve: Pending['resolve'], reject: Pending['reject']): void {
  settlers.resolve = resolve;
  settlers.reject = reject;
}

function callName(name: string | number): string {
  return typeof name === 'string' ? name : `bpf command ${name}`;
}

/** How long the outputs of a reply are to be; undefined for as they come. */
function lengthsOf(call: Call, options: CallOptions | undefined): number[] | undefined {
  return options?.trimmed === true ? undefined : outputLengths(call);
}

/** How often deadlines are looked at, unless one is so near that it needs a time of its own. */
const SWEEP_MS = 250;

/** Counters of one session, since it was opened. */
export interface SessionStatistics {
  framesSent: number;
  framesReceived: number;
  pendingCalls: number;
  queuedBytes: number;
  /** How often the session was resumed on another connection. */
  resumptions: number;
  /** Streams of events that have been subscribed to, those that have ended included. */
  streams: number;
}

/**
 * A conversation with the agent of one guest: calls go there, are executed in its kernel, and their
 * answers come back, any number at a time.
 *
 * Everything that a session creates in the guest belongs to it and ends with it. Sessions share
 * nothing; a handle means nothing outside of its own.
 */
export class Session extends GuestKernel {
  /** The address as it was given, or `stream`. */
  readonly address: string;
  /** The bounds that the agent sets. */
  readonly limits: SessionLimits;
  /** The name of the agent's profile that this session is under. */
  readonly profile: string;

  /** How long the guest keeps what the session holds after a loss, in milliseconds; 0: not at all. */
  readonly leaseMs: number;

  readonly #silenceMs: number;
  readonly #admission: Admission;
  readonly #lease: Lease;
  readonly #reconnects: boolean;
  #channel!: Channel;
  // The channel's accessors cross into C++; these are fixed.
  #sendBuffer!: Uint8Array;
  #receiveBuffer!: Uint8Array;
  #frame!: Uint32Array;
  #heartbeat: NodeJS.Timeout | undefined;
  #framesAtHeartbeat = 0;
  #referenced = true;
  readonly #pending = new Map<number, Pending>();
  /** Calls that nobody waits for any more, and the handles that they are to bind, or 0. */
  readonly #abandoned = new Map<number, Handle>();
  readonly #callTimeoutMs: number;
  readonly #maxQueuedBytes: number;
  readonly #waitingForRoom: Array<() => void> = [];
  readonly #clock = new GuestClock();
  readonly #events: EventHub;
  #closed: Error | undefined;
  #nextId = 1;
  #nextHandle = 1;
  #timer: NodeJS.Timeout | undefined;
  #timerDueMs = 0;
  #coarseNowMs = 0;
  #framesSent = 0;
  #framesReceived = 0;
  #onClose: Array<(reason: Error) => void> = [];

  private constructor(
    stream: Duplex,
    address: string,
    open: Opener | undefined,
    welcome: Welcome,
    options: SessionOptions,
  ) {
    super(welcome.kernel);
    this.address = address;
    this.limits = welcome.limits;
    this.profile = welcome.profile;
    this.leaseMs = welcome.session.leaseMs;
    this.#reconnects = options.reconnect !== false;
    const { token, silenceMs } = welcome.session;
    this.#silenceMs = silenceMs;
    this.#admission = new Admission(address, open, token, options.handshakeTimeoutMs);
    this.#lease = this.#newLease();
    this.#events = new EventHub(address, () => this.#admission.join('events'));
    this.#callTimeoutMs = options.callTimeoutMs ?? 30_000;
    this.#maxQueuedBytes = options.maxQueuedBytes ?? 1024 * 1024;
    this.#carry(stream);
    if (this.#silenceMs > 0) {
      this.#heartbeat = setInterval(() => this.#beat(), Math.ceil(this.#silenceMs / 4)).unref();
    }
  }

  /** Has a connection that has been greeted carry the session's calls. */
  #carry(stream: Duplex): void {
    const callbacks = [
      (bytes: Uint8Array) => this.#receive(bytes),
      (status: number, have: number, want: number) => this.#ended(status, have, want),
      () => this.#drained(),
    ] as const;
    const taken = detachStream(stream);
    if (taken === undefined) {
      this.#channel = new StreamChannel(stream, MAX_FRAME_BYTES, ...callbacks);
    } else {
      if (taken.unread.byteLength > 0) {
        taken.close();
        throw failure('ERR_PROTOCOL_UNEXPECTED', {
          received: `${taken.unread.byteLength} bytes after WELCOME`,
          expected: 'answers to calls only',
        });
      }
      this.#channel = new native.Channel(taken.source, MAX_FRAME_BYTES, ...callbacks);
    }
    this.#sendBuffer = this.#channel.sendBuffer;
    this.#receiveBuffer = this.#channel.receiveBuffer;
    this.#frame = this.#channel.frame;
    if (!this.#referenced) this.#channel.unref();
    this.#channel.start();
  }

  /**
   * Connects to an agent and introduces this client.
   *
   * Root connects over vsock from a port below 1024 unless `localPort` names another: agents take
   * it for proof that the peer is privileged on the host.
   *
   * @param target an address such as `vsock:3:1024`, or a stream that is already connected to an
   *   agent; the session owns it from then on
   * @throws the transport's errors; ERR_HANDSHAKE_TIMEOUT, ERR_PROTOCOL_VERSION, ERR_PEER_REFUSED
   */
  static async connect(target: string | Duplex, options: SessionOptions = {}): Promise<Session> {
    const { reconnect, leaseMs = 0, client, callTimeoutMs, maxQueuedBytes, ...how } = options;
    const { handshakeTimeoutMs, signal } = how;
    const address = typeof target === 'string' ? target : 'stream';
    let open: Opener | undefined;
    if (typeof reconnect === 'function') open = reconnect;
    else if (typeof target === 'string') {
      // The signal is for the first connection only.
      open = () => dial(target, { ...how, signal: undefined });
    }
    if (leaseMs > 0 && open === undefined) {
      throw failure('ERR_OPTION_INVALID', {
        option: 'leaseMs',
        value: leaseMs,
        expected: 'no lease with a stream, unless reconnect is a function that makes another one',
      });
    }
    const stream = await dial(target, how);
    const name = client ?? `${process.title} ${process.pid}`;
    const lease = leaseMs > 0 ? { leaseMs } : {};
    const hello = { protocol: PROTOCOL_VERSION, client: name, ...lease };
    const bounds = { handshakeTimeoutMs, signal };
    const welcome = await greet(stream, address, FrameType.HELLO, hello, bounds);
    return new Session(stream, address, open, welcome, options);
  }

  /** Whether the session has ended, by {@link close} or otherwise. */
  get closed(): boolean {
    return this.#closed !== undefined;
  }

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

  /** Calls `listener` once when the session ends, with the reason. */
  onClose(listener: (reason: Error) => void): void {
    if (this.#closed === undefined) this.#onClose.push(listener);
    else queueMicrotask(() => listener(this.#closed as Error));
  }

  /** Returns a handle that has not been used in this session. */
  newHandle(): Handle {
    return this.#nextHandle++;
  }

  /**
   * Has a call executed in the guest. One frame goes there and one comes back.
   *
   * A failure that the guest's kernel reports is no rejection: it is in the reply's `errno`, with
   * whatever the kernel wrote all the same.
   *
   * @throws ERR_CALL_* and ERR_HANDLE_* when the agent finds the call at fault,
   *   ERR_POLICY_REFUSED, ERR_CALL_TIMEOUT, ERR_CALL_ABORTED, ERR_SESSION_CLOSED
   */
  async call(call: Call, options?: CallOptions): Promise<Reply> {
    return this.start(call, options, options?.name ?? call.command);
  }

  /**
   * Has calls executed in the guest in their order, whatever becomes of each: like {@link call} for
   * one after the other, but they travel together, and so do their answers, for which this thread
   * does not stay. Many small calls take a fraction of the time so.
   *
   * @returns the replies in the order of the calls; each rejects by itself, as {@link call} does
   */
  callAll(calls: readonly Call[], options?: CallOptions): Promise<Reply>[] {
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
      const pending = this.#begin(this.#newId(), lengths, call.result, options, name);
      const flags = index < calls.length - 1 ? FrameFlag.ANSWER_MAY_WAIT : 0;
      used += putCallFrame(buffer.subarray(used), pending.id, call, flags);
      frames++;
      return pending.promise;
    });
    flush();
    return replies;
  }

  /**
   * Opens a file of the guest's kernel for reading, such as
   * `/sys/kernel/tracing/trace_pipe`, if the guest's policy allows.
   *
   * @param options `handle`: what to bind it to, so that requests that depend on it need not wait.
   *   Default: a new one
   * @throws the guest's system error, ERR_POLICY_REFUSED and what {@link call} throws
   */
  async open(path: string, options?: CallOptions & { handle?: Handle }): Promise<Handle> {
    const handle = options?.handle ?? this.newHandle();
    const name = `open ${path}`;
    const reply = await this.#message(
      FrameType.OPEN,
      [path, handle],
      options,
      name,
      undefined,
      handle,
    );
    if (reply.result < 0) throw systemError('open', reply.errno, { address: path, side: 'guest' });
    return handle;
  }

  /**
   * Reads up to `lengthBytes` from what a handle stands for: an opened file, an iterator. Resolves
   * with an empty array at the end, and with `undefined` when nothing is there yet (EAGAIN).
   */
  async read(
    handle: Handle,
    lengthBytes: number,
    options?: CallOptions,
  ): Promise<Uint8Array | undefined> {
    const reply = await this.#message(FrameType.READ, [handle, lengthBytes], options, 'read');
    if (reply.result >= 0) {
      const sent = reply.outputs[0] ?? new Uint8Array(0);
      if (reply.result <= lengthBytes && sent.length <= reply.result) {
        // Zeroes at the end do not travel.
        const bytes = new Uint8Array(reply.result);
        bytes.set(sent);
        return bytes;
      }
      throw failure('ERR_PROTOCOL_UNEXPECTED', {
        received: `${sent.length} bytes and a result of ${reply.result} from ${this.address}`,
        expected: `at most as many bytes as the result, and as the ${lengthBytes} asked for`,
      });
    }
    const error = systemError('read', reply.errno, { side: 'guest' });
    if (error.code === 'EAGAIN') return undefined;
    throw error;
  }

  /** Closes handles in the guest. What only they held alive is gone afterwards. */
  async release(handles: readonly Handle[], options?: CallOptions): Promise<void> {
    for (const handle of handles) this.knownMaps.closed(handle);
    try {
      await this.#message(FrameType.CLOSE, handles, options, 'close');
    } catch (error) {
      const { over } = this.#lease;
      if ((error as Partial<WaepError>).code !== 'ERR_SESSION_INTERRUPTED' || !over) throw error;
      for (const handle of handles) this.#lease.doubt(handle);
      await over;
    }
  }

  /**
   * Closes every handle that the session has, or that a call under way is to bind. Streams hold on
   * to what they read from until they are closed themselves.
   */
  async releaseAll(options?: CallOptions): Promise<void> {
    this.knownMaps.clear();
    try {
      await this.#message(FrameType.CLOSE, undefined, options, 'close');
    } catch (error) {
      const { over } = this.#lease;
      if ((error as Partial<WaepError>).code !== 'ERR_SESSION_INTERRUPTED' || !over) throw error;
      await over;
      await this.releaseAll(options);
    }
  }

  /**
   * Opens a perf event in the guest (perf_event_open(2)). Like {@link call}, it leaves the kernel's
   * errno in the reply; {@link openPerfEvent} is the comfortable form.
   */
  perfEventOpen(call: PerfOpenCall, options?: CallOptions): Promise<Reply> {
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

  /**
   * Makes an ioctl(2) on what a handle stands for, of the requests that the guest's policy lists:
   * those of perf events. Like {@link call}, it leaves the kernel's errno in the reply.
   */
  ioctl(call: IoctlCall, options?: CallOptions): Promise<Reply> {
    const lengths = outputLengths(call);
    return this.#message(FrameType.IOCTL, ioctlBody(call), options, 'ioctl', lengths);
  }

  /**
   * Reads the guest's clock, some times in a row, and returns what is known of it on the host's
   * timeline: the same object each time, with more readings. Read it now and then while stamps are
   * placed by it: before the first of them, and after.
   */
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
  ): Promise<EventStream> {
    return this.#events.subscribe(origin, options, callback);
  }

  /** Makes a writer for the user ring buffer behind a handle, which has so many bytes. */
  ringWriter(map: Handle, sizeBytes: number): RingWriter {
    return new RingWriter(this.#events, map, sizeBytes);
  }

  /**
   * Moves the session to a new connection, within its lease. A session does this by itself when it
   * loses its connection, unless `reconnect` is false. Handles, and what they stand for, stay as
   * they are.
   *
   * Calls that were not answered reject with ERR_SESSION_INTERRUPTED. Each of them has either taken
   * effect in full by the time that this resolves, or never will; an object that one of them made is
   * closed again, since nobody could have learned its handle. Calls made in the meantime wait.
   *
   * @throws ERR_SESSION_CLOSED when the session has ended, or ends because it cannot be resumed;
   *   ERR_SESSION_UNKNOWN when it has no lease
   */
  resume(): Promise<void> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    if (this.leaseMs === 0) {
      return Promise.reject(failure('ERR_SESSION_UNKNOWN', { why: 'the session has no lease' }));
    }
    return this.#lease.resume();
  }

  /**
   * Ends the session: pending calls reject, and the guest drops every object of it, whatever its
   * lease. While the session is interrupted the guest cannot be told, and the lease runs out.
   * Idempotent.
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

  /** Lets the process end while this session is open and idle, or keeps it from that again. */
  unref(): this {
    this.#referenced = false;
    this.#channel.unref();
    return this;
  }

  ref(): this {
    this.#referenced = true;
    this.#channel.ref();
    return this;
  }

  async #message(
    type: number,
    body: unknown,
    options: CallOptions | undefined,
    name: string,
    lengths?: readonly number[],
    makes: Handle = 0,
  ): Promise<Reply> {
    const frame = (id: number) => messageFrame(type, id, body);
    const refusal = this.#refusal(name, frame(0).byteLength, options);
    if (refusal !== undefined) throw refusal;
    for (;;) {
      if (this.#lease.over !== undefined) await this.#lease.over;
      else if (this.#channel.queuedBytes > this.#maxQueuedBytes) await this.#room();
      else break;
    }
    if (this.#closed !== undefined) throw this.#closed;
    const pending = this.#begin(this.#newId(), lengths, makes, options, name);
    this.#sent(this.#channel.sendParts([frame(pending.id)]));
    return pending.promise;
  }

  /** Why a request cannot even be sent. */
  #refusal(
    name: string | number,
    frameBytes: number,
    options: CallOptions | undefined,
  ): Error | undefined {
    if (this.#closed !== undefined) return this.#closed;
    const maximum = this.limits.maxFrameBytes;
    if (frameBytes > maximum)
      return failure('ERR_FRAME_TOO_LARGE', { length: frameBytes, maximum });
    if (options?.signal?.aborted) {
      return failure(
        'ERR_CALL_ABORTED',
        { call: callName(name), address: this.address },
        options.signal.reason,
      );
    }
    return undefined;
  }

  protected start(
    call: Call,
    options: CallOptions | undefined,
    name: string | number,
  ): Reply | Promise<Reply> {
    const bound = callFrameBound(call);
    const refusal = this.#refusal(name, bound, options);
    if (refusal !== undefined) throw refusal;
    const { over } = this.#lease;
    if (over !== undefined) return over.then(() => this.start(call, options, name));
    if (this.#pending.size > 0 && this.#channel.queuedBytes > this.#maxQueuedBytes) {
      return this.#room().then(() => this.start(call, options, name));
    }
    const lengths = lengthsOf(call, options);
    // Alone in flight, a call is likely to be waited for.
    const alone = this.#pending.size === 0 && options?.ahead !== true;
    if (alone && bound <= this.#sendBuffer.byteLength) {
      return this.#exchange(call, lengths, options, name);
    }
    const pending = this.#begin(this.#newId(), lengths, call.result, options, name);
    if (bound > this.#sendBuffer.byteLength) {
      this.#sent(this.#channel.sendParts(callFrameParts(pending.id, call)));
    } else {
      this.#sent(this.#channel.send(putCallFrame(this.#sendBuffer, pending.id, call)));
    }
    return pending.promise;
  }

  #exchange(
    call: Call,
    lengths: readonly number[] | undefined,
    options: CallOptions | undefined,
    name: string | number,
  ): Reply | Promise<Reply> {
    const id = this.#newId();
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
    // The connection may have ended while the answer was waited for.
    if (this.#closed !== undefined) throw this.#closed;
    const { reason } = this.#lease;
    if (reason !== undefined) {
      this.#lease.doubt(call.result);
      throw this.#interruption(name, reason);
    }
    const pending = this.#begin(id, lengths, call.result, options, name);
    this.#sent(status);
    return pending.promise;
  }

  #room(): Promise<void> {
    return new Promise((resolve) => this.#waitingForRoom.push(resolve));
  }

  /** Notes down a request before its answer can be received. */
  #begin(
    id: number,
    lengths: readonly number[] | undefined,
    makes: Handle,
    options: CallOptions | undefined,
    name: string | number,
  ): Pending {
    const timeoutMs = options?.timeoutMs ?? this.#callTimeoutMs;
    const promise = new Promise<Reply>(takeSettlers);
    const pending: Pending = {
      id,
      promise,
      resolve: settlers.resolve,
      reject: settlers.reject,
      lengths,
      makes,
      deadlineMs: this.#deadline(timeoutMs),
      timeoutMs,
      name,
      signal: options?.signal,
      onAbort: undefined,
    };
    this.#pending.set(id, pending);
    const { signal } = pending;
    if (signal !== undefined) {
      pending.onAbort = () => {
        this.#abandon(pending);
        const detail = { call: callName(pending.name), address: this.address };
        pending.reject(failure('ERR_CALL_ABORTED', detail, signal.reason));
        this.#cancel(pending.id);
      };
      signal.addEventListener('abort', pending.onAbort, { once: true });
    }
    return pending;
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

  #newId(): number {
    do {
      this.#nextId = this.#nextId >= 0xffffffff ? 1 : this.#nextId + 1;
    } while (this.#pending.has(this.#nextId) || this.#abandoned.has(this.#nextId));
    return this.#nextId;
  }

  #receive(bytes: Uint8Array): void {
    this.#framesReceived++;
    const frame = this.#frame;
    const type = frame[0] as number;
    const id = frame[1] as number;
    const start = frame[2] as number;
    const end = frame[3] as number;
    const pending = this.#pending.get(id);
    if (pending === undefined) {
      if (type === FrameType.ERROR && id === 0) {
        this.#end(this.#lost(parseError(bytes.slice(start, end))));
      }
      this.#discard(type, id, bytes, start, end);
      return;
    }
    this.#settle(pending);
    try {
      if (type === FrameType.RESULT) {
        const alias = bytes !== this.#receiveBuffer;
        pending.resolve(parseReply(bytes, start, end, pending.lengths, alias));
      } else if (type === FrameType.ERROR) {
        pending.reject(parseError(bytes.slice(start, end)));
      } else {
        throw failure('ERR_PROTOCOL_UNEXPECTED', {
          received: frameTypeName(type),
          expected: 'RESULT or ERROR',
        });
      }
    } catch (error) {
      // A peer that answers nonsense is not to be trusted with the rest of the conversation.
      pending.reject(error as Error);
      this.#end(this.#lost(error as Error));
    }
  }

  /** Takes the answer to a call that nobody waits for any more. */
  #discard(type: number, id: number, bytes: Uint8Array, start: number, end: number): void {
    const makes = this.#abandoned.get(id) ?? 0;
    this.#abandoned.delete(id);
    if (makes === 0 || type !== FrameType.RESULT) return;
    if (parseReply(bytes, start, end, undefined, false).result < 0) return;
    this.#message(FrameType.CLOSE, [makes], undefined, 'close').catch(() => {});
  }

  #abandon(pending: Pending): void {
    this.#settle(pending);
    this.#abandoned.set(pending.id, pending.makes);
  }

  /** Asks the agent, over a connection of its own: this one is not read from during a call. */
  #cancel(call: number): void {
    if (!this.#admission.possible || this.#closed !== undefined) return;
    // A call that cannot be cancelled ends in its own time.
    this.#admission.join('cancel', call).then(
      (stream) => stream.destroy(),
      () => {},
    );
  }

  #settle(pending: Pending): void {
    this.#pending.delete(pending.id);
    if (pending.onAbort !== undefined) {
      pending.signal?.removeEventListener('abort', pending.onAbort);
    }
  }

  /*
   * Reading the clock and arming a timer for every call would cost more than the call's own work
   * here, so one timer looks at all deadlines now and then and keeps the time meanwhile.
   */
  #deadline(timeoutMs: number): number {
    if (timeoutMs < 4 * SWEEP_MS) {
      const deadlineMs = performance.now() + timeoutMs;
      if (this.#timer === undefined || deadlineMs < this.#timerDueMs) this.#schedule(timeoutMs);
      return deadlineMs;
    }
    if (this.#timer === undefined) this.#schedule(SWEEP_MS);
    return this.#coarseNowMs + SWEEP_MS + timeoutMs;
  }

  #schedule(delayMs: number): void {
    clearTimeout(this.#timer);
    this.#coarseNowMs = performance.now();
    this.#timerDueMs = this.#coarseNowMs + delayMs;
    // After what has arrived is taken: where the thread was busy until now, answers are waiting.
    const expire = () => setImmediate(() => this.#expire());
    this.#timer = setTimeout(expire, Math.max(delayMs, 1)).unref();
  }

  #expire(): void {
    this.#timer = undefined;
    const nowMs = performance.now();
    let nextMs = nowMs + SWEEP_MS;
    for (const pending of this.#pending.values()) {
      if (pending.deadlineMs > nowMs) {
        nextMs = Math.min(nextMs, pending.deadlineMs);
        continue;
      }
      this.#abandon(pending);
      pending.reject(
        failure('ERR_CALL_TIMEOUT', {
          call: callName(pending.name),
          address: this.address,
          timeoutMs: pending.timeoutMs,
          suspicion: suspicionOf(this.address),
        }),
      );
    }
    if (this.#pending.size > 0) this.#schedule(nextMs - nowMs);
  }

  #drained(): void {
    for (const resume of this.#waitingForRoom.splice(0)) resume();
  }

  #lost(cause: Error): Error {
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

  /** The connection is gone; with it the session, unless it has a lease. */
  #lose(reason: Error): void {
    if (this.#closed !== undefined || this.interrupted) return;
    if (this.leaseMs === 0) {
      this.#end(reason);
      return;
    }
    this.#lease.interrupt(reason);
    // A failure ends the session, which is how it is told.
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
        join: () => session.#admission.join('resume'),
        carry: (stream) => session.#carry(stream),
        close: async (handle) => {
          await session.#message(FrameType.CLOSE, [handle], undefined, 'close');
        },
        end: (cause) => session.#end(session.#lost(cause)),
      },
      this.leaseMs,
    );
  }

  /** Lets go of a connection that is lost; what was asked over it may have taken effect or not. */
  #disconnect(reason: Error): void {
    this.#channel.close();
    for (const makes of this.#abandoned.values()) this.#lease.doubt(makes);
    this.#abandoned.clear();
    for (const pending of this.#pending.values()) {
      this.#settle(pending);
      this.#lease.doubt(pending.makes);
      pending.reject(this.#interruption(pending.name, reason));
    }
    this.#drained();
  }

  #interruption(name: string | number, reason: Error): Error {
    const detail = { call: callName(name), address: this.address, why: reason.message };
    return failure('ERR_SESSION_INTERRUPTED', detail, reason);
  }

  /** Lets the agent know that this client is there, and finds out whether the agent is. */
  #beat(): void {
    const idle = this.#framesSent === this.#framesAtHeartbeat;
    this.#framesAtHeartbeat = this.#framesSent;
    if (!idle || this.#closed !== undefined || this.interrupted) return;
    const alone = this.#pending.size === 0;
    const timeoutMs = this.#silenceMs;
    this.#message(FrameType.PING, undefined, { timeoutMs }, 'ping').catch((error) => {
      // Behind other calls, an answer takes as long as these do.
      if ((error as Partial<WaepError>).code === 'ERR_CALL_TIMEOUT' && alone) this.#lose(error);
    });
  }

  #end(reason: Error): void {
    if (this.#closed !== undefined) return;
    this.#closed = reason;
    clearTimeout(this.#timer);
    clearInterval(this.#heartbeat);
    this.#channel.close();
    this.#lease.end(reason);
    this.#events.close(reason);
    for (const pending of this.#pending.values()) {
      this.#settle(pending);
      pending.reject(reason);
    }
    this.#drained();
    for (const listener of this.#onClose.splice(0)) listener(reason);
  }
}
