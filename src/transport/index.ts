/**
 * Stream sockets between a host and its virtual machines, in the shape of node:net.
 *
 * @module waep/transport
 */
export {
  type Address,
  type AddressTypes,
  Cid,
  type DeviceAddress,
  describeAddress,
  formatAddress,
  type MuxAddress,
  type Notation,
  PORT_ANY,
  parseAddress,
  type TcpAddress,
  type TransportName,
  toAddress,
  type UnixAddress,
  type VsockAddress,
} from './address.js';
export {
  type AgentOptions,
  agent,
  type ClientOptions,
  dispatcher,
  type UndiciConnector,
  webSocketOptions,
} from './clients.js';
export { connect, createConnection } from './connect.js';
export { type DetachedStream, detach, detachStream } from './detach.js';
export { VsockDevice, type VsockDeviceEvents, type VsockDeviceOptions } from './device.js';
export type {
  ConnectOptions,
  ListenOptions,
  OnRead,
  ServerOptions,
  StreamOptions,
  TcpOptions,
} from './options.js';
export {
  type ConnectionTarget,
  createServer,
  type DropData,
  Server,
  type ServerEvents,
} from './server.js';
export {
  type Detached,
  type Endpoint,
  type Opener,
  type Opening,
  type Socket,
  type SocketInfo,
  type SocketSystem,
  VsockSocket,
  type VsockSocketOptions,
} from './socket.js';
export {
  type Acceptor,
  type Listener,
  registerTransport,
  type Transport,
  transportNames,
} from './transport.js';
export { hasVsockLoopback, localCid } from './vsock.js';
