import { test } from 'tap';
import { isMark, Readahead, stepped, stretches } from '../../../src/run/probe-cache/readahead.js';

/** A call of a type, which asks for one number. */
function call(type: number, number: number): Uint8Array {
  return Uint8Array.of(type, 0, 0, 0, 128, 0, 0, 0, 0x85, 0, 0, 0, number, 0, 0, 0);
}

const offset = 12;

test('a count is expected to go on, in stretches', (t) => {
  const count = new Readahead();
  t.equal(count.next(call(1, 1)), undefined, 'one call is no count');
  t.notOk(count.active);
  const expected = count.next(call(1, 2));
  t.same(expected, { offset, first: 1, last: 48 });
  t.ok(count.active);
  t.same(
    [...stretches({ offset, first: 1, last: 50 })],
    [
      [1, 24],
      [25, 48],
      [49, 50],
    ],
  );
  for (let number = 3; number < 26; number++) {
    if (number !== 6) t.equal(count.next(call(1, number)), undefined, 'enough is expected');
  }
  t.same(count.next(call(1, 26)), { offset, first: 25, last: 48 }, 'half of it is left');
  t.end();
});

test('a count that begins anew is expected to end where the last one did', (t) => {
  const count = new Readahead();
  for (let number = 1; number <= 60; number++) count.next(call(1, number));
  t.same(count.next(call(2, 1)), { offset, first: 1, last: 48 }, 'from its first call');
  for (let number = 2; number < 12; number++) t.equal(count.next(call(2, number)), undefined);
  t.same(count.next(call(2, 12)), { offset, first: 38, last: 48 }, 'up to the end');
  for (let number = 13; number < 25; number++) count.next(call(2, number));
  t.equal(count.next(call(2, 60)), undefined, 'what was expected, and no more');
  t.same(count.next(call(2, 61)), { offset, first: 1, last: 48 }, 'further than before');
  for (const number of [70, 65]) count.reached(call(2, number));
  count.reached(call(3, 80));
  t.same(count.next(call(4, 1)), { offset, first: 1, last: 48 });
  t.equal(count.next(call(4, 1)), undefined, 'the same again is no news');
  t.same(count.next(call(4, 30)), { offset, first: 20, last: 40 }, 'as far as it was told of');
  t.ok(count.active);
  t.end();
});

test('anything else is no count', (t) => {
  const count = new Readahead();
  for (const bytes of [
    call(1, 1),
    call(1, 3),
    call(1, 2),
    call(2, 3),
    Uint8Array.of(2),
    Uint8Array.of(3),
    Uint8Array.of(),
    Uint8Array.of(1, 2, 3, 4, 5),
    Uint8Array.of(1, 2, 3, 4, 6),
  ]) {
    t.equal(count.next(bytes), undefined);
    t.notOk(count.active);
  }
  t.end();
});

test('calls to look further from are some in a row, in the middle', (t) => {
  const marks = [...Array(60).keys()].filter((step) => isMark(step, 48));
  t.same(marks, [25, 26, 27]);
  t.end();
});

test('a word is larger in a copy', (t) => {
  const bytes = Uint8Array.of(9, 255, 255, 0, 0, 9);
  t.same([...stepped(bytes, 1, 2)], [9, 1, 0, 1, 0, 9]);
  t.same([...stepped(Uint8Array.of(255, 255, 255, 255), 0, 1)], [0, 0, 0, 0]);
  t.equal(bytes[1], 255);
  t.end();
});
