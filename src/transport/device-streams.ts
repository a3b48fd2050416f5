import { constants } from 'node:os';
import { failure, systemError } from '../errors.js';
import { type Device, type DeviceSettings, native, PollEvent, type Poller } from '../native.js';
import { type DeviceAddress, deviceNotation } from './address.js';
import { makeMuxTransport } from './mux.js';
import {
  type ListenOptions,
  type ResolvedConnectOptions,
  type ServerOptions,
  type StreamOptions,
  startDeadline,
  streamOptionsOf,
} from './options.js';
import {
  type Endpoint,
  type Opener,
  type Opening,
  type Socket,
  type SocketSystem,
  VsockSocket,
} from './socket.js';
import { type Acceptor, type Listener, refuseOption, type Transport } from './transport.js';

const { ECONNABORTED, EADDRINUSE, EAGAIN, EBADF, ENOENT } = constants.errno;
const ANY_PORT = 0xffffffff;
const LARGEST_PRIVILEGED_PORT = 1023;
const DEFAULT_BACKLOG = 1024;
const HOST = 'host(2)';
const TUNING_CURE = 'Leave it out: the buffers of a device are sized when it is made.';

/** The devices of this thread, by their names in addresses. */
const devices = new Map<string, DeviceStreams>();

type Callback = (status: number, events: number) => void;

/** The watch on a stream or a listener of a device. */
class DevicePoller implements Poller {
  readonly #device: Device;
  readonly #watchers: Map<number, Callback>;
  readonly #id: number;
  #events = 0;
  #refed = true;
  #held = false;

  constructor(device: Device, watchers: Map<number, Callback>, id: number, callback: Callback) {
    this.#device = device;
    this.#watchers = watchers;
    this.#id = id;
    watchers.set(id, callback);
  }

  poll(events: number): number {
    this.#events = events;
    this.#hold();
    return this.#device.watch(this.#id, events);
  }

  ref(): void {
    this.#refed = true;
    this.#hold();
  }

  unref(): void {
    this.#refed = false;
    this.#hold();
  }

  close(): void {
    if (!this.#watchers.delete(this.#id)) return;
    this.poll(0);
  }

  #hold(): void {
    const held = this.#refed && this.#events !== 0;
    if (held === this.#held) return;
    this.#held = held;
    if (held) this.#device.hold();
    else this.#device.letGo();
  }
}

/** The streams and listeners of one device, in the shape of this folder's sockets. */
export class DeviceStreams {
  readonly path: string;
  readonly #device: Device;
  readonly #watchers = new Map<number, Callback>();
  readonly #system: SocketSystem;
  readonly #failListeners = new Set<() => void>();

  /**
   * @throws EADDRINUSE when this thread has a device of that name, and what `native.Device` throws
   */
  constructor(
    socket: string,
    path: string,
    settings: DeviceSettings,
    onState: (running: boolean) => void,
  ) {
    if (devices.has(path)) throw systemError('listen', -EADDRINUSE, { address: path });
    this.path = path;
    const ready = (id: number, events: number) => this.#watchers.get(id)?.(0, events);
    try {
      this.#device = new native.Device(socket, settings, ready, onState);
    } catch (error) {
      const { errno } = error as NodeJS.ErrnoException;
      if (errno === undefined) throw error;
      const noFolder = errno === -ENOENT ? { why: 'its folder does not exist; make it first' } : {};
      throw systemError('listen', errno, { address: socket, ...noFolder });
    }
    this.#system = systemOf(this.#device, this.#watchers);
    devices.set(path, this);
  }

  get running(): boolean {
    return this.#device.running;
  }

  addressOf(port: number): DeviceAddress {
    return { transport: 'vsock-device', path: this.path, port };
  }

  /** Ends every stream and listener with ECONNABORTED. */
  close(): void {
    devices.delete(this.path);
    this.#device.close();
    for (const watcher of [...this.#watchers.values()]) watcher(-ECONNABORTED, 0);
    this.#watchers.clear();
    for (const fail of [...this.#failListeners]) fail();
  }

  /** Starts to connect to a port of the guest. */
  connect(
    port: number,
    options: Pick<ResolvedConnectOptions, 'timeoutMs' | 'localPort' | 'stream'>,
  ): Socket {
    return this.#socket(
      this.addressOf(port),
      (opening) => this.#dial(port, options, opening),
      options.stream,
    );
  }

  #dial(
    port: number,
    options: Pick<ResolvedConnectOptions, 'timeoutMs' | 'localPort'>,
    opening: Opening,
  ): () => void {
    const where = { address: `vm(${this.path})`, port };
    const later = (report: () => void): (() => void) => {
      const timer = setImmediate(report);
      return () => clearImmediate(timer);
    };
    const stream = this.#connect(port, options.localPort);
    if (stream < 0) return later(() => opening.failed(systemError('connect', stream, where)));
    const release = (): void => {
      stopDeadline();
      poller.close();
    };
    const fail = (error: Error): void => {
      release();
      this.#device.closeStream(stream);
      opening.failed(error);
    };
    const stopDeadline = startDeadline(options.timeoutMs, () =>
      fail(
        failure('ERR_CONNECT_TIMEOUT', {
          address: deviceNotation.describe(this.addressOf(port)),
          timeoutMs: options.timeoutMs,
        }),
      ),
    );
    const poller = new this.#system.Poller(stream, () => {
      const error = this.#device.socketError(stream);
      if (error < 0) {
        fail(systemError('connect', error, where));
        return;
      }
      release();
      opening.opened(stream, this.#hostEnd(stream));
    });
    poller.poll(PollEvent.WRITABLE);
    return () => {
      release();
      this.#device.closeStream(stream);
    };
  }

  #socket(
    address: DeviceAddress,
    source: number | Opener,
    options: StreamOptions & { paused?: boolean },
  ): Socket {
    return new VsockSocket({
      transport: 'vsock-device',
      halfClose: true,
      source,
      ...(typeof source === 'number'
        ? { localEndpoint: this.#hostEnd(source), remoteEndpoint: this.#guestEnd(source) }
        : { remoteEndpoint: { address: `vm(${this.path})`, port: address.port } }),
      remote: address,
      ...options,
      system: this.#system,
    });
  }

  /** Listens for the guest's connections to a port of the host. */
  listen(
    address: DeviceAddress,
    options: ServerOptions & ListenOptions,
    acceptor: Acceptor,
  ): Listener {
    const stream = { ...streamOptionsOf(options), paused: options.pauseOnConnect ?? false };
    const close = this.#listen(address.port, options.backlog ?? DEFAULT_BACKLOG, (accepted) => {
      if (this.#device.confirm(accepted) < 0) {
        this.#device.closeStream(accepted);
        return;
      }
      const { port = 0 } = this.#guestEnd(accepted);
      acceptor.accepted(this.#socket({ ...address, port }, accepted, stream));
    });
    const failed = (): void =>
      acceptor.failed(systemError('accept', -ECONNABORTED, { address: HOST, port: address.port }));
    this.#failListeners.add(failed);
    return {
      address,
      close: async () => {
        this.#failListeners.delete(failed);
        close.poller.close();
        this.#device.closeStream(close.listener);
      },
      ref: () => close.poller.ref(),
      unref: () => close.poller.unref(),
    };
  }

  #listen(
    port: number,
    backlog: number,
    offered: (stream: number) => void,
  ): { listener: number; poller: Poller } {
    const listener = this.#device.listen(port, backlog);
    if (listener < 0) throw systemError('listen', listener, { address: HOST, port });
    const poller = new this.#system.Poller(listener, (status) => {
      if (status < 0) return;
      for (;;) {
        const stream = this.#device.accept(listener);
        if (stream === -EAGAIN || stream === -EBADF) return;
        offered(stream);
      }
    });
    poller.poll(PollEvent.READABLE);
    return { listener, poller };
  }

  /**
   * Offers connections that nobody in this thread listens for; `answer` must be called once.
   * Returns a function that stops this.
   */
  listenToAll(
    offered: (port: number, answer: (accept: boolean) => Socket | undefined) => void,
  ): () => void {
    const { listener, poller } = this.#listen(ANY_PORT, DEFAULT_BACKLOG, (stream) => {
      const { port = 0 } = this.#hostEnd(stream);
      offered(port, (accept) => {
        if (!accept || this.#device.confirm(stream) < 0) {
          this.#device.closeStream(stream);
          return undefined;
        }
        return this.#socket(this.addressOf(port), stream, { allowHalfOpen: true });
      });
    });
    poller.unref();
    return () => {
      poller.close();
      this.#device.closeStream(listener);
    };
  }

  #connect(port: number, localPort: number | 'privileged' | undefined): number {
    if (localPort !== 'privileged') return this.#device.connect(port, localPort ?? 0);
    let stream = -EADDRINUSE;
    for (let local = LARGEST_PRIVILEGED_PORT; local > 0 && stream === -EADDRINUSE; local--) {
      stream = this.#device.connect(port, local);
    }
    return stream;
  }

  #hostEnd(stream: number): Endpoint {
    const ports = new Uint32Array(2);
    this.#device.ports(stream, ports);
    return { address: HOST, port: ports[0] ?? 0 };
  }

  #guestEnd(stream: number): Endpoint {
    const ports = new Uint32Array(2);
    this.#device.ports(stream, ports);
    return { address: `vm(${this.path})`, port: ports[1] ?? 0 };
  }
}

function systemOf(device: Device, watchers: Map<number, Callback>): SocketSystem {
  return {
    Poller: class extends DevicePoller {
      constructor(stream: number, callback: Callback) {
        super(device, watchers, stream, callback);
      }
    },
    recv: (stream, buffer, offset, length) => device.recv(stream, buffer, offset, length),
    send: (stream, parts, offset) => device.send(stream, parts, offset),
    shutdown: (stream, how) => device.shutdown(stream, how),
    close: (stream) => device.closeStream(stream),
    socketError: (stream) => device.socketError(stream),
    channelSource: (stream) => ({ device, stream }),
  };
}

/**
 * Connects from other threads and processes. The device's own multiplexer passes a half-close on.
 */
const remote = makeMuxTransport('vsock-device', deviceNotation, true);

/** The transport of devices that a process of this machine serves. */
export const deviceTransport: Transport<DeviceAddress> = {
  name: 'vsock-device',
  notation: deviceNotation,
  halfClose: true,

  connect(address, options) {
    const device = devices.get(address.path);
    if (device === undefined) return remote.connect(address, options);
    refuseOption('vsock-device', 'bufferBytes', options.bufferBytes, TUNING_CURE);
    return device.connect(address.port, options);
  },

  async listen(address, options, acceptor) {
    const device = devices.get(address.path);
    if (device === undefined) return remote.listen(address, options, acceptor);
    refuseOption('vsock-device', 'bufferBytes', options.bufferBytes, TUNING_CURE);
    return device.listen(address, options, acceptor);
  },
};
