import { viewOf } from '../codec/index.js';
import { failure } from '../errors.js';

/*
 * Records as they lie in the kernel's buffers, taken apart. The functions call back instead of
 * yielding: they are run for every record.
 */

/** Called for each record. The bytes alias the buffer that is taken apart. */
export type RecordCallback = (record: Uint8Array) => void;

const RING_HEADER_BYTES = 8;
const DISCARDED = 0x40000000;
const BUSY = 0x80000000;

/**
 * The records of a BPF ring buffer (kernel/bpf/ringbuf.c): 8 bytes of header, of which the first
 * word is the length and two bits, and the data, padded to 8 bytes. Discarded ones are left out.
 */
export function eachRingRecord(bytes: Uint8Array, each: RecordCallback): void {
  const view = viewOf(bytes);
  let at = 0;
  while (at < bytes.length) {
    const header = at + RING_HEADER_BYTES <= bytes.length ? view.getUint32(at, true) : BUSY;
    const length = header & ~DISCARDED;
    const start = at + RING_HEADER_BYTES;
    if (length < 0 || start + length > bytes.length) throw torn('ring buffer', at, bytes.length);
    if ((header & DISCARDED) === 0) each(bytes.subarray(start, start + length));
    at = start + ((length + 7) & ~7);
  }
}

const PERF_RECORD_SAMPLE = 9;
const PERF_HEADER_BYTES = 8;

/**
 * The raw data of the samples of a perf buffer that have PERF_SAMPLE_RAW and nothing else: the
 * header, 4 bytes of length, and the data, which the kernel has padded. Other records are left out.
 */
export function eachPerfRecord(bytes: Uint8Array, each: RecordCallback): void {
  const view = viewOf(bytes);
  let at = 0;
  while (at < bytes.length) {
    const size = at + PERF_HEADER_BYTES <= bytes.length ? view.getUint16(at + 6, true) : 0;
    if (size < PERF_HEADER_BYTES || at + size > bytes.length) {
      throw torn('perf buffer', at, bytes.length);
    }
    if (view.getUint32(at, true) === PERF_RECORD_SAMPLE) {
      const start = at + PERF_HEADER_BYTES + 4;
      if (start > at + size) throw torn('perf buffer', at, bytes.length);
      const length = view.getUint32(start - 4, true);
      if (start + length > at + size) throw torn('perf buffer', at, bytes.length);
      each(bytes.subarray(start, start + length));
    }
    at += size;
  }
}

function torn(what: string, at: number, length: number): Error {
  return failure('ERR_FRAME_MALFORMED', {
    why: `the record at byte ${at} of ${length} bytes of a ${what} is not whole`,
  });
}
