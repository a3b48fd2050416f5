import { deviceTransport } from './device-streams.js';
import { muxTransport } from './mux.js';
import { tcpTransport } from './tcp.js';
import { registerTransport } from './transport.js';
import { unixTransport } from './unix.js';
import { vsockTransport } from './vsock.js';

registerTransport(vsockTransport);
registerTransport(muxTransport);
registerTransport(deviceTransport);
registerTransport(tcpTransport);
registerTransport(unixTransport);
