import t from 'tap';
import {
  FrameType,
  frameTypeName,
  HEADER_BYTES,
  MAX_FRAME_BYTES,
  parseHeader,
  putHeader,
} from '../../src/frame/index.js';
import { isNext, Major, place, readHead } from '../../src/frame/items.js';

t.test('each part of a header has its own bytes, wherever the header lies', async (t) => {
  const target = new Uint8Array(HEADER_BYTES + 2).fill(0xee);
  putHeader(target, 1, 0x04030201, 0x10, 0x0a090807, 0x05);
  t.same([...target], [0xee, 1, 2, 3, 4, 0x10, 5, 0, 0, 7, 8, 9, 10, 0xee]);
  t.same(parseHeader(target, 1), {
    length: 0x04030201,
    type: 0x10,
    flags: 5,
    reserved: 0,
    id: 0x0a090807,
  });
  putHeader(target, 0, 0xffffffff, 0xff, 0xfffffffe);
  t.match(parseHeader(target), { length: 0xffffffff, type: 0xff, flags: 0, id: 0xfffffffe });
  target.set([0x34, 0x12], 6);
  t.equal(parseHeader(target.subarray(0, HEADER_BYTES)).reserved, 0x1234);
  const inside = new Uint8Array(target.buffer, 1, HEADER_BYTES);
  t.equal(parseHeader(inside).length, 0xffffffff);
});

t.test('a frame has at most 64 MiB', async (t) => {
  t.equal(MAX_FRAME_BYTES, 67_108_864);
});

t.test('a type of frame has a name, and a later one its number', async (t) => {
  t.equal(frameTypeName(FrameType.CALL), 'CALL');
  t.equal(frameTypeName(FrameType.EVENTS), 'EVENTS');
  t.equal(frameTypeName(0x07), 'frame type 0x07');
  t.equal(frameTypeName(0xab), 'frame type 0xab');
});

t.test('the heads of items, one after the other', async (t) => {
  const bytes = Uint8Array.of(
    ...[0x17, 0x18, 0xff, 0x19, 0x12, 0x34],
    ...[0x1a, 0x12, 0x34, 0x56, 0x78, 0x1b, 0, 0, 1, 0, 0, 0, 0, 2, 0x42],
  );
  const head = (major: number) => readHead(bytes, bytes.length, major, 'a test');
  const is = (major: number) => isNext(bytes, bytes.length, major);
  place.at = 0;
  const numbers = Array.from({ length: 5 }, () => head(Major.UINT));
  t.same(numbers, [23, 255, 0x1234, 0x12345678, 2 ** 40 + 2]);
  t.equal(place.at, bytes.length - 1);
  t.ok(is(Major.BYTES));
  t.notOk(is(Major.UINT));
  t.equal(head(Major.BYTES), 2);
  t.equal(place.at, bytes.length);
  t.notOk(is(Major.BYTES), 'nothing follows');
});

t.test('an item that is none says where', async (t) => {
  const refused = (bytes: number[], end: number, why: string) => {
    const read = () => readHead(Uint8Array.from(bytes), end, Major.UINT, 'a test');
    const message = `Malformed frame: ${why}`;
    place.at = 1;
    t.throws(read, { code: 'ERR_FRAME_MALFORMED', message }, why);
    t.equal(place.at, 1, 'it is left where it is');
  };
  refused([0, 0x40], 2, 'a test has an unexpected item at byte 1');
  refused([0, 0x00], 1, 'a test has an unexpected item at byte 1');
  refused([0, 0x1c], 2, 'a test has a bad length at byte 1');
  refused([0, 0x1f, ...Array(32).fill(0)], 34, 'a test has a bad length at byte 1');
  refused([0, 0x18, 0], 2, 'a test has a bad length at byte 1');
  refused([0, 0x1a, 0, 0, 0, 0], 5, 'a test has a bad length at byte 1');
  place.at = 0;
  const whole = Uint8Array.of(0x1a, 0, 0, 0, 9);
  t.equal(readHead(whole, whole.length, Major.UINT, 'a test'), 9, 'up to the last byte');
});
