import Benchmark from 'benchmark';
import { Decoder } from 'cbor-x/decode';
import type { Call } from '../../src/call.js';
import {
  FrameType,
  HEADER_BYTES,
  messageFrame,
  outputLengths,
  parseReply,
  putCallFrame,
} from '../../src/frame/index.js';
import { loadCall } from '../programs/figure2.js';
import { lookupCall, replyFrame } from './lookup.js';
import type { Codec } from './protocol.js';

/**
 * Measures a codec with benchmark.js, which suits work that only the processor does. Each sample
 * is the rate of one of its cycles, in operations per second.
 */
export function measureCodec(options: { codec: Codec; samples: number }): Record<string, number[]> {
  return Object.fromEntries(
    Object.entries(operations[options.codec]()).map(([metric, operation]) => [
      metric,
      rates(metric, operation, options.samples),
    ]),
  );
}

type Operations = Readonly<Record<string, () => unknown>>;

const operations: Readonly<Record<Codec, () => Operations>> = {
  'fixed-shape': () => {
    const target = new Uint8Array(64 * 1024);
    const { lookup, load, reply, lengths } = subjects();
    return {
      'encode MAP_LOOKUP_ELEM': () => putCallFrame(target, 1, lookup),
      'encode PROG_LOAD': () => putCallFrame(target, 1, load),
      'decode a reply': () => parseReply(reply, HEADER_BYTES, reply.byteLength, lengths, false),
    };
  },
  'cbor-x': () => {
    const decoder = new Decoder({ useRecords: false });
    const { lookup, load, reply } = subjects();
    return {
      'encode MAP_LOOKUP_ELEM': () => encodeGenerically(lookup),
      'encode PROG_LOAD': () => encodeGenerically(load),
      'decode a reply': () => decoder.decode(reply.subarray(HEADER_BYTES)),
    };
  },
};

/** The frame of a call by cbor-x: the same bytes that the fixed shape has. */
export function encodeGenerically(call: Call): Uint8Array {
  const buffers = call.buffers.map((buffer) =>
    typeof buffer === 'number' || buffer instanceof Uint8Array ? buffer : [buffer.inout],
  );
  const body = [call.command, call.args, call.result, buffers, call.relocations];
  return messageFrame(FrameType.CALL, 1, body);
}

function subjects() {
  const lookup = lookupCall();
  return { lookup, load: loadCall(1), reply: replyFrame(lookup), lengths: outputLengths(lookup) };
}

/**
 * Runs cycles until there are enough; benchmark.js finds by itself how many operations make a
 * cycle long enough to be timed.
 */
function rates(metric: string, operation: () => unknown, samples: number): number[] {
  const benchmark = new Benchmark(metric, operation, { minSamples: samples, maxTime: 0 });
  benchmark.run();
  if (benchmark.error !== undefined) throw benchmark.error;
  return benchmark.stats.sample.slice(0, samples).map((seconds) => 1 / seconds);
}
