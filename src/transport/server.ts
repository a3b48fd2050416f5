import { EventEmitter } from 'node:events';
import { type Address, toAddress } from './address.js';
import { nodeError } from './node-errors.js';
import { checkOptions, type ListenOptions, type ServerOptions } from './options.js';
import type { Socket } from './socket.js';
import { type Listener, transportOf } from './transport.js';
import './transports.js';

/** A server that takes connections from another one: `http.Server`, `tls.Server`, `net.Server`. */
export interface ConnectionTarget extends EventEmitter {
  /** Closes the connections that wait for a next request, as `http.Server` does. */
  closeIdleConnections?(): void;
}

/** The events of a {@link Server}, with the arguments of their listeners. */
export interface ServerEvents {
  /** A connection was accepted. */
  connection: [socket: Socket];
  /** The server accepts connections. */
  listening: [];
  /** The server could not listen, or cannot go on. */
  error: [error: Error];
  /** The server has closed, and its last connection has ended. */
  close: [];
  /** A connection was closed at once because of `maxConnections`. */
  drop: [data: DropData];
}

/** The peer of a connection that was closed, as far as the transport knows it. */
export interface DropData {
  /** The address of this end. */
  localAddress?: string;
  /** The port of this end. */
  localPort?: number;
  /** The family of the address of this end. */
  localFamily?: string;
  /** The address of the peer. */
  remoteAddress?: string;
  /** The port of the peer. */
  remotePort?: number;
  /** The family of the address of the peer. */
  remoteFamily?: string;
}

function dropData(socket: Socket): DropData {
  const { localAddress, localPort, localFamily, remoteAddress, remotePort, remoteFamily } = socket;
  const ends = { localAddress, localPort, localFamily, remoteAddress, remotePort, remoteFamily };
  return Object.fromEntries(Object.entries(ends).filter(([, value]) => value !== undefined));
}

/**
 * Listens on an address of any transport and behaves like `net.Server`.
 *
 * Events: 'connection' (socket), 'listening', 'error' (error), 'close' and 'drop'. A server listens
 * once at a time; after 'close' it can listen again.
 */
export class Server extends EventEmitter<ServerEvents> implements AsyncDisposable {
  /** Connections beyond this number are closed at once; undefined for no limit. */
  maxConnections: number | undefined;

  readonly #options: ServerOptions;
  readonly #sockets = new Set<Socket>();
  readonly #targets = new Set<ConnectionTarget>();
  #state: 'closed' | 'starting' | 'listening' | 'closing' = 'closed';
  #listener: Listener | undefined;
  #refed = true;

  constructor(options: ServerOptions = {}, onConnection?: (socket: Socket) => void) {
    super();
    checkOptions('createServer()', options);
    this.#options = options;
    if (onConnection !== undefined) this.on('connection', onConnection);
  }

  /** Whether connections can be made. */
  get listening(): boolean {
    return this.#state === 'listening';
  }

  /**
   * Starts to listen. 'listening' follows, or 'error': EADDRINUSE, EADDRNOTAVAIL, EACCES and so on.
   * For a Unix socket, a file left behind by a dead listener is replaced.
   *
   * @throws ERR_ADDRESS_INVALID, ERR_OPTION_INVALID, ERR_OPTION_UNKNOWN, or
   *   ERR_SERVER_ALREADY_LISTEN when it listens or its connections have not ended yet
   */
  listen(
    address: string | Address,
    options?: ListenOptions | (() => void),
    onListening?: () => void,
  ): this {
    const [settings, callback] =
      typeof options === 'function' ? [{}, options] : [options ?? {}, onListening];
    checkOptions('listen()', settings);
    const target = toAddress(address);
    if (this.#state !== 'closed') {
      throw nodeError(
        'ERR_SERVER_ALREADY_LISTEN',
        `listen() is not possible while the server is ${this.#state}. Wait for 'close', or make a server for each address.`,
      );
    }
    if (callback !== undefined) this.once('listening', callback);
    this.#state = 'starting';
    void this.#start(target, settings);
    return this;
  }

  /** Where it listens, with a port that the kernel chose filled in; `null` when it does not. */
  address(): Address | null {
    return this.#listener?.address ?? null;
  }

  /**
   * Hands every connection to another server: `http.createServer(…)`, `tls.createServer(…)` and so
   * on work on any transport this way. The other server must not listen itself.
   *
   * @example
   * ```ts
   * import http from 'node:http';
   *
   * const pages = http.createServer((_, response) => response.end('hello'));
   * createServer().forward(pages).listen('vsock:2:80');
   * ```
   */
  forward(target: ConnectionTarget): this {
    this.#targets.add(target);
    // http.Server starts to enforce its request timeouts on this event.
    if (this.listening) target.emit('listening');
    return this;
  }

  /**
   * Stops listening. 'close' follows when the last connection has ended; connections that an HTTP
   * server keeps idle are closed.
   *
   * @param callback is called on 'close', with ERR_SERVER_NOT_RUNNING if the server was not
   *   listening
   */
  close(callback?: (error?: Error) => void): this {
    const running = this.#state === 'listening' || this.#state === 'starting';
    if (callback !== undefined) {
      this.once('close', () =>
        running
          ? callback()
          : callback(nodeError('ERR_SERVER_NOT_RUNNING', 'Server is not running.')),
      );
    }
    if (this.#state === 'closed') process.nextTick(() => this.emit('close'));
    if (!running) return this;
    const started = this.#state === 'listening';
    this.#state = 'closing';
    for (const target of this.#targets) target.closeIdleConnections?.();
    if (started) void this.#stop();
    return this;
  }

  /** Destroys every connection. */
  closeAllConnections(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Calls back with the number of open connections. */
  getConnections(callback: (error: Error | null, count: number) => void): this {
    process.nextTick(callback, null, this.#sockets.size);
    return this;
  }

  /** Keeps the process from ending while the server listens, which is the default. */
  ref(): this {
    this.#refed = true;
    this.#listener?.ref();
    return this;
  }

  /** Lets the process end while the server listens. */
  unref(): this {
    this.#refed = false;
    this.#listener?.unref();
    return this;
  }

  /** Stops listening, destroys every connection and waits for 'close'. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state === 'closed') return;
    const closed = new Promise<void>((resolve) => this.once('close', () => resolve()));
    this.close();
    this.closeAllConnections();
    await closed;
  }

  async #start(address: Address, options: ListenOptions): Promise<void> {
    try {
      this.#listener = await transportOf(address).listen(
        address,
        { ...this.#options, ...options },
        {
          accepted: (socket) => this.#accept(socket),
          failed: (error) => this.#fail(error),
        },
      );
    } catch (error) {
      this.#fail(error as Error);
      return;
    }
    if (!this.#refed) this.#listener.unref();
    // close() may have been called meanwhile.
    if (this.#state !== 'starting') {
      await this.#stop();
      return;
    }
    this.#state = 'listening';
    const { signal } = options;
    if (signal !== undefined) {
      const abort = (): void => void this.close();
      signal.addEventListener('abort', abort, { once: true });
      this.once('close', () => signal.removeEventListener('abort', abort));
      if (signal.aborted) abort();
    }
    // In a task of its own, so that an exception in a listener is uncaught there and no rejection
    // here.
    process.nextTick(() => {
      if (!this.listening) return;
      for (const target of this.#targets) target.emit('listening');
      this.emit('listening');
    });
  }

  #fail(error: Error): void {
    this.#listener = undefined;
    this.#state = 'closing';
    process.nextTick(() => {
      this.#closeIfDone();
      this.emit('error', error);
    });
  }

  async #stop(): Promise<void> {
    await this.#listener?.close();
    this.#listener = undefined;
    this.#closeIfDone();
  }

  #accept(socket: Socket): void {
    if (this.maxConnections !== undefined && this.#sockets.size >= this.maxConnections) {
      const data = dropData(socket);
      socket.destroy();
      this.emit('drop', data);
      return;
    }
    this.#sockets.add(socket);
    socket.once('close', () => {
      this.#sockets.delete(socket);
      this.#closeIfDone();
    });
    for (const target of this.#targets) target.emit('connection', socket);
    this.emit('connection', socket);
  }

  #closeIfDone(): void {
    if (this.#state !== 'closing' || this.#listener !== undefined || this.#sockets.size > 0) return;
    this.#state = 'closed';
    process.nextTick(() => this.emit('close'));
  }
}

/**
 * Makes a server for any transport.
 *
 * @example
 * ```ts
 * const echo = createServer((socket) => socket.pipe(socket)).listen('vsock:2:7000');
 * echo.on('listening', () => console.log(echo.address()));
 * ```
 *
 * @param onConnection is called with each accepted socket
 */
export function createServer(onConnection?: (socket: Socket) => void): Server;
export function createServer(
  options: ServerOptions,
  onConnection?: (socket: Socket) => void,
): Server;
export function createServer(
  options?: ServerOptions | ((socket: Socket) => void),
  onConnection?: (socket: Socket) => void,
): Server {
  return typeof options === 'function'
    ? new Server({}, options)
    : new Server(options, onConnection);
}
