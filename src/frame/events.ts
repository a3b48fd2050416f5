import { failure } from '../errors.js';

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

const UINT = 0;
const BYTES = 2;
const COUNTS = 9;

let at = 0;

function readHead(bytes: Uint8Array, end: number, major: number): number {
  const first = at < end ? (bytes[at] as number) : 0xff;
  const info = first & 0x1f;
  const width = info < 24 ? 0 : 1 << (info - 24);
  if (first >> 5 !== major || info > 27 || at + width >= end + (width === 0 ? 1 : 0)) {
    throw failure('ERR_FRAME_MALFORMED', { why: `EVENTS has an unexpected item at byte ${at}` });
  }
  let value = width === 0 ? info : 0;
  for (let i = 1; i <= width; i++) value = value * 256 + (bytes[at + i] as number);
  at += 1 + width;
  return value;
}

/** Reads the body of an EVENTS frame in `bytes[start, end)`. The result's bytes alias them. */
export function parseEvents(bytes: Uint8Array, start: number, end: number): Events {
  at = start;
  if (readHead(bytes, end, 4) !== COUNTS + 1) {
    throw failure('ERR_FRAME_MALFORMED', { why: 'EVENTS is not an array of 10 items' });
  }
  const part = readHead(bytes, end, UINT);
  const records = readHead(bytes, end, UINT);
  const sequence = readHead(bytes, end, UINT);
  const position = readHead(bytes, end, UINT);
  const written = readHead(bytes, end, UINT);
  const lost = readHead(bytes, end, UINT);
  const dropped = readHead(bytes, end, UINT);
  const timeNs = readHead(bytes, end, UINT);
  const ended = readHead(bytes, end, UINT);
  const length = readHead(bytes, end, BYTES);
  if (length !== end - at) {
    throw failure('ERR_FRAME_MALFORMED', {
      why: `EVENTS announces ${length} bytes of records and has ${end - at}`,
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
    bytes: bytes.subarray(at, end),
  };
}
