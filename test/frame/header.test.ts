import t from 'tap';
import {
  FrameType,
  frameTypeName,
  HEADER_BYTES,
  parseHeader,
  putHeader,
} from '../../src/frame/index.js';
import { ItemReader, Major } from '../../src/frame/items.js';

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
  const items = new ItemReader(bytes, 0, bytes.length, 'a test');
  const numbers = Array.from({ length: 5 }, () => items.head(Major.UINT));
  t.same(numbers, [23, 255, 0x1234, 0x12345678, 2 ** 40 + 2]);
  t.equal(items.left, 1);
  t.ok(items.is(Major.BYTES));
  t.notOk(items.is(Major.UINT));
  t.equal(items.head(Major.BYTES), 2);
  t.equal(items.left, 0);
  t.notOk(items.is(Major.BYTES), 'nothing follows');
});

t.test('an item that is none says where', async (t) => {
  const refused = (bytes: number[], end: number, why: string) => {
    const items = new ItemReader(Uint8Array.from(bytes), 1, end, 'a test');
    const message = `Malformed frame: ${why}`;
    t.throws(() => items.head(Major.UINT), { code: 'ERR_FRAME_MALFORMED', message }, why);
    t.equal(items.at, 1, 'it is left where it is');
  };
  refused([0, 0x40], 2, 'a test has an unexpected item at byte 1');
  refused([0, 0x00], 1, 'a test has an unexpected item at byte 1');
  refused([0, 0x1c], 2, 'a test has a bad length at byte 1');
  refused([0, 0x1f, ...Array(32).fill(0)], 34, 'a test has a bad length at byte 1');
  refused([0, 0x18, 0], 2, 'a test has a bad length at byte 1');
  refused([0, 0x1a, 0, 0, 0, 0], 5, 'a test has a bad length at byte 1');
  const whole = new ItemReader(Uint8Array.of(0x1a, 0, 0, 0, 9), 0, 5, 'a test');
  t.equal(whole.head(Major.UINT), 9, 'up to the last byte');
});
