import t from 'tap';
import {
  array,
  bits,
  bool,
  bytes,
  type Codec,
  count,
  type Decoded,
  decodeValue,
  type Encodable,
  encodeValue,
  f32,
  f64,
  mapped,
  named,
  objectId,
  perCpu,
  s8,
  s16,
  s32,
  s64,
  struct,
  text,
  u8,
  u16,
  u16be,
  u32,
  u32be,
  u64,
} from '../../src/codec/index.js';

const hex = (value: Uint8Array) => Buffer.from(value).toString('hex');

interface Case<T, In> {
  codec: Codec<T, In>;
  value: In;
  bytes: string;
  /** What is read where that is not what was written. */
  read?: T;
}

function check<T, In>({ codec, value, bytes: expected, read }: Case<T, In>): void {
  const encoded = encodeValue(codec, value);
  t.equal(hex(encoded), expected, `${codec.name}: ${String(value)}`);
  t.same(decodeValue(codec, encoded), read ?? value, `${codec.name}, read`);
}

check({ codec: u8, value: 255, bytes: 'ff' });
check({ codec: s8, value: -2, bytes: 'fe' });
check({ codec: u16, value: 0x1234, bytes: '3412' });
check({ codec: s16, value: -2, bytes: 'feff' });
check({ codec: u16be, value: 80, bytes: '0050' });
check({ codec: u32, value: 0xfffffffe, bytes: 'feffffff' });
check({ codec: s32, value: -2, bytes: 'feffffff' });
check({ codec: u32be, value: 0x7f000001, bytes: '7f000001' });
check({ codec: u64, value: 2n ** 64n - 1n, bytes: 'ffffffffffffffff' });
check<bigint, number | bigint>({ codec: u64, value: 5, bytes: '0500000000000000', read: 5n });
check({ codec: s64, value: -(2n ** 63n), bytes: '0000000000000080' });
check({ codec: count, value: 2 ** 40 + 1, bytes: '0100000000010000' });
check({ codec: f32, value: 0.5, bytes: '0000003f' });
check({ codec: f64, value: -2, bytes: '00000000000000c0' });
check({ codec: bool, value: true, bytes: '01' });
check({ codec: text(8), value: 'naïve', bytes: '6e61c3af76650000' });
check({ codec: bytes(3), value: Uint8Array.of(1, 2, 3), bytes: '010203' });
check({ codec: array(u16, 3), value: [1, 2, 3], bytes: '010002000300' });
check({ codec: named({ A: 1, B: 2 }, u32), value: 'B', bytes: '02000000' });
check({ codec: named({ A: 1, B: 2 }, u32), value: 7, bytes: '07000000' });
check({ codec: bits(4, 8, false), value: 0xab, bytes: 'b00a' });
check({ codec: bits(0, 3, true), value: -1, bytes: '07' });
check({ codec: bits(7, 64, false), value: 2n ** 64n - 1n, bytes: '80ffffffffffffff7f' });
check<number, { handle: number }>({
  codec: objectId,
  value: { handle: 9 },
  bytes: '09000000',
  read: 9,
});
check({
  codec: mapped(
    u64,
    (ns) => new Date(Number(ns / 1_000_000n)),
    (date: Date) => BigInt(date.getTime()) * 1_000_000n,
  ),
  value: new Date(5),
  bytes: '404b4c0000000000',
});

t.test('structures are laid out as C does it', (t) => {
  const event = struct({ flag: u8, pid: u32, comm: text(3), at: u64, last: u16 });
  t.match(event, { sizeBytes: 32, alignBytes: 8 });
  const value = { flag: 1, pid: 2, comm: 'ab', at: 3n, last: 4 };
  const encoded = encodeValue(event, value);
  t.equal(hex(encoded), '0100000002000000616200000000000003000000000000000400000000000000');
  t.same(decodeValue(event, encoded), value);
  const packed = struct({ flag: u8, pid: u32, at: u64 }, { packed: true });
  t.match(packed, { sizeBytes: 13, alignBytes: 1 });
  const nested = struct({ a: u8, inner: struct({ b: u64 }), list: array(struct({ c: u16 }), 2) });
  const deep = { a: 1, inner: { b: 2n }, list: [{ c: 3 }, { c: 4 }] };
  t.same(decodeValue(nested, encodeValue(nested, deep)), deep);
  // The types follow the codecs: these lines are compiled.
  const read: Decoded<typeof nested> = deep;
  const write: Encodable<typeof nested> = { a: 1, inner: { b: 2 }, list: [{ c: 3 }, { c: 4 }] };
  t.same(encodeValue(nested, read), encodeValue(nested, write));
  t.end();
});

t.test('per-CPU values are rounded up to 8 bytes each', (t) => {
  const codec = perCpu(u32);
  t.equal(codec.sizeBytes, 4, 'what the map is created with');
  const bound = codec.forCpus?.(3) as typeof codec;
  t.equal(hex(encodeValue(bound, [1, 2, 3])), '010000000000000002000000000000000300000000000000');
  t.same(decodeValue(bound, encodeValue(bound, [1, 2, 3])), [1, 2, 3]);
  t.throws(() => encodeValue(bound, [1, 2]), { code: 'ERR_CODEC_VALUE', message: /an array of 3/ });
  t.end();
});

t.test('a floating-point number is a number', (t) => {
  for (const value of [1n, '1', null]) {
    t.throws(() => encodeValue(f64, value as never), { code: 'ERR_CODEC_VALUE' });
  }
  t.end();
});

t.test('what does not fit is refused with its place', (t) => {
  const codec = struct({ list: array(struct({ comm: text(4), n: u8, big: u64 }), 2) });
  const one = { comm: 'abc', n: 1, big: 1n };
  const refused = (part: object, message: RegExp) => {
    const list = [one, { ...one, ...part }];
    t.throws(() => encodeValue(codec, { list }), { code: 'ERR_CODEC_VALUE', message });
  };
  refused({ comm: 'abcd' }, /^\.list\[1\]\.comm is "abcd"; expected text of at most 3 bytes/);
  refused({ n: 256 }, /^\.list\[1\]\.n is 256; expected an integer from 0 to 255/);
  refused({ n: undefined }, /^\.list\[1\]\.n is undefined/);
  refused({ n: Number.NaN }, /^\.list\[1\]\.n is NaN/);
  refused({ big: -1n }, /^\.list\[1\]\.big is -1n; expected a bigint/);
  refused({ big: 2 ** 60 }, /^\.list\[1\]\.big is 1152921504606847000;/);
  refused({ big: '1' }, /^\.list\[1\]\.big is "1"/);
  t.throws(() => encodeValue(bytes(4), new Uint8Array(3)), { message: /3 bytes.*4 bytes/ });
  t.throws(() => encodeValue(named({ A: 1 }, u8), 'B' as 'A'), { message: /one of A/ });
  t.throws(() => encodeValue(bits(0, 3, false), 8), { message: /3 unsigned bits/ });
  t.throws(() => decodeValue(u64, new Uint8Array(7)), { message: /7 bytes.*8 bytes of a u64/ });
  const cyclic: Record<string, unknown> = {};
  cyclic.self = cyclic;
  t.throws(() => encodeValue(u8, cyclic as never), { message: /an object that contains itself/ });
  t.end();
});
