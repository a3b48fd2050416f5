import { encode, rows } from '../../src/bpf/index.js';
import type { Call } from '../../src/call.js';
import {
  callFrameBound,
  FrameType,
  messageFrame,
  outputLengths,
  putCallFrame,
} from '../../src/frame/index.js';
import type { Exchange } from '../limit.js';
import { lookupMetric } from '../metrics.js';
import type { Counts } from './protocol.js';
import { lookupKey, lookupMap, sessionWith } from './sessions.js';

/** Times map look-ups through a session, from values to values: encoding and decoding included. */
export async function measureLookups(
  options: { address: string } & Counts,
): Promise<Record<string, number[]>> {
  const { session, map } = await sessionWith(options.address);
  const samples: number[] = [];
  for (let operation = 0; operation < options.warmup + options.samples; operation++) {
    const start = performance.now();
    await session.bpf(rows.MAP_LOOKUP_ELEM, { map_fd: map, key: lookupKey });
    const elapsedNs = (performance.now() - start) * 1e6;
    if (operation >= options.warmup) samples.push(elapsedNs);
  }
  return { [lookupMetric]: samples };
}

/** The call that {@link measureLookups} times, for a map behind handle 1. */
export function lookupCall(): Call {
  const specs = { mapSpec: () => lookupMap, possibleCpus: 1 };
  return encode(rows.MAP_LOOKUP_ELEM, { map_fd: { handle: 1 }, key: lookupKey }, specs).call;
}

/** How many bytes a look-up puts on the wire in each direction, headers included. */
export function lookupExchange(): Exchange {
  return exchangeOf(lookupCall());
}

/** The bytes of a call's frame, and of its answer's. */
export function exchangeOf(call: Call): Exchange {
  return {
    requestBytes: putCallFrame(new Uint8Array(callFrameBound(call)), 1, call),
    replyBytes: replyFrame(call).byteLength,
  };
}

/** The frame that answers a call whose every output is full. */
export function replyFrame(call: Call): Uint8Array {
  // No byte of it is zero, because an answer may leave out trailing zeros.
  const outputs = outputLengths(call).map((length) => new Uint8Array(length).fill(0x5a));
  return messageFrame(FrameType.RESULT, 1, [0, 0, outputs]);
}
