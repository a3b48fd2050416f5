import { performance } from 'node:perf_hooks';
import { Duplex } from 'node:stream';
import type { Call, Handle, IoctlCall, PerfOpenCall, Reply } from '../call.js';
import { failure, systemError, WaepError } from '../errors.js';
import {
  callFrameBound,
  callFrameParts,
  FrameType,
  frameTypeName,
  ioctlBody,
  MAX_FRAME_BYTES,
  messageFrame,
  outputLengths,
  PROTOCOL_VERSION,
  parseError,
  parseReply,
  parseWelcome,
  perfOpenBody,
  putCallFrame,
  readFrame,
  type SessionLimits,
  type Welcome,
} from '../frame/index.js';
import { type Channel, ChannelEnd, ExchangeStatus, native } from '../native.js';
import { type ConnectOptions, connect, detach } from '../transport/index.js';
import { type CallOptions, GuestKernel } from './guest-kernel.js';
import { StreamChannel } from './stream-channel.js';

/** Options of {@link Session.connect}. */
export interface SessionOptions extends ConnectOptions {
  /** How long a call may take unless it says otherwise, in milliseconds. Default 30 000. */
  callTimeoutMs?: number;
  /** How the guest's audit log should name this client. Default: the program's name and pid. */
  client?: string;
  /** How many bytes may wait to be sent before calls are held back. Default 1 MiB. */
  maxQueuedBytes?: number;
}

interface Pending {
  id: number;
  promise: Promise<Reply>;
  resolve: (reply: Reply) => void;
  reject: (error: Error) => void;
  lengths: readonly number[] | undefined;
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

/** How often deadlines are looked at, unless one is so near that it needs a time of its own. */
const SWEEP_MS = 250;

/** Counters of one session, since it was opened. */
export interface SessionStatistics {
  framesSent: number;
  framesReceived: number;
  pendingCalls: number;
  queuedBytes: number;
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

  readonly #channel: Channel;
  // The channel's accessors cross into C++; these are fixed.
  readonly #sendBuffer: Uint8Array;
  readonly #receiveBuffer: Uint8Array;
  readonly #frame: Uint32Array;
  readonly #pending = new Map<number, Pending>();
  readonly #callTimeoutMs: number;
  readonly #maxQueuedBytes: number;
  readonly #waitingForRoom: Array<() => void> = [];
  #closed: Error | undefined;
  #nextId = 1;
  #nextHandle = 1;
  #timer: NodeJS.Timeout | undefined;
  #timerDueMs = 0;
  #coarseNowMs = 0;
  #framesSent = 0;
  #framesReceived = 0;
  #onClose: Array<(reason: Error) => void> = [];

  private constructor(stream: Duplex, address: string, welcome: Welcome, options: SessionOptions) {
    super(welcome.kernel);
    this.address = address;
    this.limits = welcome.limits;
    this.profile = welcome.profile;
    this.#callTimeoutMs = options.callTimeoutMs ?? 30_000;
    this.#maxQueuedBytes = options.maxQueuedBytes ?? 1024 * 1024;
    const callbacks = [
      (bytes: Uint8Array) => this.#receive(bytes),
      (status: number, have: number, want: number) => this.#ended(status, have, want),
      () => this.#drained(),
    ] as const;
    const taken = detach(stream);
    if (taken === undefined) {
      this.#channel = new StreamChannel(stream, MAX_FRAME_BYTES, ...callbacks);
    } else {
      if (taken.unread.byteLength > 0) {
        native.close(taken.fd);
        throw failure('ERR_PROTOCOL_UNEXPECTED', {
          received: `${taken.unread.byteLength} bytes after WELCOME`,
          expected: 'answers to calls only',
        });
      }
      this.#channel = new native.Channel(taken.fd, MAX_FRAME_BYTES, ...callbacks);
    }
    this.#sendBuffer = this.#channel.sendBuffer;
    this.#receiveBuffer = this.#channel.receiveBuffer;
    this.#frame = this.#channel.frame;
    this.#channel.start();
  }

  /**
   * Connects to an agent and introduces this client.
   *
   * @param target an address such as `vsock:3:1024`, or a stream that is already connected to an
   *   agent; the session owns it from then on
   * @throws the transport's errors; ERR_HANDSHAKE_TIMEOUT, ERR_PROTOCOL_VERSION, ERR_PEER_REFUSED
   */
  static async connect(target: string | Duplex, options: SessionOptions = {}): Promise<Session> {
    const address = typeof target === 'string' ? target : 'stream';
    const stream: Duplex = target instanceof Duplex ? target : await connect(target, options);
    const timeoutMs = options.handshakeTimeoutMs ?? 5_000;
    const deadline = AbortSignal.timeout(Math.min(timeoutMs, 2 ** 31 - 1));
    const signal =
      options.signal === undefined ? deadline : AbortSignal.any([deadline, options.signal]);
    const ignore = () => {};
    stream.on('error', ignore);
    try {
      const client = options.client ?? `${process.title} ${process.pid}`;
      stream.write(messageFrame(FrameType.HELLO, 0, { protocol: PROTOCOL_VERSION, client }));
      const frame = await readFrame(stream, MAX_FRAME_BYTES, signal);
      if (frame.type === FrameType.ERROR) throw parseError(frame.body);
      if (frame.type !== FrameType.WELCOME) {
        throw failure('ERR_PROTOCOL_UNEXPECTED', {
          received: frameTypeName(frame.type),
          expected: 'WELCOME',
        });
      }
      return new Session(stream, address, parseWelcome(frame.body), options);
    } catch (cause) {
      stream.destroy();
      if (deadline.aborted && cause === signal.reason) {
        throw failure('ERR_HANDSHAKE_TIMEOUT', { address, timeoutMs }, cause);
      }
      if (cause instanceof WaepError && cause.code === 'ERR_FRAME_TRUNCATED') {
        throw failure(
          'ERR_SESSION_CLOSED',
          { address, why: 'the peer closed the connection before it introduced itself' },
          cause,
        );
      }
      throw cause;
    }
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
    };
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
   * Opens a file of the guest's kernel for reading, such as
   * `/sys/kernel/tracing/trace_pipe`, if the guest's policy allows.
   *
   * @param options `handle`: what to bind it to, so that requests that depend on it need not wait.
   *   Default: a new one
   * @throws the guest's system error, ERR_POLICY_REFUSED and what {@link call} throws
   */
  async open(path: string, options?: CallOptions & { handle?: Handle }): Promise<Handle> {
    const handle = options?.handle ?? this.newHandle();
    const reply = await this.#message(FrameType.OPEN, [path, handle], options, `open ${path}`);
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
      const bytes = new Uint8Array(reply.result);
      bytes.set(reply.outputs[0] ?? []);
      return bytes;
    }
    const error = systemError('read', reply.errno, { side: 'guest' });
    if (error.code === 'EAGAIN') return undefined;
    throw error;
  }

  /** Closes handles in the guest. What only they held alive is gone afterwards. */
  async release(handles: readonly Handle[], options?: CallOptions): Promise<void> {
    for (const handle of handles) this.knownMaps.closed(handle);
    await this.#message(FrameType.CLOSE, handles, options, 'close');
  }

  /**
   * Opens a perf event in the guest (perf_event_open(2)). Like {@link call}, it leaves the kernel's
   * errno in the reply; {@link openPerfEvent} is the comfortable form.
   */
  perfEventOpen(call: PerfOpenCall, options?: CallOptions): Promise<Reply> {
    const name = 'perf_event_open';
    const lengths = outputLengths(call);
    return this.#message(FrameType.PERF_OPEN, perfOpenBody(call), options, name, lengths);
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
   * Ends the session: pending calls reject, and the guest drops every object of it. Idempotent.
   */
  close(): void {
    this.#end(
      failure('ERR_SESSION_CLOSED', { address: this.address, why: 'it was closed by this side' }),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  /** Lets the process end while this session is open and idle, or keeps it from that again. */
  unref(): this {
    this.#channel.unref();
    return this;
  }

  ref(): this {
    this.#channel.ref();
    return this;
  }

  async #message(
    type: number,
    body: unknown,
    options: CallOptions | undefined,
    name: string,
    lengths?: readonly number[],
  ): Promise<Reply> {
    const frame = (id: number) => messageFrame(type, id, body);
    const refusal = this.#refusal(name, frame(0).byteLength, options);
    if (refusal !== undefined) throw refusal;
    while (this.#channel.queuedBytes > this.#maxQueuedBytes) await this.#room();
    if (this.#closed !== undefined) throw this.#closed;
    const pending = this.#begin(this.#newId(), lengths, options, name);
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
    if (this.#pending.size > 0 && this.#channel.queuedBytes > this.#maxQueuedBytes) {
      return this.#room().then(() => this.start(call, options, name));
    }
    const lengths = outputLengths(call);
    // Alone in flight, a call is likely to be waited for.
    if (this.#pending.size === 0 && bound <= this.#sendBuffer.byteLength) {
      return this.#exchange(call, lengths, options, name);
    }
    const pending = this.#begin(this.#newId(), lengths, options, name);
    if (bound > this.#sendBuffer.byteLength) {
      this.#sent(this.#channel.sendParts(callFrameParts(pending.id, call)));
    } else {
      this.#sent(this.#channel.send(putCallFrame(this.#sendBuffer, pending.id, call)));
    }
    return pending.promise;
  }

  #exchange(
    call: Call,
    lengths: readonly number[],
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
    const pending = this.#begin(id, lengths, options, name);
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
        this.#settle(pending);
        const detail = { call: callName(pending.name), address: this.address };
        pending.reject(failure('ERR_CALL_ABORTED', detail, signal.reason));
      };
      signal.addEventListener('abort', pending.onAbort, { once: true });
    }
    return pending;
  }

  #sent(status: number): void {
    if (status < 0) {
      this.#end(this.#lost(systemError('send', status, { address: this.address })));
      return;
    }
    this.#framesSent++;
    if (status === ExchangeStatus.ANSWERED) this.#receive(this.#receiveBuffer);
    else if (status === ExchangeStatus.UNDELIVERED) this.#channel.deliver();
  }

  #newId(): number {
    do {
      this.#nextId = this.#nextId >= 0xffffffff ? 1 : this.#nextId + 1;
    } while (this.#pending.has(this.#nextId));
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
      // Otherwise it answers a call that nobody waits for any more.
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
    this.#timer = setTimeout(() => this.#expire(), Math.max(delayMs, 1)).unref();
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
      this.#settle(pending);
      pending.reject(
        failure('ERR_CALL_TIMEOUT', {
          call: callName(pending.name),
          address: this.address,
          timeoutMs: pending.timeoutMs,
        }),
      );
    }
    if (this.#pending.size > 0) this.#schedule(nextMs - nowMs);
  }

  #drained(): void {
    for (const resume of this.#waitingForRoom.splice(0)) resume();
  }

  #lost(cause: Error): Error {
    return failure('ERR_SESSION_CLOSED', { address: this.address, why: cause.message }, cause);
  }

  #ended(status: number, have: number, want: number): void {
    let cause: Error | undefined;
    if (status === ChannelEnd.TRUNCATED) {
      cause = failure('ERR_FRAME_TRUNCATED', { received: have, expected: want });
    } else if (status === ChannelEnd.TOO_LARGE) {
      cause = failure('ERR_FRAME_TOO_LARGE', { length: have, maximum: want });
    } else if (status === ChannelEnd.MALFORMED) {
      cause = failure('ERR_FRAME_MALFORMED', {
        why: 'its header has bits set that version 1 has not',
      });
    } else if (status < 0) {
      cause = systemError('recv', status, { address: this.address });
    }
    this.#end(
      cause === undefined
        ? failure('ERR_SESSION_CLOSED', {
            address: this.address,
            why: 'the guest ended the connection',
          })
        : this.#lost(cause),
    );
  }

  #end(reason: Error): void {
    if (this.#closed !== undefined) return;
    this.#closed = reason;
    clearTimeout(this.#timer);
    this.#channel.close();
    for (const pending of this.#pending.values()) {
      this.#settle(pending);
      pending.reject(reason);
    }
    this.#drained();
    for (const listener of this.#onClose.splice(0)) listener(reason);
  }
}
