import t from 'tap';
import { findInInstructions } from '../../src/bpf/fds.js';
import { insn } from '../../src/bpf/index.js';
import { hex, toHex } from './tools.js';

const { alu, call, exit, jump, jumpIf, label, load, loadFunction } = insn;
const { loadMap, loadMapValue, loadNumber } = insn;
const { mov, program, store, storeBytes } = insn;

// The bytes are those that LLVM's assembler makes of the same text.
const cases = [
  ['r1 = r10', mov('r1', 'r10'), 'bfa1000000000000'],
  ['r0 = -1', mov('r0', -1), 'b7000000ffffffff'],
  ['r1 += -16', alu('add', 'r1', -16), '07010000f0ffffff'],
  ['r2 ^= r3', alu('xor', 'r2', 'r3'), 'af32000000000000'],
  ['r1 = *(u64 *)(r1 + 8)', load(8, 'r1', 'r1', 8), '7911080000000000'],
  ['r2 = *(u8 *)(r3 - 1)', load(1, 'r2', 'r3', -1), '7132ffff00000000'],
  ['*(u32 *)(r10 - 4) = r1', store(4, 'r10', -4, 'r1'), '631afcff00000000'],
  ['*(u16 *)(r10 - 2) = 7', store(2, 'r10', -2, 7), '6a0afeff07000000'],
  ['call 6', call(6), '8500000006000000'],
  ['exit', exit(), '9500000000000000'],
  [
    'r1 = 0x1122334455667788 ll',
    loadNumber('r1', 0x1122334455667788n),
    '18010000887766550000000044332211',
  ],
  ['r1 = map', loadMap('r1', { handle: 5 }), '18110000050000000000000000000000'],
  ['r1 = map value', loadMapValue('r1', { handle: 5 }, 8), '18210000050000000000000008000000'],
] as const;

for (const [text, bytes, expected] of cases) {
  t.test(text, async (t) => {
    t.equal(toHex(bytes), expected);
  });
}

t.test('labels become distances, over loads of two slots, forwards and backwards', async (t) => {
  const bytes = program(
    label('start'),
    jumpIf('ne', 'r1', 59, 'out'),
    loadNumber('r1', 1n),
    jumpIf('lt', 'r1', 'r2', 'start'),
    jump('out'),
    label('out'),
    exit(),
  );
  const expected = hex(
    '55010400 3b000000 18010000 01000000 00000000 00000000 ad21fcff 00000000 05000000 00000000 9500000000000000',
  );
  t.equal(toHex(bytes), toHex(expected));
});

t.test('a function is loaded by its distance', async (t) => {
  const bytes = program(loadFunction('r2', 'f'), mov('r0', 0), exit(), label('f'), exit());
  const expected = hex(
    '18420000 03000000 00000000 00000000 b7000000 00000000 95000000 00000000 95000000 00000000',
  );
  t.equal(toHex(bytes), toHex(expected));
  t.throws(() => program(loadFunction('r2', 'g')), { message: /label .*"g"/ });
});

t.test('bytes are stored on the stack in words of eight', async (t) => {
  const bytes = program(storeBytes(-16, Buffer.from('Hello World!\n'), 'r1'));
  t.equal(bytes.length, 48);
  t.equal(Buffer.from(bytes.subarray(4, 8)).toString(), 'Hell');
});

t.test('descriptors are found in instructions, and nowhere else', async (t) => {
  const found: [number, string, string][] = [];
  const reached: number[] = [];
  const code = hex(`
    1811000003000000 0000000000000000
    1821000004000000 0000000008000000
    183100002a000000 0000000005000000
    183100002a000000 0000000000000000
    1841000006000000 0000000000000000
    1851000002000000 0000000000000000
    1861000001000000 0000000000000000
    8520030007000000 8520000007000000 8510000007000000
    1801000003000000 1811000009000000
    9500000000000000`);
  findInInstructions(
    code,
    (offset, [kind = 'file'], where) => found.push([offset, kind, where]),
    (index) => reached.push(index),
  );
  t.same(found, [
    [4, 'map', 'the immediate of instruction 0'],
    [20, 'map', 'the immediate of instruction 2'],
    [44, 'btf', 'the second immediate of instruction 4'],
  ]);
  t.same(reached, [2, 1, 3]);
});

t.test('descriptors are found up to the last whole instruction', async (t) => {
  const look = (text: string) => {
    const found: (number | string)[] = [];
    findInInstructions(
      hex(text),
      (offset) => found.push(offset),
      (index) => found.push(`fd_array[${index}]`),
    );
    return found;
  };
  t.same(look('8520030007000000'), ['fd_array[3]']);
  t.same(look('1811000003000000'), [4], 'half a load that needs no second half');
  t.same(look('183100002a000000'), [], 'half a load that does');
  t.same(look('1851000000000000 0000000000000000'), ['fd_array[0]'], 'the first map');
  t.same(look('9500000000000000 85200300 070000'), [], 'half an instruction');
});
