import { failure } from '../errors.js';
import { Major, place, readHead } from './items.js';

/** The sources of a stream. PROTOCOL.md defines the numbers. */
export const StreamSource = { RING: 0, PERF: 1, FILE: 2, USER_RING: 3 } as const;

/** The body of an EVENTS frame: a stretch of records of one part of a stream, with counters. */
export interface Events {
  /** The index of the part, which is the index among the handles of the subscription. */
  part: number;
  /** The number of records in `bytes`, without discarded records and without the kernel's own. */
  records: number;
  /** The number of records of the part that were sent before. */
  sequence: number;
  /** The bytes of the part that were read before, including discarded records and padding. */
  position: number;
  /** The bytes of the part that the kernel had written when the frame was made. */
  written: number;
  /**
   * The number of records of the part for which the kernel had no room, as far as it has reported.
   */
  lost: number;
  /**
   * The number of records of the part that were dropped because the guest's policy limits the rate.
   */
  dropped: number;
  /** CLOCK_MONOTONIC of the guest when the frame was made, in nanoseconds. */
  timeNs: number;
  /** 0, or, when nothing more will follow, 1 plus the errno that ended the stream. */
  end: number;
  /** The records with their layout in the kernel's buffer. */
  bytes: Uint8Array;
}

const { UINT, BYTES, ARRAY } = Major;
const COUNTS = 9;

/**
 * Reads the body of an EVENTS frame in `bytes[start, end)`. The bytes of the result alias `bytes`.
 */
export function parseEvents(bytes: Uint8Array, start: number, end: number): Events {
  const head = (major: number) => readHead(bytes, end, major, 'EVENTS');
  place.at = start;
  if (head(ARRAY) !== COUNTS + 1) {
    throw failure('ERR_FRAME_MALFORMED', { why: 'EVENTS is not an array of 10 items' });
  }
  const part = head(UINT);
  const records = head(UINT);
  const sequence = head(UINT);
  const position = head(UINT);
  const written = head(UINT);
  const lost = head(UINT);
  const dropped = head(UINT);
  const timeNs = head(UINT);
  const ended = head(UINT);
  const length = head(BYTES);
  const left = end - place.at;
  if (length !== left) {
    throw failure('ERR_FRAME_MALFORMED', {
      why: `EVENTS announces ${length} bytes of records and has ${left}`,
    });
  }
  return {
    part,
    records,
    sequence,
    position,
    written,
    lost,
    dropped,
    timeNs,
    end: ended,
    bytes: bytes.subarray(place.at, end),
  };
}
