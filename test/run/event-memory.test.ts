import t from 'tap';
import { PerfMemory, RingbufMemory } from '../../src/run/event-memory.js';

const PAGE = 4096;

/** A record of a ring buffer as the kernel leaves it: its length, padding to 8, and a number. */
function ringRecord(length: number, fill: number): Uint8Array {
  const bytes = new Uint8Array(8 + Math.ceil(length / 8) * 8).fill(fill);
  new DataView(bytes.buffer).setUint32(0, length, true);
  return bytes;
}

/** Reads as libbpf does: linearly, by the second half where a record goes beyond the first. */
function readRing(ring: RingbufMemory): number[] {
  const words = new BigUint64Array(ring.memory.buffer);
  const view = new DataView(ring.memory.buffer);
  const read: number[] = [];
  let at = Number(words[0]);
  while (at < Number(words[PAGE / 8])) {
    const start = 2 * PAGE + (at % ring.capacityBytes);
    const length = view.getUint32(start, true);
    const data = ring.memory.subarray(start + 8, start + 8 + length);
    if (new Set(data).size !== 1) throw new Error(`the record at ${at} is not whole`);
    read.push(data[0] as number);
    at += 8 + Math.ceil(length / 8) * 8;
  }
  words[0] = BigInt(at);
  return read;
}

t.test('a ring buffer holds whole records, also around its end', (t) => {
  const ring = new RingbufMemory(PAGE);
  t.teardown(() => ring.close());
  const expected: number[] = [];
  const found: number[] = [];
  for (let round = 0; round < 400; round++) {
    const record = ringRecord(1 + ((round * 37) % 700), round % 251);
    if (record.length > ring.roomBytes) found.push(...readRing(ring));
    ring.write(record);
    expected.push(round % 251);
  }
  found.push(...readRing(ring));
  t.same(found, expected);
  t.equal(ring.roomBytes, PAGE);
  t.end();
});

t.test('a header at the very end has its data at the beginning, too', (t) => {
  const ring = new RingbufMemory(PAGE);
  t.teardown(() => ring.close());
  ring.write(ringRecord(PAGE - 16, 1));
  readRing(ring);
  ring.write(ringRecord(16, 2));
  t.same([...ring.memory.subarray(2 * PAGE, 2 * PAGE + 16)], new Array(16).fill(2));
  t.same(readRing(ring), [2]);
  t.end();
});

t.test('a reader that claims too much harms nobody', (t) => {
  const ring = new RingbufMemory(PAGE);
  t.teardown(() => ring.close());
  const words = new BigUint64Array(ring.memory.buffer);
  words[0] = 1n << 63n;
  t.equal(ring.roomBytes, PAGE);
  words[0] = 0n;
  ring.write(ringRecord(PAGE - 8, 3));
  t.equal(ring.roomBytes, 0);
  t.end();
});

t.test('the buffer of a perf event says where it is, and wraps', (t) => {
  const perf = new PerfMemory(1);
  t.teardown(() => perf.close());
  const words = new BigUint64Array(perf.memory.buffer);
  t.same([words[1040 / 8], words[1048 / 8]], [BigInt(PAGE), BigInt(PAGE)]);
  perf.write(new Uint8Array(PAGE - 8).fill(1));
  t.equal(words[1024 / 8], BigInt(PAGE - 8));
  words[1032 / 8] = words[1024 / 8] as bigint;
  t.equal(perf.roomBytes, PAGE);
  perf.write(new Uint8Array(16).fill(2));
  t.same([...perf.memory.subarray(2 * PAGE - 8)], new Array(8).fill(2));
  t.same([...perf.memory.subarray(PAGE, PAGE + 9)], [...new Array(8).fill(2), 1]);
  t.end();
});
