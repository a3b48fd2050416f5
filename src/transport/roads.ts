import { deviceRoad } from './device-streams.js';
import { muxRoad } from './mux.js';
import { registerRoad } from './road.js';
import { tcpRoad } from './tcp.js';
import { unixRoad } from './unix.js';
import { vsockRoad } from './vsock.js';

registerRoad(vsockRoad);
registerRoad(muxRoad);
registerRoad(deviceRoad);
registerRoad(tcpRoad);
registerRoad(unixRoad);
