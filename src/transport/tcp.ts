import net from 'node:net';
import { type TcpAddress, tcpNotation } from './address.js';
import {
  boundConnect,
  dialled,
  listenWithNode,
  nodeStreamOptions,
  withInfo,
} from './node-socket.js';
import { refuseOption, type Transport } from './transport.js';

const TUNING_CURE = 'Leave it out: TCP sizes its buffers itself.';
const PORT_CURE = 'Use mutual TLS to prove who connects; a TCP source port proves nothing.';

function remoteOf(socket: net.Socket): TcpAddress | undefined {
  const { remoteAddress: host, remotePort: port } = socket;
  return host === undefined || port === undefined ? undefined : { transport: 'tcp', host, port };
}

/** The transport of TCP, over node:net, with Nagle's algorithm off by default. */
export const tcpTransport: Transport<TcpAddress> = {
  name: 'tcp',
  notation: tcpNotation,
  halfClose: true,

  connect(address, options) {
    refuseOption('tcp', 'bufferBytes', options.bufferBytes, TUNING_CURE);
    refuseOption('tcp', 'localPort', options.localPort, PORT_CURE);
    const socket = net.connect({
      host: address.host,
      port: address.port,
      ...options.tcp,
      ...nodeStreamOptions(options.stream),
    });
    boundConnect(socket, address, options.timeoutMs);
    return dialled(withInfo(socket, 'tcp', address));
  },

  listen(address, options, acceptor) {
    refuseOption('tcp', 'bufferBytes', options.bufferBytes, TUNING_CURE);
    return listenWithNode({
      where: { host: address.host, port: address.port },
      options,
      acceptor,
      adopt: (socket) => withInfo(socket, 'tcp', remoteOf(socket)),
      bound(server) {
        const bound = server.address();
        return typeof bound === 'object' && bound !== null
          ? { transport: 'tcp', host: bound.address, port: bound.port }
          : address;
      },
    });
  },
};
