import type { Call, CallBuffer, ChainedCall, ChainReply, Copied, Reply } from '../call.js';
import { failure } from '../errors.js';
import { allocateBytes } from '../shared-block.js';
import { FrameType, HEADER_BYTES, putHeader } from './header.js';
import { isNext, Major, place, readHead } from './items.js';
import { parseError } from './messages.js';

/*
 * CALL and RESULT are the frames that matter for latency. Their shape is fixed, so this module
 * writes and reads them directly. The bytes equal those of cbor-x for the same values.
 */

const { UINT, NEGATIVE, BYTES, ARRAY } = Major;
const HEAD_BYTES = 9;
/** The name of a reply's body in errors. */
const what = 'a result';

/** Up to this size, a loop in JIT code copies faster than a call of a copy function. */
const LOOP_BYTES = 48;

function putHead(target: Uint8Array, at: number, major: number, value: number): number {
  if (value < 24) {
    target[at] = major | value;
    return at + 1;
  }
  if (value < 0x100) {
    target[at] = major | 24;
    target[at + 1] = value;
    return at + 2;
  }
  if (value < 0x10000) {
    target[at] = major | 25;
    target[at + 1] = value >>> 8;
    target[at + 2] = value;
    return at + 3;
  }
  if (value < 0x100000000) {
    target[at] = major | 26;
    target[at + 1] = value >>> 24;
    target[at + 2] = value >>> 16;
    target[at + 3] = value >>> 8;
    target[at + 4] = value;
    return at + 5;
  }
  target[at] = major | 27;
  const view = new DataView(target.buffer, target.byteOffset + at + 1, 8);
  view.setBigUint64(0, BigInt(value));
  return at + 9;
}

type AnyBuffer = CallBuffer | Copied;
/** A call by itself, or one of a chain. */
type AnyCall = Omit<Call, 'result' | 'buffers'> & { readonly buffers: readonly AnyBuffer[] };

function headBytes(value: number): number {
  if (value < 24) return 1;
  if (value < 0x100) return 2;
  return value < 0x10000 ? 3 : 5;
}

function bufferBytes(buffer: AnyBuffer): Uint8Array | undefined {
  if (typeof buffer === 'number') return undefined;
  if (buffer instanceof Uint8Array) return buffer;
  return 'inout' in buffer ? buffer.inout : undefined;
}

/** Returns the maximum length of the frame of `call` in bytes, header included. */
export function callFrameBound(call: AnyCall): number {
  let bound = HEADER_BYTES + 6 * HEAD_BYTES + call.relocations.length * 5;
  for (const buffer of call.buffers) {
    bound += 2 * HEAD_BYTES + 1 + (bufferBytes(buffer)?.byteLength ?? 0);
  }
  return bound;
}

function putCallHead(target: Uint8Array, at: number, call: AnyCall, result: number): number {
  target[at] = ARRAY | 5;
  at = putHead(target, at + 1, UINT, call.command);
  at = putHead(target, at, UINT, call.args);
  at = putHead(target, at, UINT, result);
  return putHead(target, at, ARRAY, call.buffers.length);
}

function putBufferHead(target: Uint8Array, at: number, buffer: AnyBuffer): number {
  if (typeof buffer === 'number') return putHead(target, at, UINT, buffer);
  if (buffer instanceof Uint8Array) return putHead(target, at, BYTES, buffer.byteLength);
  if ('inout' in buffer) {
    target[at] = ARRAY | 1;
    return putHead(target, at + 1, BYTES, buffer.inout.byteLength);
  }
  target[at] = ARRAY | 2;
  return putHead(target, putHead(target, at + 1, UINT, buffer.call), UINT, buffer.output);
}

function putRelocations(target: Uint8Array, at: number, relocations: readonly number[]): number {
  at = putHead(target, at, ARRAY, relocations.length);
  for (let i = 0; i < relocations.length; i++) {
    at = putHead(target, at, UINT, relocations[i] as number);
  }
  return at;
}

/**
 * Writes the whole CALL frame into `target`, which has at least {@link callFrameBound} bytes.
 * Returns the frame's length.
 *
 * @param flags {@link FrameFlag} bits
 */
export function putCallFrame(target: Uint8Array, id: number, call: Call, flags = 0): number {
  const at = putCallBody(target, HEADER_BYTES, call, call.result);
  putHeader(target, 0, at - HEADER_BYTES, FrameType.CALL, id, flags);
  return at;
}

function putCallBody(target: Uint8Array, at: number, call: AnyCall, result: number): number {
  at = putCallHead(target, at, call, result);
  for (let i = 0; i < call.buffers.length; i++) {
    const buffer = call.buffers[i] as AnyBuffer;
    at = putBufferHead(target, at, buffer);
    const bytes = bufferBytes(buffer);
    if (bytes !== undefined) {
      const length = bytes.byteLength;
      if (length > LOOP_BYTES) target.set(bytes, at);
      else for (let k = 0; k < length; k++) target[at + k] = bytes[k] as number;
      at += length;
    }
  }
  return putRelocations(target, at, call.relocations);
}

/** Returns the CHAIN frame of some calls. */
export function chainFrame(id: number, calls: readonly ChainedCall[]): Uint8Array {
  const bound = calls.reduce((sum, call) => sum + HEAD_BYTES + callFrameBound(call), HEAD_BYTES);
  const target = new Uint8Array(HEADER_BYTES + bound);
  let at = putHead(target, HEADER_BYTES, ARRAY, calls.length);
  for (const call of calls) {
    // The length of a call is known when the call is there. Most calls have a head of two bytes.
    const start = at + 2;
    const end = putCallBody(target, start, call, 0);
    const length = end - start;
    const body = at + headBytes(length);
    if (body !== start) target.copyWithin(body, start, end);
    putHead(target, at, BYTES, length);
    at = body + length;
  }
  putHeader(target, 0, at - HEADER_BYTES, FrameType.CHAIN, id);
  return target.subarray(0, at);
}

/** Returns the CALL frame as parts that alias the call's buffers, for a large call. */
export function callFrameParts(id: number, call: Call): Uint8Array[] {
  const heads = new Uint8Array(
    HEADER_BYTES + (call.buffers.length + 6) * (HEAD_BYTES + 1) + call.relocations.length * 5,
  );
  const parts: Uint8Array[] = [];
  let start = 0;
  let at = putCallHead(heads, HEADER_BYTES, call, call.result);
  let length = 0;
  const finishHeads = () => {
    parts.push(heads.subarray(start, at));
    start = at;
  };
  for (const buffer of call.buffers) {
    at = putBufferHead(heads, at, buffer);
    const bytes = bufferBytes(buffer);
    if (bytes === undefined || bytes.byteLength === 0) continue;
    finishHeads();
    parts.push(bytes);
    length += bytes.byteLength;
  }
  at = putRelocations(heads, at, call.relocations);
  finishHeads();
  length += at - HEADER_BYTES;
  putHeader(heads, 0, length, FrameType.CALL, id);
  return parts;
}

/**
 * Returns the full length of each output of a call. Outputs travel without their trailing zeros.
 */
export function outputLengths(call: { readonly buffers: readonly AnyBuffer[] }): number[] {
  const lengths: number[] = [];
  for (const buffer of call.buffers) {
    if (typeof buffer === 'number') lengths.push(buffer);
    else if (!(buffer instanceof Uint8Array) && 'inout' in buffer) {
      lengths.push(buffer.inout.byteLength);
    }
  }
  return lengths;
}

/**
 * Reads the body of a RESULT frame in `bytes[start, end)`.
 *
 * @param lengths the full lengths of the outputs, from {@link outputLengths}, or `undefined` to
 *   take the outputs as they travel
 * @param alias whether outputs may alias `bytes`, because nobody else will write there
 */
export function parseReply(
  bytes: Uint8Array,
  start: number,
  end: number,
  lengths: readonly number[] | undefined,
  alias: boolean,
): Reply {
  place.at = start;
  const reply = readReply(bytes, end, lengths, alias);
  if (place.at < end) {
    throw failure('ERR_FRAME_MALFORMED', { why: 'bytes follow the outputs of a result' });
  }
  return reply;
}

/**
 * Reads the body of the RESULT frame that answers a CHAIN, in `bytes[start, end)`.
 *
 * @param lengths for each call of the chain, the full lengths of its outputs
 */
export function parseChainReply(
  bytes: Uint8Array,
  start: number,
  end: number,
  lengths: readonly (readonly number[])[],
  alias: boolean,
): ChainReply {
  place.at = start;
  const count = readHead(bytes, end, ARRAY, what);
  if (count === 0 || count > lengths.length) {
    const why = `a chain of ${lengths.length} calls has ${count} results`;
    throw failure('ERR_FRAME_MALFORMED', { why });
  }
  const replies: Reply[] = [];
  for (let i = 0; i < count; i++) {
    const isLast = i === count - 1;
    if (isLast && bytes[place.at] === (ARRAY | 2)) {
      return { replies, error: parseError(bytes.slice(place.at, end)) };
    }
    const reply = readReply(bytes, end, lengths[i], alias);
    if (reply.result < 0 && !isLast) {
      const why = `a chain goes on after call ${i}, which failed`;
      throw failure('ERR_FRAME_MALFORMED', { why });
    }
    replies.push(reply);
  }
  if (place.at < end) {
    throw failure('ERR_FRAME_MALFORMED', { why: 'bytes follow the results of a chain' });
  }
  return { replies, error: undefined };
}

function readReply(
  bytes: Uint8Array,
  end: number,
  lengths: readonly number[] | undefined,
  alias: boolean,
): Reply {
  if (readHead(bytes, end, ARRAY, what) !== 3) {
    throw failure('ERR_FRAME_MALFORMED', { why: 'a result is not an array of 3 items' });
  }
  const result = isNext(bytes, end, NEGATIVE)
    ? -1 - readHead(bytes, end, NEGATIVE, what)
    : readHead(bytes, end, UINT, what);
  const errno = readHead(bytes, end, UINT, what);
  const count = readHead(bytes, end, ARRAY, what);
  if (lengths !== undefined && count !== lengths.length) {
    throw failure('ERR_FRAME_MALFORMED', {
      why: `a result has ${count} outputs where ${lengths.length} were asked for`,
    });
  }
  if (count > end - place.at) {
    throw failure('ERR_FRAME_MALFORMED', { why: `a result announces ${count} outputs` });
  }
  const outputs: Uint8Array[] = new Array(count);
  for (let i = 0; i < count; i++) {
    const size = readHead(bytes, end, BYTES, what);
    const at = place.at;
    const length = lengths === undefined ? size : (lengths[i] as number);
    if (size > end - place.at || size > length) {
      throw failure('ERR_FRAME_MALFORMED', {
        why: `output ${i} of a result has ${size} bytes where ${Math.min(length, end - place.at)} fit`,
      });
    }
    if (alias && size === length) {
      outputs[i] = bytes.subarray(at, at + size);
    } else {
      const output = allocateBytes(length);
      if (size > LOOP_BYTES) output.set(bytes.subarray(at, at + size));
      else for (let k = 0; k < size; k++) output[k] = bytes[at + k] as number;
      outputs[i] = output;
    }
    place.at += size;
  }
  return { result, errno, outputs };
}
