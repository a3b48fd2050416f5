/* Valid inputs for core/events.cc: contents of buffers, and requests of a client. */
import { FrameType, messageFrame, StreamSource } from '../../../src/frame/index.js';

const Handle = { RING: 1, PERF: 2, USER_RING: 3, FILE: 4 } as const;
/** Bits of the options. */
const NEVER_READS = 1;
const SMALL_SOCKET = 2;
const RECONNECTS = 4;
const BUSY = 0x80000000;
const DISCARDED = 0x40000000;

const words = (...values: bigint[]) => Buffer.from(BigUint64Array.from(values).buffer);

/** Returns the records of a ring buffer, from their lengths with the bits of their headers. */
function ring(start: bigint, ...lengths: number[]): Buffer {
  const records = lengths.map((header) => {
    const length = header & ~(BUSY | DISCARDED);
    const record = Buffer.alloc(8 + ((length + 7) & ~7), 0x61);
    record.writeUInt32LE(header >>> 0);
    return record;
  });
  const bytes = Buffer.concat(records);
  return Buffer.concat([words(start, start + BigInt(bytes.length)), bytes]);
}

/** Returns the records of a perf buffer: a sample of each length, and a record of lost ones. */
function perf(start: bigint, ...lengths: number[]): Buffer {
  const lost = Buffer.alloc(24);
  lost.writeUInt32LE(2);
  lost.writeUInt16LE(24, 6);
  lost.writeUInt32LE(5, 16);
  const samples = lengths.map((length) => {
    const record = Buffer.alloc((12 + length + 7) & ~7, 0x62);
    record.writeUInt32LE(9);
    record.writeUInt16LE(record.length, 6);
    record.writeUInt32LE(record.length - 12, 8);
    return record;
  });
  const bytes = Buffer.concat([...samples, lost]);
  return Buffer.concat([words(start, start + BigInt(bytes.length)), bytes]);
}

const subscribe = (
  stream: number,
  source: number,
  handles: readonly number[],
  size: number,
  window = 65_536,
) => messageFrame(FrameType.SUBSCRIBE, stream, [stream, source, handles, size, 4096, 1000, window]);
const unsubscribe = (stream: number) => messageFrame(FrameType.UNSUBSCRIBE, 9, [stream]);
const credit = (stream: number, bytes: number) =>
  messageFrame(FrameType.CREDIT, 0, [stream, bytes]);
const write = (stream: number, ...lengths: number[]) =>
  messageFrame(FrameType.WRITE, 8, [stream, lengths.map((length) => new Uint8Array(length))]);

const toRing = subscribe(1, StreamSource.RING, [Handle.RING], 4096);
const toPerf = subscribe(2, StreamSource.PERF, [Handle.PERF, Handle.PERF], 1);
const toUserRing = subscribe(3, StreamSource.USER_RING, [Handle.USER_RING], 4096);
const toFile = subscribe(4, StreamSource.FILE, [Handle.FILE], 0);

function input(options: number, held: Buffer, ...frames: readonly Uint8Array[]): Uint8Array {
  const length = Buffer.of(held.length & 0xff, held.length >> 8);
  return Buffer.concat([Buffer.of(options), length, held, ...frames]);
}

/** Returns inputs of core/events.cc: each kind of source, and the requests for it. */
export function eventSeeds(): Uint8Array[] {
  const records = ring(0n, 16, 16 | DISCARDED, 24);
  return [
    input(0, records, toRing, credit(1, 40), unsubscribe(1)),
    input(0, ring(4088n, 8, 100, 16 | BUSY), toRing, unsubscribe(1)),
    input(0, perf(0n, 16, 36), toPerf, credit(2, 1 << 20), unsubscribe(2)),
    input(0, perf(4080n, 20), toPerf, unsubscribe(2)),
    input(0, Buffer.alloc(16), toUserRing, write(3, 8, 100, 5000), write(3, 0), unsubscribe(3)),
    input(0, records, toFile, unsubscribe(4)),
    input(NEVER_READS | SMALL_SOCKET, records, toRing, toPerf, toUserRing, toFile),
    input(RECONNECTS, records, toRing, toFile),
    input(0x40, records, subscribe(1, StreamSource.RING, [Handle.RING], 4096, 16), credit(1, 8)),
    input(0, records, subscribe(1, StreamSource.RING, [Handle.RING], 1 << 30)),
    input(0, Buffer.alloc(0), unsubscribe(7), write(7, 1), subscribe(1, 0, [9], 4096)),
  ];
}
