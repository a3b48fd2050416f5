import { muxRoad } from './mux.js';
import { registerRoad } from './road.js';
import { tcpRoad } from './tcp.js';
import { unixRoad } from './unix.js';
import { vsockRoad } from './vsock.js';

registerRoad(vsockRoad);
registerRoad(muxRoad);
registerRoad(tcpRoad);
registerRoad(unixRoad);
