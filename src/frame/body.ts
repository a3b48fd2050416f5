import { Decoder } from '../cbor.js';
import { failure } from '../errors.js';

const decoder = new Decoder({ useRecords: false, mapsAsObjects: true });

/** How deep arrays and maps may lie within each other. The details of an ERROR lie deepest. */
const MAX_DEPTH = 8;

/**
 * Decodes the body of a frame that is not frequent. The value may alias `bytes`.
 *
 * @throws ERR_FRAME_MALFORMED when the body is not one item of the CBOR that PROTOCOL.md allows
 */
export function decodeBody(bytes: Uint8Array): unknown {
  const end = endOf(bytes, 0, MAX_DEPTH);
  if (end !== bytes.length) throw malformed(`it has ${bytes.length - end} bytes behind its item`);
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw malformed(String(cause), cause);
  }
}

function malformed(what: string, cause?: unknown): Error {
  return failure('ERR_FRAME_MALFORMED', { why: `its body is no CBOR: ${what}` }, cause);
}

/**
 * Returns where the item at `at` ends. The library also takes tags and items without a length. With
 * these a few bytes can become a value of any size, and they can have code of the library run that
 * nobody needs here.
 */
function endOf(bytes: Uint8Array, at: number, depth: number): number {
  const first = bytes[at];
  if (first === undefined) throw malformed(`it ends at byte ${at}, within an item`);
  const major = first >> 5;
  const info = first & 0x1f;
  if (info > 27 || major === 6 || (major === 7 && (info < 20 || info === 24))) {
    throw malformed(`byte ${at} begins an item of another kind (0x${first.toString(16)})`);
  }
  let next = at + 1;
  let length = info;
  if (info > 23) {
    const width = 1 << (info - 24);
    if (at + width >= bytes.length) throw malformed(`it ends within the number at byte ${at}`);
    length = 0;
    for (; next <= at + width; next++) length = length * 256 + (bytes[next] as number);
  }
  if (major < 2 || major === 7) return next;
  const left = bytes.length - next;
  const least = major === 5 ? 2 * length : length;
  if (least > left) throw malformed(`the item at byte ${at} has ${least} parts and ${left} bytes`);
  if (major < 4) return next + length;
  if (depth === 0) throw malformed(`the item at byte ${at} lies deeper than ${MAX_DEPTH} others`);
  for (let item = 0; item < least; item++) next = endOf(bytes, next, depth - 1);
  return next;
}
