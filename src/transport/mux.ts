import { lchown, lstat } from 'node:fs/promises';
import net from 'node:net';
import { failure, systemError } from '../errors.js';
import { native } from '../native.js';
import {
  type DeviceAddress,
  type MuxAddress,
  muxNotation,
  type Notation,
  unixNotation,
} from './address.js';
import { descriptorOf } from './detach.js';
import { handshake } from './handshake.js';
import { listenWithNode, removeStaleSocket } from './node-socket.js';
import { type ResolvedConnectOptions, startDeadline, streamOptionsOf } from './options.js';
import { type Endpoint, type Opening, VsockSocket } from './socket.js';
import { refuseOption, type Transport } from './transport.js';

type PathAddress = MuxAddress | DeviceAddress;

const TUNING_CURE = 'Leave it out: the multiplexer sizes the buffers.';
const PORT_CURE = 'Leave it out: the multiplexer chooses the port that the guest sees.';
const HOST = 'host(2)';

/**
 * Moves the descriptor of a node:net socket into a socket of ours, so that the bytes of the
 * handshake and of the stream can be told apart to the byte.
 */
function takeDescriptor(socket: net.Socket): number {
  const fd = native.duplicate(descriptorOf(socket) ?? -1);
  // Closes the original only: nothing is shut down.
  socket.destroy();
  return fd;
}

function dial(
  where: string,
  address: PathAddress,
  options: ResolvedConnectOptions,
  opening: Opening,
): () => void {
  const raw = net.connect({ path: address.path });
  // Nothing may be read before the descriptor has moved.
  raw.pause();
  let fd = -1;
  let stopHandshake = (): void => {};
  const fail = (error: Error): void => {
    stopDeadline();
    raw.destroy();
    if (fd >= 0) native.close(fd);
    opening.failed(error);
  };
  const stopDeadline = startDeadline(options.timeoutMs, () =>
    fail(failure('ERR_CONNECT_TIMEOUT', { address: where, timeoutMs: options.timeoutMs })),
  );
  raw.once('error', fail);
  raw.once('connect', () => {
    stopDeadline();
    fd = takeDescriptor(raw);
    if (fd < 0) {
      fail(systemError('fcntl', fd, { address: where }));
      return;
    }
    stopHandshake = handshake({
      system: native,
      fd,
      port: address.port,
      address: where,
      timeoutMs: options.handshakeTimeoutMs,
      done(error) {
        if (error !== undefined) fail(error);
        else opening.opened(fd, { address: HOST });
      },
    });
  });
  return () => {
    stopDeadline();
    stopHandshake();
    raw.destroy();
    if (fd >= 0) native.close(fd);
  };
}

/**
 * A transport that leads through a multiplexer's sockets.
 *
 * @param halfClose whether the multiplexer passes a half-close on, both ways
 */
export function makeMuxTransport<A extends PathAddress>(
  name: A['transport'],
  notation: Notation<A>,
  halfClose: boolean,
): Transport<A> {
  return {
    name,
    notation,
    halfClose,

    connect(address, options) {
      refuseOption(name, 'bufferBytes', options.bufferBytes, TUNING_CURE);
      refuseOption(name, 'localPort', options.localPort, PORT_CURE);
      const where = notation.describe(address);
      return new VsockSocket({
        transport: name,
        halfClose,
        source: (opening) => dial(where, address, options, opening),
        remote: address,
        remoteEndpoint: { address: `vm(${address.path})`, port: address.port },
        ...options.stream,
      });
    },

    async listen(address, options, acceptor) {
      refuseOption(name, 'bufferBytes', options.bufferBytes, TUNING_CURE);
      const path = `${address.path}_${address.port}`;
      unixNotation.parse(path, (why) => {
        throw failure('ERR_ADDRESS_INVALID', { value: `unix:${path}`, why });
      });
      await removeStaleSocket(path);
      const localEndpoint: Endpoint = { address: HOST, port: address.port };
      const listener = await listenWithNode({
        where: { path },
        options: { ...options, pauseOnConnect: true },
        acceptor,
        adopt(socket) {
          const fd = takeDescriptor(socket);
          // Out of descriptors: the guest sees its connection closed.
          if (fd < 0) return undefined;
          return new VsockSocket({
            transport: name,
            halfClose,
            source: fd,
            remoteEndpoint: { address: `vm(${address.path})` },
            localEndpoint,
            ...streamOptionsOf(options),
            paused: options.pauseOnConnect ?? false,
          });
        },
        bound: () => address,
      });
      await giveToOwner(path, address.path);
      return listener;
    },
  };
}

/**
 * Gives a socket to the user of the multiplexer, who is to connect to it: one that root starts may
 * be another user by now.
 */
async function giveToOwner(socket: string, multiplexer: string): Promise<void> {
  if (process.geteuid?.() !== 0) return;
  const owner = await lstat(multiplexer).catch(() => undefined);
  if (owner?.isSocket() && owner.uid !== 0) await lchown(socket, owner.uid, owner.gid);
}

/**
 * The transport of "hybrid" multiplexers.
 *
 * It has no half-close: Firecracker and vhost-device-vsock take a half-close of ours as the end of
 * both directions and do not show us the guest's. vhost-device-vsock 0.3.0 can stall for ever when
 * both directions of a connection are full at once, whoever the client is: a protocol for this
 * transport should not send without bound while it is answered. It drops packets of more than 32
 * KiB of guests with Linux 6.12.68, 6.17 and newer, whoever the sender is.
 */
export const muxTransport: Transport<MuxAddress> = makeMuxTransport(
  'vsock-mux',
  muxNotation,
  false,
);

/**
 * Says what may have lost bytes on the way to an address, or nothing where bytes are not lost.
 *
 * Multiplexers are programs of others, and their answers do not tell which program it is.
 */
export function suspicionOf(address: string): string | undefined {
  if (!address.startsWith('vsock-mux:')) return undefined;
  return 'A vsock multiplexer that is older than the guest’s kernel may have lost bytes: vhost-device-vsock 0.3.0 drops packets of more than 32 KiB, which Linux sends in several parts since 6.12.68 and 6.17';
}
