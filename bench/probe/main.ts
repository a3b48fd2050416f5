/* The process that measures: nothing else runs in it, and it may be kept on one CPU. */
import { measureCodec } from './codec.js';
import { measureCommands } from './commands.js';
import { measureCrowd, measureOpening } from './crowd.js';
import { measureEcho } from './echo.js';
import { measureLoads } from './load.js';
import { measureLookups } from './lookup.js';
import { measureElements, measureEntries } from './maps.js';
import { profileLookups } from './profile.js';
import type { MeasureRequest, ProbeAnswer, ProfileRequest } from './protocol.js';

function measure(request: MeasureRequest): Promise<Record<string, number[]>> {
  if (request.task === 'commands') return measureCommands(request);
  if (request.task === 'lookup') return measureLookups(request);
  if (request.task === 'echo') return measureEcho(request);
  if (request.task === 'elements') return measureElements(request);
  if (request.task === 'entries') return measureEntries(request);
  if (request.task === 'load') return measureLoads(request);
  if (request.task === 'crowd') return measureCrowd(request);
  if (request.task === 'opening') return measureOpening(request);
  return Promise.resolve(measureCodec(request));
}

async function answer(request: MeasureRequest | ProfileRequest): Promise<ProbeAnswer> {
  try {
    if (request.task !== 'profile') return { samples: await measure(request) };
    return { profile: await profileLookups(request.address, request.calls) };
  } catch (error) {
    const { message, stack = '' } = error as Error;
    return { error: { message, stack } };
  }
}

process.on('message', (request: MeasureRequest | ProfileRequest) => {
  void answer(request).then((reply) => process.send?.(reply));
});
process.on('disconnect', () => process.exit());
