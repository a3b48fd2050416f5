import assert from 'node:assert/strict';
import { Decoder, Encoder } from 'cbor-x/decode';
import { type Events, parseEvents } from '../../../../src/frame/index.js';
import { eachPerfRecord, eachRingRecord } from '../../../../src/kernel/ring-records.js';
import type { Random } from './random.js';
import { unlessRefused } from './refusal.js';

const encoder = new Encoder({ useRecords: false, tagUint8Array: false });
const decoder = new Decoder({ useRecords: false });

const order = [
  'part',
  'records',
  'sequence',
  'position',
  'written',
  'lost',
  'dropped',
  'timeNs',
  'end',
] as const satisfies readonly (keyof Events)[];

/** Another reader of CBOR reads the same EVENTS frame, or the frame is refused. */
export function events(random: Random): boolean {
  const counts = order.map(() => (random.once(3) ? random.word() * random.edge() : random.edge()));
  const whole = counts.map((count) => (count > 0xffffffff ? BigInt(count) : count));
  const body = random.spoilt(encoder.encode([...whole, random.bytes(random.below(300))]));
  const start = random.below(30);
  const bytes = Buffer.concat([random.bytes(start), body, random.bytes(random.below(30))]);
  const parsed = unlessRefused(['ERR_FRAME_MALFORMED'], () =>
    parseEvents(bytes, start, start + body.length),
  );
  if (parsed === undefined) return false;
  const items = decoder.decode(body) as unknown[];
  for (const [at, name] of order.entries()) {
    const count = Number(items[at]);
    // No real count is as large. A rounded count may be rounded twice.
    const roundedBy = count > Number.MAX_SAFE_INTEGER ? count * Number.EPSILON : 0;
    assert.ok(Math.abs(parsed[name] - count) <= roundedBy, `${name} is ${parsed[name]}`);
  }
  assert.equal(Buffer.compare(parsed.bytes, items.at(-1) as Uint8Array), 0);
  return true;
}

/** The records of a buffer, and those that a reader must see. */
interface Buffered {
  bytes: Uint8Array;
  visible: Uint8Array[];
}

const DISCARDED = 0x40000000;

function ring(random: Random): Buffered {
  const visible: Uint8Array[] = [];
  const parts = Array.from({ length: random.below(6) }, () => {
    const data = random.bytes(random.below(random.once(6) ? 200 : 30));
    const discarded = random.once(4);
    if (!discarded) visible.push(data);
    const record = Buffer.alloc(8 + ((data.length + 7) & ~7));
    record.writeUInt32LE(data.length | (discarded ? DISCARDED : 0));
    record.set(data, 8);
    return record;
  });
  return { bytes: Buffer.concat(parts), visible };
}

const SAMPLE = 9;
const LOST = 2;

function perf(random: Random): Buffered {
  const visible: Uint8Array[] = [];
  const parts = Array.from({ length: random.below(6) }, () => {
    const data = random.bytes(random.below(30));
    const type = random.pick([SAMPLE, SAMPLE, LOST, random.below(20)]);
    // The padding behind a sample's data counts as data.
    const record = Buffer.alloc((12 + data.length + 7) & ~7);
    record.writeUInt32LE(type);
    record.writeUInt16LE(record.length, 6);
    record.writeUInt32LE(record.length - 12, 8);
    record.set(data, 12);
    if (type === SAMPLE) visible.push(record.subarray(12));
    return record;
  });
  return { bytes: Buffer.concat(parts), visible };
}

/**
 * Records come out as they were put in, or the buffer is refused. No bytes come from outside the
 * buffer.
 */
export function records(random: Random): boolean {
  const [make, each] = random.pick([
    [ring, eachRingRecord] as const,
    [perf, eachPerfRecord] as const,
  ]);
  const { bytes, visible } = make(random);
  const given = Uint8Array.from(random.spoilt(bytes));
  const found: Uint8Array[] = [];
  const taken = unlessRefused(['ERR_FRAME_MALFORMED'], () => {
    each(given, (record) => {
      assert.equal(record.buffer, given.buffer);
      found.push(record);
    });
    return true;
  });
  if (Buffer.compare(given, bytes) === 0) {
    assert.ok(taken);
    assert.deepEqual(found.map(hex), visible.map(hex));
  }
  return taken === true;
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
