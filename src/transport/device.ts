import { EventEmitter } from 'node:events';
import { failure } from '../errors.js';
import { deviceNotation, formatAddress } from './address.js';
import { createConnection } from './connect.js';
import { type Multiplexer, serveMultiplexer } from './device-mux.js';
import { DeviceStreams } from './device-streams.js';
import { type ConnectOptions, checkOptions, type ListenOptions } from './options.js';
import { createServer, type Server } from './server.js';
import type { Socket } from './socket.js';

/** Options of {@link VsockDevice.open}. */
export interface VsockDeviceOptions {
  /** The vhost-user socket, absolute: listened on, for QEMU to connect to. */
  socket: string;
  /**
   * The device's name in addresses, absolute; by default the same as `socket`. With `multiplexer`,
   * the path of its sockets.
   */
  path?: string;
  /**
   * Whether other processes and threads can reach the guest as well. They send `CONNECT port` to
   * the Unix socket `path`, or listen on `path_PORT`, as with Firecracker and vhost-device-vsock.
   * Default false.
   */
  multiplexer?: boolean;
  /** The guest's context identifier, 3 by default. Several devices may have the same. */
  guestCid?: number;
  /** How many unread bytes each connection may hold: the guest's credit. Default 256 KiB. */
  bufferBytes?: number;
  /** Connections at a time. Default 4 096. */
  maxConnections?: number;
}

/** The events of a {@link VsockDevice}. */
export interface VsockDeviceEvents {
  /** The guest's driver is there: connections can be made. */
  up: [];
  /** The driver or QEMU is gone, and every connection has ended. Both may come back. */
  down: [];
  /** The device has ended, by {@link VsockDevice.close}. */
  close: [];
}

/**
 * A virtio-vsock device for one guest. The event loop of this thread serves the guest's queues
 * itself, without a daemon or a kernel module.
 *
 * QEMU's `vhost-user-vsock-pci` (or `-device`) connects to `socket`; the guest's memory must be
 * shared (`memory-backend-memfd,share=on`). While this thread is busy, the guest's sockets wait. A
 * program that computes for long opens the device in a worker, or lets `waep vsock-device` serve
 * it. QEMU does not connect a second time: when the device is closed, the guest's vsock is dead
 * until QEMU is started again.
 *
 * Connect with `connect(device.address(port))`, and listen with `listen(device.address(port))`.
 * Both are direct in this thread, and go through the multiplexer in others.
 */
export class VsockDevice extends EventEmitter<VsockDeviceEvents> implements AsyncDisposable {
  readonly #streams: DeviceStreams;
  #multiplexer: Multiplexer | undefined;
  #closed = false;

  private constructor(options: VsockDeviceOptions) {
    super();
    const settings = {
      guestCid: options.guestCid ?? 3,
      bufferBytes: options.bufferBytes ?? 262_144,
      maxConnections: options.maxConnections ?? 4096,
    };
    const { socket, path = socket } = options;
    this.#streams = new DeviceStreams(socket, path, settings, (running) =>
      this.emit(running ? 'up' : 'down'),
    );
  }

  /**
   * Makes a device and resolves when QEMU can be started.
   *
   * @example
   * ```ts
   * const device = await VsockDevice.open({ socket: '/tmp/vm.sock', guestCid: 3 });
   * // QEMU: -chardev socket,id=v,path=/tmp/vm.sock -device vhost-user-vsock-pci,chardev=v
   * device.once('up', () => createConnection(device.address(80)).end('hello'));
   * ```
   *
   * @throws EADDRINUSE and other system errors of the sockets, ERR_OPTION_INVALID,
   *   ERR_OPTION_UNKNOWN, ERR_ADDRESS_INVALID for a path that no socket can have
   */
  static async open(options: VsockDeviceOptions): Promise<VsockDevice> {
    checkOptions('VsockDevice.open()', options);
    const { socket, path: name = socket } = options;
    for (const [option, value] of Object.entries({ socket, path: name })) {
      if (typeof value === 'string') continue;
      throw failure('ERR_OPTION_INVALID', { option, value, expected: 'an absolute path' });
    }
    for (const path of [socket, name]) {
      deviceNotation.parse(`${path}:1`, (why) => {
        throw failure('ERR_ADDRESS_INVALID', { value: path, why });
      });
    }
    const device = new VsockDevice(options);
    if (options.multiplexer !== true) return device;
    try {
      device.#multiplexer = await serveMultiplexer(device.#streams);
    } catch (error) {
      await device.close();
      throw error;
    }
    return device;
  }

  /** Whether the guest's driver is there. */
  get running(): boolean {
    return !this.#closed && this.#streams.running;
  }

  /** The address of a port of the guest, or for servers one of the host's. */
  address(port: number): string {
    return formatAddress(this.#streams.addressOf(port));
  }

  /** As `createConnection(device.address(port))`. */
  connect(port: number, options?: ConnectOptions): Socket {
    return createConnection(this.address(port), options);
  }

  /** As `createServer(onConnection).listen(device.address(port))`. */
  listen(port: number, onConnection: (socket: Socket) => void, options?: ListenOptions): Server {
    return createServer(onConnection).listen(this.address(port), options);
  }

  /**
   * Ends the device. The guest's connections are reset, and their other ends here get ECONNABORTED.
   * QEMU goes on without a vsock device.
   */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#multiplexer?.close();
    this.#streams.close();
    this.emit('close');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
