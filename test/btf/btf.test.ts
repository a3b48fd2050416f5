import { existsSync, readFileSync } from 'node:fs';
import t from 'tap';
import { BtfTypes, functionOffsets } from '../../src/btf/index.js';
import { decodeValue, encodeValue } from '../../src/codec/index.js';
import { int, Kind, writeBtf } from './writer.js';

const { ARRAY, STRUCT, UNION, ENUM, TYPEDEF, CONST, PTR, FUNC, FUNC_PROTO, FLOAT, ENUM64 } = Kind;

const sample = writeBtf([
  int('int', 4, 1), // 1
  int('char', 1, 1), // 2
  int('unsigned char', 1), // 3
  int('long long unsigned int', 8), // 4
  int('_Bool', 1, 4), // 5
  { kind: TYPEDEF, name: 'u64', size: 4 }, // 6
  { kind: ARRAY, words: [2, 1, 16] }, // 7: char[16]
  { kind: ARRAY, words: [3, 1, 6] }, // 8: unsigned char[6]
  { kind: ENUM, name: 'colour', vlen: 2, size: 4, words: ['RED', 0, 'BLUE', 5] }, // 9
  { kind: PTR, size: 0 }, // 10
  { kind: CONST, size: 1 }, // 11
  // An anonymous union of an int and two bit fields.
  {
    kind: STRUCT,
    vlen: 2,
    flag: true,
    size: 4,
    words: ['low', 1, 3 << 24, 'high', 1, (5 << 24) | 3],
  }, // 12
  { kind: UNION, vlen: 2, size: 4, words: ['whole', 1, 0, '', 12, 0] }, // 13
  {
    kind: STRUCT,
    name: 'event',
    vlen: 8,
    size: 64,
    words: [
      ...['at', 6, 0],
      ...['comm', 7, 64],
      ...['mac', 8, 192],
      ...['ok', 5, 240],
      ...['colour', 9, 256],
      ...['', 13, 288],
      ...['next', 10, 320],
      ...['constant', 11, 384],
    ],
  }, // 14
  { kind: FUNC_PROTO, vlen: 1, size: 1, words: ['event', 10] }, // 15
  { kind: FUNC, name: 'handle', size: 15 }, // 16
  { kind: FLOAT, name: 'double', size: 8 }, // 17
  {
    kind: ENUM64,
    name: 'wide',
    vlen: 1,
    flag: true,
    size: 8,
    words: ['MINUS', 0xffffffff, 0xffffffff],
  }, // 18
]);

t.test('types by id and by name', (t) => {
  const types = new BtfTypes(sample);
  t.equal(types.length, 19);
  t.equal([...types].length, 18);
  t.match(types.type(0), { kind: 'void' });
  t.match(types.type(1), { kind: 'int', name: 'int', sizeBytes: 4, signed: true, widthBits: 32 });
  t.match(types.resolve(11), { kind: 'int', name: 'int' });
  t.equal(types.named('struct event'), 14);
  t.equal(types.named('event'), 14);
  t.equal(types.named('u64'), 6);
  t.equal(types.named('enum wide'), 18);
  t.equal(types.find('func', 'handle'), 16);
  t.equal(types.find('func', 'event'), undefined);
  t.match(types.type(15), { kind: 'func_proto', parameters: [{ name: 'event', type: 10 }] });
  t.match(types.type(18), { values: [{ name: 'MINUS', value: -1n }] });
  t.equal(types.sizeOf(7), 16);
  t.equal(types.sizeOf(10), 8);
  t.equal(types.sizeOf(14), 64);
  t.throws(() => types.sizeOf(16), { code: 'ERR_BTF_TYPE' });
  t.throws(() => types.type(19), { code: 'ERR_BTF_TYPE' });
  t.throws(() => types.named('struct nothing'), {
    code: 'ERR_BTF_TYPE',
    message: /struct nothing.*as C does/,
  });
  t.end();
});

t.test('a codec for a structure', (t) => {
  const codec = new BtfTypes(sample).codec<Record<string, unknown>>('struct event');
  t.match(codec, { name: 'struct event', sizeBytes: 64, alignBytes: 8 });
  const value = {
    at: 5n,
    comm: 'bash',
    mac: Uint8Array.of(1, 2, 3, 4, 5, 6),
    ok: true,
    colour: 'BLUE',
    low: -1,
    high: 2,
    next: 0xffff888000000000n,
    constant: -7,
  };
  const bytes = encodeValue(codec, value);
  t.same(decodeValue(codec, bytes), { ...value, whole: 0b10111 });
  t.throws(() => encodeValue(codec, { comm: 'a name that is too long' }), {
    message: /^\.comm is "a name that is too long"/,
  });
  t.same(decodeValue(new BtfTypes(sample).codec('double'), Buffer.alloc(8)), 0);
  t.throws(() => new BtfTypes(sample).codec(16), { code: 'ERR_BTF_TYPE' });
  t.end();
});

t.test('types without an end have no offsets of functions', (t) => {
  const twice = (of: number) => ['a', of, 0, 'b', of, 0];
  const inner = { kind: STRUCT, name: 'x', vlen: 2, size: 8 };
  // The type contains itself, or each type has the one before twice.
  for (const count of [1, 60]) {
    const types = Array.from({ length: count }, (_, at) => ({ ...inner, words: twice(at || 1) }));
    const error = { code: 'ERR_BTF_TYPE', message: /more than 4096 members/ };
    t.throws(() => functionOffsets(new BtfTypes(writeBtf(types)), count), error);
  }
  t.end();
});

t.test('hostile types are refused', (t) => {
  const malformed = { code: 'ERR_BTF_MALFORMED' };
  t.throws(() => new BtfTypes(new Uint8Array(0)), malformed);
  t.throws(() => new BtfTypes(Buffer.alloc(64)), malformed);
  t.throws(() => new BtfTypes(sample.subarray(0, 100)), malformed);
  t.throws(() => new BtfTypes(writeBtf([{ kind: 31 }])), malformed);
  t.throws(() => new BtfTypes(writeBtf([{ kind: STRUCT, vlen: 9 }])), malformed);
  const itself = new BtfTypes(writeBtf([{ kind: TYPEDEF, name: 'x', size: 1 }]));
  t.throws(() => itself.resolve(1), malformed);
  t.throws(() => itself.codec('x'), malformed);
  const inside = writeBtf([{ kind: STRUCT, name: 'x', vlen: 1, size: 8, words: ['x', 1, 0] }]);
  t.throws(() => new BtfTypes(inside).codec('x'), { code: 'ERR_BTF_TYPE', message: /types deep/ });
  const wide = writeBtf([
    int('int', 4),
    { kind: ARRAY, words: [1, 1, 1000] },
    { kind: ARRAY, words: [2, 1, 1_000_000] },
  ]);
  t.throws(() => new BtfTypes(wide).codec(3), { code: 'ERR_BTF_TYPE' });
  const beyond = writeBtf([
    int('int', 4),
    { kind: STRUCT, name: 'x', vlen: 1, size: 4, words: ['a', 1, 32] },
  ]);
  t.throws(() => new BtfTypes(beyond).codec('x'), { message: /reaches beyond/ });
  // Bytes turned over at random are read or refused, and nothing else.
  let seed = 1;
  const random = () => {
    seed = (seed * 1103515245 + 12345) & 0x7fffffff;
    return seed / 0x80000000;
  };
  for (let round = 0; round < 3000; round++) {
    const bytes = Uint8Array.from(sample);
    for (let flips = 0; flips < 1 + (round % 8); flips++) {
      bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
    }
    try {
      const types = new BtfTypes(bytes);
      for (const type of types) {
        try {
          types.codec(type.id);
        } catch (error) {
          const { code } = error as { code?: string };
          if (code?.startsWith('ERR_BTF_') !== true) throw error;
        }
      }
    } catch (error) {
      const { code } = error as { code?: string };
      if (code?.startsWith('ERR_BTF_') !== true) throw error;
    }
  }
  t.end();
});

const vmlinux = '/sys/kernel/btf/vmlinux';

t.test(
  'the types of this kernel',
  { skip: existsSync(vmlinux) ? false : 'this kernel has no BTF' },
  (t) => {
    const types = new BtfTypes(readFileSync(vmlinux));
    t.ok(types.length > 10_000, `${types.length} types`);
    t.ok(types.find('func', 'vfs_read'));
    const task = types.codec<Record<string, unknown>>('struct task_struct');
    t.equal(task.sizeBytes, types.sizeOf(types.named('struct task_struct')));
    const value = decodeValue(task, new Uint8Array(task.sizeBytes));
    t.match(value, { pid: 0, tgid: 0, comm: '', se: { vruntime: 0n } });
    const timespec = types.codec<{ tv_sec: bigint; tv_nsec: bigint }>('struct timespec64');
    t.same(decodeValue(timespec, encodeValue(timespec, { tv_sec: 1n, tv_nsec: 2n })), {
      tv_sec: 1n,
      tv_nsec: 2n,
    });
    let derived = 0;
    for (const type of types) {
      if (type.kind !== 'struct') continue;
      try {
        if (types.codec(type.id).sizeBytes === type.sizeBytes) derived++;
        else t.fail(type.name);
      } catch (error) {
        if ((error as { code?: string }).code !== 'ERR_BTF_TYPE') throw error;
      }
    }
    t.ok(derived > 1000, `${derived} structures`);
    t.end();
  },
);
