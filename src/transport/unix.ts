import net from 'node:net';
import { type UnixAddress, unixNotation } from './address.js';
import {
  boundConnect,
  dialled,
  listenWithNode,
  nodeStreamOptions,
  removeStaleSocket,
  withInfo,
} from './node-socket.js';
import { refuseOption, type Transport } from './transport.js';

const TUNING_CURE = 'Leave it out: the kernel sizes the buffers of Unix sockets.';
const PORT_CURE = 'Leave it out: Unix sockets have no ports; protect the socket file instead.';

/** The transport of Unix stream sockets, over node:net. */
export const unixTransport: Transport<UnixAddress> = {
  name: 'unix',
  notation: unixNotation,
  halfClose: true,

  connect(address, options) {
    refuseOption('unix', 'bufferBytes', options.bufferBytes, TUNING_CURE);
    refuseOption('unix', 'localPort', options.localPort, PORT_CURE);
    const socket = net.connect({ path: address.path, ...nodeStreamOptions(options.stream) });
    boundConnect(socket, address, options.timeoutMs);
    return dialled(withInfo(socket, 'unix', address));
  },

  async listen(address, options, acceptor) {
    refuseOption('unix', 'bufferBytes', options.bufferBytes, TUNING_CURE);
    await removeStaleSocket(address.path);
    return listenWithNode({
      where: { path: address.path },
      options,
      acceptor,
      adopt: (socket) => withInfo(socket, 'unix', undefined),
      bound: () => address,
    });
  },
};
