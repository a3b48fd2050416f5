/* What a process that measures does on request. */
import { VsockDevice } from '../../src/transport/index.js';
import { measureBulk } from './bulk.js';
import { measureCodec } from './codec.js';
import { measureCommands } from './commands.js';
import { measureCrowd, measureOpening } from './crowd.js';
import { measureEcho } from './echo.js';
import { follow, followed, leave } from './events.js';
import { measureLoads } from './load.js';
import { measureLookups } from './lookup.js';
import { measureElements, measureEntries } from './maps.js';
import { profileLookups } from './profile.js';
import { attach, detach } from './proof.js';
import type { ClientAnswer, ClientRequest, MeasureRequest } from './protocol.js';

/** Executes a request. */
export async function answer(request: ClientRequest): Promise<ClientAnswer> {
  if (request.task === 'device') {
    const { socket, path, guestCid } = request;
    await VsockDevice.open({ socket, path, guestCid, multiplexer: true });
    return { samples: {} };
  }
  if (request.task === 'follow') {
    await follow(request);
    return { samples: {} };
  }
  if (request.task === 'followed') return { followed: await followed() };
  if (request.task === 'leave') {
    leave();
    return { samples: {} };
  }
  if (request.task === 'attach') {
    await attach(request.address);
    return { samples: {} };
  }
  if (request.task === 'detach') {
    await detach();
    return { samples: {} };
  }
  if (request.task !== 'profile') return { samples: await measure(request) };
  return { profile: await profileLookups(request.address, request.calls) };
}

function measure(request: MeasureRequest): Promise<Record<string, number[]>> {
  if (request.task === 'commands') return measureCommands(request);
  if (request.task === 'lookup') return measureLookups(request);
  if (request.task === 'echo') return measureEcho(request);
  if (request.task === 'elements') return measureElements(request);
  if (request.task === 'entries') return measureEntries(request);
  if (request.task === 'load') return measureLoads(request);
  if (request.task === 'crowd') return measureCrowd(request);
  if (request.task === 'opening') return measureOpening(request);
  if (request.task === 'bulk') return measureBulk(request);
  return Promise.resolve(measureCodec(request));
}
