import type { AddressInfo, Socket as NetSocket, SocketReadyState } from 'node:net';
import { constants } from 'node:os';
import { Duplex } from 'node:stream';
import { failure, systemError } from '../errors.js';
import { type ChannelSource, type Native, native, PollEvent, type Poller } from '../native.js';
import { MAX_TIMER_MS } from '../timer.js';
import type { Address, TransportName } from './address.js';
import { argumentError, nodeError } from './node-errors.js';
import { type OnRead, type StreamOptions, streamOptionsOf } from './options.js';

/** The properties of a socket of any transport that `net.Socket` does not have. */
export interface SocketInfo {
  /** Its transport, such as `vsock`. */
  readonly transport: TransportName;
  /**
   * Whether `end()` leaves the other direction open. If false, `end()` delivers what was written
   * and then ends both directions, and `allowHalfOpen` has no effect. On `vsock` it is always true:
   * a guest's kernel does not say what is at the host's end, and a multiplexer there passes no
   * half-close on.
   */
  readonly halfClose: boolean;
  /**
   * The address that was connected to. Of an accepted socket: the peer's, if the transport knows
   * it.
   */
  readonly remote: Address | undefined;
  /** The peer's context identifier, on `vsock` only. The kernel vouches for it. */
  readonly remoteCid: number | undefined;
}

/** A connected stream on any transport: a `net.Socket` with {@link SocketInfo}. */
export type Socket = NetSocket & SocketInfo;

/**
 * The system calls a socket is made of.
 *
 * A transport whose streams are no kernel descriptors implements these for its own stream numbers
 * and passes them to {@link VsockSocket}, which then needs no change.
 */
export type SocketSystem = Pick<
  Native,
  'Poller' | 'recv' | 'send' | 'shutdown' | 'close' | 'socketError'
> & {
  /** Gives native code access to a stream, if the streams are no kernel descriptors. */
  channelSource?(stream: number): ChannelSource;
};

/** One end of a connection, as text and numbers. */
export interface Endpoint {
  /** Such as `vm(3)`. */
  readonly address: string;
  /** The port, where the transport has ports. */
  readonly port?: number;
  /** The context identifier, on vsock. */
  readonly cid?: number;
}

/** What an {@link Opener} reports. */
export interface Opening {
  /** Hands over a connected, non-blocking descriptor; the socket owns it from here on. */
  opened(fd: number, local?: Endpoint): void;
  /** The connection cannot be made. */
  failed(error: Error): void;
}

/**
 * Begins to connect and reports later, never before it has returned. Returns a function that gives
 * up and frees what the attempt holds; it is called at most once, and not after a report.
 */
export type Opener = (opening: Opening) => () => void;

/** What a {@link VsockSocket} is made of. */
export interface VsockSocketOptions extends StreamOptions {
  /** The name of the transport. */
  transport: TransportName;
  /** Whether the transport can close one direction alone. */
  halfClose: boolean;
  /** A connected, non-blocking descriptor, which the socket owns; or how to get one. */
  source: number | Opener;
  /** The address of the peer, if it can be connected to. */
  remote?: Address;
  /** The peer, as `remoteAddress` and `remotePort` tell of it. */
  remoteEndpoint: Endpoint;
  /** This end, as `localAddress` and `localPort` tell of it. */
  localEndpoint?: Endpoint | undefined;
  /** Whether an accepted socket starts paused. */
  paused?: boolean;
  /** The functions that move bytes. Default: those of the kernel's sockets. */
  system?: SocketSystem;
}

/** A descriptor taken out of a socket, and the bytes it had already received. */
export interface Detached {
  /** Non-blocking and owned by the caller. */
  fd: number;
  /** What was received and not read yet. */
  unread: Uint8Array;
}

/** As {@link Detached}, for native code that can use any stream of this folder's. */
export interface DetachedStream {
  /** What a session's channel is made of. */
  source: ChannelSource;
  /** What was received and not read yet. */
  unread: Uint8Array;
  /** Closes what nobody has taken over. */
  close(): void;
}

/** The method by which `detachStream` takes a stream out of a socket that has one. */
export const detachSource = Symbol('waep.detachSource');

/** The method by which {@link detach} takes a descriptor out of a socket that has one. */
export const detachDescriptor = Symbol('waep.detachDescriptor');

interface PendingWrite {
  readonly parts: readonly Uint8Array[];
  readonly sizeBytes: number;
  offset: number;
  readonly done: (error?: Error | null) => void;
}

const { EAGAIN, ECANCELED, ENOTCONN } = constants.errno;
const BOTH = PollEvent.READABLE | PollEvent.WRITABLE;
const SHUT_WR = 1;
const SCRATCH_BYTES = 65536;
// Enough to drain what the kernel holds by default; more would starve the loop's other sockets.
const READS_PER_EVENT = 8;
// Firecracker's own limit for a shutdown that the guest does not answer.
const LINGER_MS = 2000;

let scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);

/** Returns the first `length` bytes of the scratch buffer as a buffer of their own. */
function takeReceived(length: number): Buffer {
  if (length < SCRATCH_BYTES / 2) return Buffer.from(scratch.subarray(0, length));
  const taken = scratch.subarray(0, length);
  scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);
  return taken;
}

/** The implementation of {@link VsockSocket}, whose declared type is that of node:net. */
class Implementation extends Duplex implements SocketInfo {
  static {
    Object.defineProperty(Implementation, 'name', { value: 'VsockSocket' });
  }

  readonly transport: TransportName;
  readonly halfClose: boolean;
  readonly remote: Address | undefined;
  /** Bytes taken from the kernel so far. */
  bytesRead = 0;
  /** Whether the connection is still being made. */
  connecting = false;
  /** The idle timeout in milliseconds, as set by {@link setTimeout}. */
  timeout?: number;
  readonly autoSelectFamilyAttemptedAddresses: string[] = [];

  readonly #system: SocketSystem;
  readonly #onread: OnRead | undefined;
  readonly #dialled: boolean;
  readonly #remoteEndpoint: Endpoint;
  #localEndpoint: Endpoint | undefined;
  #fd = -1;
  #poller: Poller | undefined;
  #watched = 0;
  #wantsRead = false;
  #sentBytes = 0;
  #ended = false;
  #write: PendingWrite | undefined;
  #final: ((error?: Error | null) => void) | undefined;
  #cancel: (() => void) | undefined;
  #refed = true;
  #idle: NodeJS.Timeout | undefined;
  #linger: NodeJS.Timeout | undefined;

  constructor(options: VsockSocketOptions) {
    // 'close' is emitted by _destroy, because that of net.Socket says whether there was an error.
    super({ ...streamOptionsOf(options), emitClose: false });
    this.transport = options.transport;
    this.halfClose = options.halfClose;
    this.remote = options.remote;
    this.#remoteEndpoint = options.remoteEndpoint;
    this.#localEndpoint = options.localEndpoint;
    this.#system = options.system ?? native;
    this.#onread = options.onread;
    this.#dialled = typeof options.source !== 'number';
    if (options.paused) this.pause();
    if (typeof options.source === 'number') {
      this.#adopt(options.source);
      this.#startReading();
    } else {
      this.connecting = true;
      this.#cancel = options.source({
        opened: (fd, local) => this.#opened(fd, local),
        failed: (error) => {
          this.#cancel = undefined;
          this.destroy(error);
        },
      });
    }
  }

  get remoteCid(): number | undefined {
    return this.#remoteEndpoint.cid;
  }

  get remoteAddress(): string | undefined {
    return this.#remoteEndpoint.address;
  }

  get remotePort(): number | undefined {
    return this.#remoteEndpoint.port;
  }

  get remoteFamily(): string {
    return this.transport;
  }

  get localAddress(): string | undefined {
    return this.#localEndpoint?.address;
  }

  get localPort(): number | undefined {
    return this.#localEndpoint?.port;
  }

  get localFamily(): string {
    return this.transport;
  }

  /** Whether there is no connection yet. */
  get pending(): boolean {
    return this.#fd < 0;
  }

  /** Bytes written so far; as in node:net, those that still wait here count. */
  get bytesWritten(): number {
    return this.#sentBytes + this.writableLength;
  }

  get bufferSize(): number {
    return this.writableLength;
  }

  get readyState(): SocketReadyState {
    if (this.connecting) return 'opening';
    if (this.readable && this.writable) return 'open';
    if (this.readable) return 'readOnly';
    return this.writable ? 'writeOnly' : 'closed';
  }

  address(): AddressInfo | Record<string, never> {
    const { localAddress: address, localPort: port } = this;
    if (address === undefined || port === undefined) return {};
    return { address, family: this.transport, port };
  }

  /**
   * Keeps the connection that the socket was made with, and emits 'connect'. The arguments have no
   * effect. Libraries that are given a socket call this with the port and host that they know.
   *
   * @throws ERR_TRANSPORT_UNSUPPORTED for an accepted socket and for one that has ended
   */
  connect(...args: unknown[]): this {
    if (!this.#dialled) throw notDialled(this);
    return reconnect(this, args);
  }

  /** Has no effect: there is no Nagle's algorithm on this transport. */
  setNoDelay(): this {
    return this;
  }

  /** Has no effect: the kernel knows when the other machine has gone. */
  setKeepAlive(): this {
    return this;
  }

  /**
   * As in node:net: emits `'timeout'` after `timeoutMs` without traffic; 0 turns it off.
   *
   * @throws ERR_INVALID_ARG_TYPE, and ERR_OUT_OF_RANGE for a time that is negative or not finite
   */
  setTimeout(timeoutMs: number, callback?: () => void): this {
    if (this.destroyed) return this;
    if (typeof timeoutMs !== 'number') throw argumentError('msecs', 'of type number', timeoutMs);
    if (!(timeoutMs >= 0) || timeoutMs === Infinity) {
      const expected = 'It must be a non-negative finite number';
      throw nodeError(
        'ERR_OUT_OF_RANGE',
        `The value of "msecs" is out of range. ${expected}. Received ${timeoutMs}`,
      );
    }
    if (callback !== undefined && typeof callback !== 'function') {
      throw argumentError('callback', 'of type function', callback);
    }
    clearTimeout(this.#idle);
    this.timeout = timeoutMs;
    if (timeoutMs === 0) {
      this.#idle = undefined;
      if (callback !== undefined) this.removeListener('timeout', callback);
      return this;
    }
    const delayMs = Math.min(timeoutMs, MAX_TIMER_MS);
    this.#idle = setTimeout(() => this.emit('timeout'), delayMs).unref();
    if (callback !== undefined) this.once('timeout', callback);
    return this;
  }

  ref(): this {
    this.#refed = true;
    this.#poller?.ref();
    return this;
  }

  unref(): this {
    this.#refed = false;
    this.#poller?.unref();
    return this;
  }

  /** Destroys the socket once everything written has been handed to the kernel. */
  destroySoon(): void {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once('finish', this.destroy);
  }

  /** Closes at once. AF_VSOCK has no separate reset: the peer sees an end. */
  resetAndDestroy(): this {
    return this.destroy(
      this.pending && !this.connecting
        ? nodeError('ERR_SOCKET_CLOSED', 'Socket is closed')
        : undefined,
    );
  }

  override pause(): this {
    if (this.#onread !== undefined) this.#wantsRead = false;
    return super.pause();
  }

  override resume(): this {
    if (this.#onread !== undefined) this._read();
    return super.resume();
  }

  override _read(): void {
    this.#wantsRead = true;
    this.#watch();
  }

  override _write(
    chunk: Uint8Array,
    _encoding: BufferEncoding,
    done: (error?: Error | null) => void,
  ): void {
    this.#begin([chunk], chunk.length, done);
  }

  override _writev(
    chunks: Array<{ chunk: Uint8Array }>,
    done: (error?: Error | null) => void,
  ): void {
    const parts = chunks.map(({ chunk }) => chunk);
    this.#begin(
      parts,
      parts.reduce((sum, part) => sum + part.length, 0),
      done,
    );
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#final = done;
    if (this.#fd >= 0) this.#finish();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    const cancel = this.#cancel;
    this.#cancel = undefined;
    const unconnected = this.connecting;
    this.connecting = false;
    clearTimeout(this.#idle);
    clearTimeout(this.#linger);
    cancel?.();
    const fd = this.#release();
    if (fd >= 0) this.#system.close(fd);
    const write = this.#write;
    this.#write = undefined;
    write?.done(
      error ??
        (unconnected
          ? nodeError(
              'ERR_SOCKET_CLOSED_BEFORE_CONNECTION',
              'Socket closed before the connection was established',
            )
          : this.#error('write', ECANCELED)),
    );
    done(error);
    process.nextTick(() => this.emit('close', error !== null));
  }

  /** Passes the descriptor to the caller; see `detach`. */
  [detachDescriptor](): Detached | undefined {
    if (this.#system !== native) return undefined;
    const fd = this.#release();
    const unread = takeUnread(this);
    this.destroy();
    return { fd, unread };
  }

  /** Passes a stream of a device to the caller; see `detachStream`. */
  [detachSource](): DetachedStream | undefined {
    const system = this.#system;
    if (system.channelSource === undefined) return undefined;
    const fd = this.#release();
    const unread = takeUnread(this);
    this.destroy();
    return { source: system.channelSource(fd), unread, close: () => void system.close(fd) };
  }

  #opened(fd: number, local: Endpoint | undefined): void {
    this.#cancel = undefined;
    if (local !== undefined) this.#localEndpoint = local;
    this.connecting = false;
    this.#adopt(fd);
    if (this.destroyed) return;
    this.emit('connect');
    this.emit('ready');
    if (this.#fd < 0) return;
    if (this.#write !== undefined) this.#flush();
    if (this.#final !== undefined && this.#fd >= 0) this.#finish();
    this.#startReading();
  }

  #adopt(fd: number): void {
    this.#fd = fd;
    try {
      this.#poller = new this.#system.Poller(fd, (status, events) => this.#ready(status, events));
    } catch (error) {
      this.destroy(error as Error);
      return;
    }
    if (!this.#refed) this.#poller.unref();
    // The stream asks once for data, and it may have asked before there was a descriptor.
    this.#watch();
  }

  /** Reads ahead as net.Socket does, to notice an error or the end although nobody reads. */
  #startReading(): void {
    if (this.#fd >= 0 && !this.isPaused()) this.read(0);
  }

  /** Ends the watch and returns the descriptor, which the caller owns; −1 if there was none. */
  #release(): number {
    this.#poller?.close();
    this.#poller = undefined;
    this.#watched = 0;
    const fd = this.#fd;
    this.#fd = -1;
    return fd;
  }

  /** The events that something waits for. */
  #wanted(): number {
    const read = this.#wantsRead && !this.#ended ? PollEvent.READABLE : 0;
    return read | (this.#write === undefined ? 0 : PollEvent.WRITABLE);
  }

  /**
   * Adds events to the watch. An event that is no longer wanted stays until it has fired once for
   * nothing, because ending and renewing a watch would cost two epoll_ctl(2) for each chunk.
   */
  #watch(): void {
    const events = this.#watched | this.#wanted();
    if (this.#poller === undefined || events === this.#watched) return;
    this.#watched = events;
    const result = this.#poller.poll(events);
    if (result < 0) this.destroy(this.#error('poll', result));
  }

  #ready(status: number, readyEvents: number): void {
    let events = readyEvents;
    if (status < 0) {
      // libuv answers EPOLLERR with a stopped watch and EBADF; what happened is in SO_ERROR, or
      // will be told by the calls themselves.
      this.#watched = 0;
      const error = this.#system.socketError(this.#fd);
      if (error < 0) {
        this.destroy(this.#error(this.#write === undefined ? 'read' : 'write', error));
        return;
      }
      events = BOTH;
    }
    const wanted = this.#wanted();
    if (events & wanted & PollEvent.WRITABLE) this.#flush();
    if (events & wanted & PollEvent.READABLE) this.#receive();
    if (this.#poller === undefined) return;
    if (events & ~wanted & this.#watched) {
      this.#watched = this.#wanted();
      this.#poller.poll(this.#watched);
    } else {
      this.#watch();
    }
  }

  #receive(): void {
    if (this.#onread !== undefined) {
      this.#receiveInto(this.#onread);
      return;
    }
    for (let reads = 0; reads < READS_PER_EVENT && this.#fd >= 0; reads++) {
      const received = this.#system.recv(this.#fd, scratch, 0, SCRATCH_BYTES);
      if (received > 0) {
        this.bytesRead += received;
        this.#idle?.refresh();
        this.#wantsRead = this.push(takeReceived(received));
        if (!this.#wantsRead || received < SCRATCH_BYTES) return;
      } else if (received === 0) {
        this.#end();
        return;
      } else {
        if (received !== -EAGAIN) this.destroy(this.#error('read', received));
        return;
      }
    }
  }

  /** Hands received bytes to a callback instead of the stream. */
  #receiveInto(onread: OnRead): void {
    for (let reads = 0; reads < READS_PER_EVENT && this.#wantsRead && this.#fd >= 0; reads++) {
      const buffer = typeof onread.buffer === 'function' ? onread.buffer() : onread.buffer;
      // Without room for a byte, the answer would look like the end.
      if (!(buffer instanceof Uint8Array) || buffer.length === 0) {
        const expected = 'a function that returns a Uint8Array with room';
        this.destroy(argumentError('options.onread.buffer', expected, buffer));
        return;
      }
      const received = this.#system.recv(this.#fd, buffer, 0, buffer.length);
      if (received > 0) {
        this.bytesRead += received;
        this.#idle?.refresh();
        this.#wantsRead = onread.callback(received, buffer) !== false && this.#wantsRead;
      } else if (received === 0) {
        this.#end();
        return;
      } else {
        if (received !== -EAGAIN) this.destroy(this.#error('read', received));
        return;
      }
    }
  }

  #end(): void {
    clearTimeout(this.#linger);
    this.#ended = true;
    this.push(null);
    // Emits 'end' although nobody may be reading.
    if (this.readableLength === 0) this.read(0);
  }

  #begin(
    parts: readonly Uint8Array[],
    sizeBytes: number,
    done: (error?: Error | null) => void,
  ): void {
    this.#write = { parts, sizeBytes, offset: 0, done };
    if (this.#fd >= 0) this.#flush();
  }

  #flush(): void {
    const write = this.#write;
    if (write === undefined) return;
    while (write.offset < write.sizeBytes) {
      const sent = this.#system.send(this.#fd, write.parts, write.offset);
      if (sent === -EAGAIN) {
        this.#watch();
        return;
      }
      if (sent < 0) {
        this.#write = undefined;
        write.done(this.#error('write', sent));
        return;
      }
      write.offset += sent;
      this.#idle?.refresh();
    }
    this.#write = undefined;
    this.#sentBytes += write.sizeBytes;
    write.done();
  }

  #finish(): void {
    const done = this.#final;
    this.#final = undefined;
    const result = this.#system.shutdown(this.#fd, SHUT_WR);
    if (result < 0 && result !== -ENOTCONN) {
      done?.(this.#error('shutdown', result));
      return;
    }
    if (!this.halfClose && !this.#ended) {
      this.#linger = setTimeout(() => this.#end(), LINGER_MS).unref();
    }
    done?.();
  }

  #error(syscall: string, errno: number): Error {
    const { address, port } = this.#remoteEndpoint;
    return systemError(syscall, errno, port === undefined ? { address } : { address, port });
  }
}

/**
 * The members of node:net's sockets that are missing here. If there are any, this does not compile.
 */
type Missing = Exclude<keyof NetSocket, keyof Implementation>;
const complete: [Missing] extends [never] ? typeof Implementation : Missing = Implementation;

/**
 * A stream socket that behaves like `net.Socket` over any non-blocking stream descriptor.
 *
 * Made by `connect`, `createConnection` and servers rather than by hand. Errors of the kernel have
 * `code`, `errno`, `syscall`, `address` and `port`. A peer that resets an established vsock
 * connection is seen as a clean end (the kernel's virtio transport makes it one), so a protocol
 * that must tell the two apart needs an end marker of its own.
 */
export type VsockSocket = Socket;
export const VsockSocket = complete as unknown as new (options: VsockSocketOptions) => Socket;

type Dialled = Duplex & SocketInfo & Pick<NetSocket, 'connecting'>;

function notDialled(socket: SocketInfo): Error {
  return failure('ERR_TRANSPORT_UNSUPPORTED', {
    operation: 'socket.connect()',
    transport: socket.transport,
    cure: 'Make a new socket with connect() or createConnection().',
  });
}

/**
 * Answers `socket.connect(port, host, …)` on a socket that was connected when it was made. It
 * ignores the arguments and emits 'connect'.
 *
 * @throws ERR_TRANSPORT_UNSUPPORTED when the socket has ended
 */
export function reconnect<S extends Dialled>(socket: S, args: readonly unknown[]): S {
  if (socket.destroyed || socket.writableEnded) throw notDialled(socket);
  const callback = args.at(-1);
  if (typeof callback === 'function') socket.once('connect', callback as () => void);
  if (!socket.connecting) {
    process.nextTick(() => {
      if (!socket.destroyed) socket.emit('connect');
    });
  }
  return socket;
}

/** Takes everything out of a socket's receive queue. */
export function takeUnread(socket: Duplex): Uint8Array {
  socket.removeAllListeners('data');
  socket.removeAllListeners('readable');
  socket.pause();
  const encoding = socket.readableEncoding;
  const chunks: Uint8Array[] = [];
  for (let chunk = socket.read(); chunk !== null; chunk = socket.read()) {
    chunks.push(typeof chunk === 'string' ? Buffer.from(chunk, encoding ?? 'utf8') : chunk);
  }
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks);
}
