import { constants } from 'node:os';
import { failure, systemError } from '../errors.js';
import { type Native, native, PollEvent, type Poller } from '../native.js';
import { Cid, describeCid, PORT_ANY, type VsockAddress, vsockNotation } from './address.js';
import {
  type ListenOptions,
  type ResolvedConnectOptions,
  type ServerOptions,
  startDeadline,
  streamOptionsOf,
} from './options.js';
import {
  type Endpoint,
  type Opener,
  type Opening,
  type SocketSystem,
  VsockSocket,
} from './socket.js';
import type { Acceptor, Listener, Transport } from './transport.js';

/** The system calls of this transport, injected so that their failures can be tested. */
export type VsockSystem = SocketSystem &
  Pick<
    Native,
    | 'vsockSocket'
    | 'vsockBind'
    | 'vsockConnect'
    | 'vsockAccept'
    | 'vsockName'
    | 'vsockSetBufferSize'
    | 'vsockSetConnectTimeout'
    | 'listen'
  >;

const { EAGAIN, EADDRINUSE, ECONNABORTED, EINPROGRESS, EMFILE, ENFILE, ENOBUFS, ENOMEM } =
  constants.errno;
// Out of a resource that others may give back: the connection waits in the kernel meanwhile.
const EXHAUSTED = new Set([-EMFILE, -ENFILE, -ENOBUFS, -ENOMEM]);
const ACCEPT_PAUSE_MS = 100;
const LARGEST_PRIVILEGED_PORT = 1023;
const DEFAULT_BACKLOG = 1024;

function endpoint(cid: number, port: number): Endpoint {
  return { address: describeCid(cid), port, cid };
}

function vsockError(
  syscall: string,
  errno: number,
  { cid, port }: Omit<VsockAddress, 'transport'>,
) {
  return systemError(syscall, errno, { address: describeCid(cid), port });
}

function nameOf(system: VsockSystem, fd: number): Endpoint | undefined {
  const name = new Uint32Array(2);
  const [cid, port] = system.vsockName(fd, name) < 0 ? [] : name;
  return cid === undefined || port === undefined ? undefined : endpoint(cid, port);
}

/** Binds to the wanted port; returns 0 or a negative errno. */
function bindLocal(system: VsockSystem, fd: number, localPort: number | 'privileged'): number {
  if (localPort !== 'privileged') return system.vsockBind(fd, Cid.ANY, localPort);
  let result = -EADDRINUSE;
  for (let port = LARGEST_PRIVILEGED_PORT; port > 0 && result === -EADDRINUSE; port--) {
    result = system.vsockBind(fd, Cid.ANY, port);
  }
  return result;
}

/** Makes a socket with its options set; throws a system error, having closed it again. */
function makeSocket(
  system: VsockSystem,
  address: VsockAddress,
  prepare: ReadonlyArray<readonly [syscall: string, call: (fd: number) => number]>,
): number {
  const fd = system.vsockSocket();
  if (fd < 0) throw vsockError('socket', fd, address);
  for (const [syscall, call] of prepare) {
    const result = call(fd);
    if (result < 0) {
      system.close(fd);
      throw vsockError(syscall, result, address);
    }
  }
  return fd;
}

function dial(
  system: VsockSystem,
  address: VsockAddress,
  options: ResolvedConnectOptions,
  opening: Opening,
): () => void {
  const { timeoutMs, bufferBytes, localPort } = options;
  const later = (report: () => void): (() => void) => {
    const timer = setImmediate(report);
    return () => clearImmediate(timer);
  };
  let fd = -1;
  let connecting = 0;
  try {
    fd = makeSocket(system, address, [
      [
        'setsockopt',
        (socket) =>
          bufferBytes === undefined ? 0 : system.vsockSetBufferSize(socket, bufferBytes),
      ],
      [
        'setsockopt',
        // Longer than ours, which says more; without it the kernel would give up after 2 s.
        (socket) => system.vsockSetConnectTimeout(socket, Math.min(timeoutMs + 1000, 2 ** 31 - 1)),
      ],
      ['bind', (socket) => (localPort === undefined ? 0 : bindLocal(system, socket, localPort))],
      [
        'connect',
        (socket) => {
          connecting = system.vsockConnect(socket, address.cid, address.port);
          return connecting === -EINPROGRESS ? 0 : connecting;
        },
      ],
    ]);
  } catch (error) {
    return later(() => opening.failed(error as Error));
  }

  const stops: Array<() => void> = [];
  const release = (): void => {
    for (const stop of stops.splice(0)) stop();
  };
  const fail = (error: Error): void => {
    release();
    system.close(fd);
    opening.failed(error);
  };
  const finish = (): void => {
    const error = system.socketError(fd);
    if (error < 0) {
      fail(vsockError('connect', error, address));
      return;
    }
    release();
    // Asked for now: once one side has shut down, the kernel does not tell any more.
    opening.opened(fd, nameOf(system, fd));
  };

  if (connecting === 0) {
    stops.push(later(finish));
  } else {
    try {
      const poller = new system.Poller(fd, finish);
      stops.push(() => poller.close());
      poller.poll(PollEvent.WRITABLE);
    } catch (error) {
      stops.push(later(() => fail(error as Error)));
    }
  }
  stops.push(
    startDeadline(timeoutMs, () =>
      fail(failure('ERR_CONNECT_TIMEOUT', { address: vsockNotation.describe(address), timeoutMs })),
    ),
  );
  return () => {
    release();
    system.close(fd);
  };
}

class VsockListener implements Listener {
  readonly address: VsockAddress;
  readonly #system: VsockSystem;
  readonly #fd: number;
  readonly #options: ServerOptions;
  readonly #acceptor: Acceptor;
  readonly #local: Endpoint;
  readonly #poller: Poller;
  readonly #peer = new Uint32Array(2);
  #pause: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(
    system: VsockSystem,
    fd: number,
    address: VsockAddress,
    options: ServerOptions,
    acceptor: Acceptor,
  ) {
    this.#system = system;
    this.#fd = fd;
    this.#options = options;
    this.#acceptor = acceptor;
    const local = nameOf(system, fd);
    this.address = { ...address, port: local?.port ?? address.port };
    this.#local = endpoint(this.address.cid, this.address.port);
    this.#poller = new system.Poller(fd, () => this.#accept());
    this.#poller.poll(PollEvent.READABLE);
  }

  close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      clearTimeout(this.#pause);
      this.#poller.close();
      this.#system.close(this.#fd);
    }
    return Promise.resolve();
  }

  ref(): void {
    this.#poller.ref();
  }

  unref(): void {
    this.#poller.unref();
  }

  #accept(): void {
    while (!this.#closed) {
      const fd = this.#system.vsockAccept(this.#fd, this.#peer);
      if (fd >= 0) {
        this.#accepted(fd);
      } else if (EXHAUSTED.has(fd)) {
        this.#poller.poll(0);
        this.#pause = setTimeout(() => this.#poller.poll(PollEvent.READABLE), ACCEPT_PAUSE_MS);
        return;
      } else if (fd === -EAGAIN) {
        return;
      } else if (fd !== -ECONNABORTED) {
        const error = vsockError('accept', fd, this.address);
        void this.close();
        this.#acceptor.failed(error);
      }
    }
  }

  #accepted(fd: number): void {
    const [cid = Cid.ANY, port = PORT_ANY] = this.#peer;
    this.#acceptor.accepted(
      new VsockSocket({
        transport: 'vsock',
        halfClose: true,
        source: fd,
        remote: { transport: 'vsock', cid, port },
        remoteEndpoint: endpoint(cid, port),
        localEndpoint: nameOf(this.#system, fd) ?? this.#local,
        ...streamOptionsOf(this.#options),
        paused: this.#options.pauseOnConnect ?? false,
        system: this.#system,
      }),
    );
  }
}

/** The transport of the kernel's AF_VSOCK, over these system calls. */
export function makeVsockTransport(system: VsockSystem): Transport<VsockAddress> {
  return {
    name: 'vsock',
    notation: vsockNotation,
    halfClose: true,

    connect(address, options) {
      if (address.cid === Cid.ANY || address.port === PORT_ANY) {
        throw failure('ERR_ADDRESS_INVALID', {
          value: `vsock:${vsockNotation.format(address)}`,
          why: '"any" is for listening; name one CID and one port to connect to',
        });
      }
      const open: Opener = (opening) => dial(system, address, options, opening);
      return new VsockSocket({
        transport: 'vsock',
        halfClose: true,
        source: open,
        remote: address,
        remoteEndpoint: endpoint(address.cid, address.port),
        ...options.stream,
        system,
      });
    },

    async listen(address, options: ServerOptions & ListenOptions, acceptor) {
      const { bufferBytes } = options;
      const fd = makeSocket(system, address, [
        [
          'setsockopt',
          (socket) =>
            bufferBytes === undefined ? 0 : system.vsockSetBufferSize(socket, bufferBytes),
        ],
        ['bind', (socket) => system.vsockBind(socket, address.cid, address.port)],
        ['listen', (socket) => system.listen(socket, options.backlog ?? DEFAULT_BACKLOG)],
      ]);
      return new VsockListener(system, fd, address, options, acceptor);
    },
  };
}

/** The transport of the kernel's AF_VSOCK. */
export const vsockTransport = makeVsockTransport(native);

/**
 * This machine's own context identifier, or `undefined` where the kernel has no vsock device (in a
 * container /dev/vsock may be hidden although connections work).
 */
export function localCid(): number | undefined {
  const cid = native.vsockLocalCid();
  return cid < 0 || cid === Cid.ANY ? undefined : cid;
}

/**
 * Whether this kernel has the vsock_loopback transport, so that `vsock:local:PORT` leads back here.
 *
 * Found out by binding: without that transport a connection to CID 1 would go to the host.
 */
export function hasVsockLoopback(): boolean {
  const fd = native.vsockSocket();
  if (fd < 0) return false;
  const result = native.vsockBind(fd, Cid.LOCAL, PORT_ANY);
  native.close(fd);
  return result === 0;
}
