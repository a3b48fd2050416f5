import { failure } from '../errors.js';

/** The major types of CBOR that occur in frames of a fixed shape. */
export const Major = { UINT: 0x00, NEGATIVE: 0x20, BYTES: 0x40, ARRAY: 0x80 } as const;

/**
 * The place in the body that is being read: the offset of the next item. One serves every body,
 * because a body is read in one go, and an object for each would cost as much as the reading.
 */
export const place = { at: 0 };

/** Returns whether the next item of a body that ends at `end` has a major type. */
export function isNext(bytes: Uint8Array, end: number, major: number): boolean {
  return place.at < end && ((bytes[place.at] as number) & 0xe0) === major;
}

/**
 * Reads the head of the next item of a body that ends at `end`. Returns the value of a number, or
 * the length of any other item.
 *
 * @param what the name of the body in errors, such as `a result`
 * @throws ERR_FRAME_MALFORMED when the item has another major type, or ends too early
 */
export function readHead(bytes: Uint8Array, end: number, major: number, what: string): number {
  const { at } = place;
  if (!isNext(bytes, end, major)) {
    const why = `${what} has an unexpected item at byte ${at}`;
    throw failure('ERR_FRAME_MALFORMED', { why });
  }
  const info = (bytes[at] as number) & 0x1f;
  if (info < 24) {
    place.at = at + 1;
    return info;
  }
  return readLongHead(bytes, end, info, what);
}

function readLongHead(bytes: Uint8Array, end: number, info: number, what: string): number {
  const { at } = place;
  const width = 1 << (info - 24);
  if (info > 27 || at + width >= end) {
    const why = `${what} has a bad length at byte ${at}`;
    throw failure('ERR_FRAME_MALFORMED', { why });
  }
  let value = 0;
  for (let i = 1; i <= width; i++) value = value * 256 + (bytes[at + i] as number);
  place.at = at + 1 + width;
  return value;
}
