import { Encoder } from 'cbor-x/decode';
import t from 'tap';
import { parseEvents } from '../../src/frame/index.js';

const oracle = new Encoder({ useRecords: false });
const records = Buffer.from('records');
// What needs more than 32 bits is an integer in frames, and no floating-point number.
const counts = [1, 20, 300, 70_000, 2n ** 33n, 6, 7, 8_000_000_000n, 9];
const refused = (why: RegExp) => ({ code: 'ERR_FRAME_MALFORMED', message: why });

t.test('each count of an EVENTS frame has its place, and its records are not copied', async (t) => {
  const body = oracle.encode([...counts, records]);
  const frame = Buffer.concat([Buffer.from('before'), body, Buffer.from('after')]);
  const events = parseEvents(frame, 6, 6 + body.length);
  const { bytes, ...rest } = events;
  t.same(rest, {
    part: 1,
    records: 20,
    sequence: 300,
    position: 70_000,
    written: 2 ** 33,
    lost: 6,
    dropped: 7,
    timeNs: 8_000_000_000,
    end: 9,
  });
  t.equal(Buffer.from(bytes).toString(), 'records');
  frame[6 + body.length - 1] = 'S'.charCodeAt(0);
  t.equal(Buffer.from(bytes).toString(), 'recordS');
});

t.test('an EVENTS frame that is cut, or has anything amiss, is refused', async (t) => {
  const body = oracle.encode([...counts, records]);
  for (let end = 0; end < body.length; end++) {
    t.throws(() => parseEvents(body, 0, end), refused(/EVENTS/), `cut at ${end}`);
  }
  const parse = (value: unknown) => {
    const encoded = oracle.encode(value);
    return parseEvents(encoded, 0, encoded.length);
  };
  t.throws(() => parse([...counts]), refused(/EVENTS is not an array of 10 items\.$/));
  t.throws(() => parse([...counts, 1, records]), refused(/EVENTS is not an array of 10 items\.$/));
  t.throws(() => parse([...counts.slice(1), 'x', records]), refused(/EVENTS has an unexpected/));
  const longer = Buffer.concat([body, Buffer.from([0])]);
  const why = /EVENTS announces 7 bytes of records and has 8\.$/;
  t.throws(() => parseEvents(longer, 0, longer.length), refused(why));
});
