import { failure } from '../errors.js';
import { ItemReader, Major } from './items.js';

/** What a stream reads from. PROTOCOL.md numbers them so. */
export const StreamSource = { RING: 0, PERF: 1, FILE: 2, USER_RING: 3 } as const;

/** The body of an EVENTS frame: a stretch of records of one part of a stream, and counts. */
export interface Events {
  /** Which of the handles that the stream was subscribed with. */
  part: number;
  /** Records in `bytes`, without those that were discarded, and the kernel's own. */
  records: number;
  /** Records of the part that were sent before. */
  sequence: number;
  /** Bytes of the part that were read before, discarded records and padding included. */
  position: number;
  /** Bytes of the part that were written by the time. */
  written: number;
  /** Records of the part that the kernel had no room for, as far as it has told. */
  lost: number;
  /** Records of the part that were dropped because the guest's policy bounds the rate. */
  dropped: number;
  /** CLOCK_MONOTONIC of the guest when the frame was made, in nanoseconds. */
  timeNs: number;
  /** 0; or when nothing more will follow, 1 more than the errno that ended it. */
  end: number;
  /** Records as they lie in the kernel's buffer. */
  bytes: Uint8Array;
}

const { UINT, BYTES, ARRAY } = Major;
const COUNTS = 9;

/** Reads the body of an EVENTS frame in `bytes[start, end)`. The result's bytes alias them. */
export function parseEvents(bytes: Uint8Array, start: number, end: number): Events {
  const items = new ItemReader(bytes, start, end, 'EVENTS');
  if (items.head(ARRAY) !== COUNTS + 1) {
    throw failure('ERR_FRAME_MALFORMED', { why: 'EVENTS is not an array of 10 items' });
  }
  const part = items.head(UINT);
  const records = items.head(UINT);
  const sequence = items.head(UINT);
  const position = items.head(UINT);
  const written = items.head(UINT);
  const lost = items.head(UINT);
  const dropped = items.head(UINT);
  const timeNs = items.head(UINT);
  const ended = items.head(UINT);
  const length = items.head(BYTES);
  if (length !== items.left) {
    throw failure('ERR_FRAME_MALFORMED', {
      why: `EVENTS announces ${length} bytes of records and has ${items.left}`,
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
    bytes: bytes.subarray(items.at, end),
  };
}
