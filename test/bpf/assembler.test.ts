/* Every operation of the assembler, by the numbers of the instruction set, and the bounds of operands. */
import t from 'tap';
import { insn } from '../../src/bpf/index.js';
import { toHex } from './tools.js';

const { alu, alu32, atomic, call, callFunction, callKernel, exit, jump, jumpIf, jumpIf32 } = insn;
const { label, load, loadMapValue, loadNumber, mov, neg, program, store, storeBytes, swap } = insn;
const code = (bytes: insn.Instruction) => (bytes as Uint8Array)[0];
const codeOfJump = (one: insn.Instruction) => (one as { bytes: Uint8Array }).bytes[0];
const refused = (option: string, expected?: string) => ({
  code: 'ERR_OPTION_INVALID',
  message: `Invalid ${option}:`,
  ...(expected === undefined ? {} : { detail: { expected } }),
});

t.test('arithmetic', async (t) => {
  const operations = {
    ...{ add: 0x00, sub: 0x10, mul: 0x20, div: 0x30, or: 0x40, and: 0x50, lsh: 0x60, rsh: 0x70 },
    ...{ mod: 0x90, xor: 0xa0, mov: 0xb0, arsh: 0xc0 },
  };
  for (const [name, number] of Object.entries(operations)) {
    const operation = name as keyof typeof operations;
    const codes = [alu(operation, 'r1', 1), alu(operation, 'r1', 'r2')].map(code);
    t.same(codes, [0x07 | number, 0x0f | number], name);
    const narrow = [alu32(operation, 'r1', 1), alu32(operation, 'r1', 'r2')].map(code);
    t.same(narrow, [0x04 | number, 0x0c | number], `${name}, of 32 bits`);
  }
  t.equal(toHex(neg('r3')), '8703000000000000');
  t.equal(toHex(mov('r9', 2 ** 31 - 1)), 'b7090000ffffff7f');
  t.equal(toHex(mov('r9', -(2 ** 31))), 'b709000000000080');
  t.equal(toHex(alu32('or', 'r9', 2 ** 32 - 1)), '44090000ffffffff');
  for (const number of [2 ** 31, -(2 ** 31) - 1, 0.5, Number.NaN]) {
    t.throws(() => mov('r0', number), refused('number of insn.mov()'), String(number));
  }
  for (const number of [2 ** 32, -(2 ** 31) - 1]) {
    t.throws(() => alu32('add', 'r0', number), refused('number of insn.alu32()'), String(number));
  }
  t.throws(() => mov('r0', 2 ** 31), {
    message:
      /a whole number from -2147483648 to 2147483647; insn\.loadNumber\(\) loads all 64 bits/,
  });
});

t.test('shifts and divisions', async (t) => {
  for (const operation of ['lsh', 'rsh', 'arsh'] as const) {
    for (const number of [0, 63]) t.ok(alu(operation, 'r0', number));
    t.ok(alu32(operation, 'r0', 31));
    for (const number of [-1, 64]) {
      t.throws(() => alu(operation, 'r0', number), refused('number of insn.alu()'));
    }
    for (const number of [-1, 32]) {
      t.throws(() => alu32(operation, 'r0', number), refused('number of insn.alu32()'));
    }
  }
  for (const operation of ['div', 'mod'] as const) {
    t.ok(alu(operation, 'r0', 1));
    t.ok(alu(operation, 'r0', 'r1'));
    const expected = 'a divisor that is not 0';
    t.throws(() => alu(operation, 'r0', 0), refused('number of insn.alu()', expected));
    t.throws(() => alu32(operation, 'r0', 0), refused('number of insn.alu32()', expected));
  }
  t.ok(alu('add', 'r0', 64), 'other numbers have no such bounds');
  t.ok(alu('mul', 'r0', 0));
});

t.test('the order of bytes', async (t) => {
  t.equal(toHex(swap('le', 16, 'r1')), 'd401000010000000');
  t.equal(toHex(swap('be', 32, 'r2')), 'dc02000020000000');
  t.equal(toHex(swap('swap', 64, 'r3')), 'd703000040000000');
  for (const bits of [0, 8, 24, 128]) {
    t.throws(
      () => swap('be', bits as 16, 'r1'),
      refused('width of insn.swap()', '16, 32 or 64 bits'),
    );
  }
  t.throws(
    () => swap('pdp' as 'be', 16, 'r1'),
    refused('order of insn.swap()', 'one of le, be, swap'),
  );
});

t.test('memory', async (t) => {
  for (const [width, size] of [
    [1, 0x10],
    [2, 0x08],
    [4, 0x00],
    [8, 0x18],
  ] as const) {
    t.equal(code(load(width, 'r1', 'r2', 0)), 0x61 | size);
    t.equal(code(store(width, 'r1', 0, 'r2')), 0x63 | size);
    t.equal(code(store(width, 'r1', 0, 2)), 0x62 | size);
  }
  t.equal(toHex(load(4, 'r3', 'r4', 0x1234)), '6143341200000000');
  t.equal(toHex(store(4, 'r3', -0x8000, 'r4')), '6343008000000000');
  const bounds = [
    [1, -128, 255],
    [2, -(2 ** 15), 2 ** 16 - 1],
    [4, -(2 ** 31), 2 ** 32 - 1],
    [8, -(2 ** 31), 2 ** 31 - 1],
  ] as const;
  for (const [width, least, most] of bounds) {
    for (const number of [least, most]) t.ok(store(width, 'r1', 0, number), `${number}`);
    for (const number of [least - 1, most + 1]) {
      t.throws(() => store(width, 'r1', 0, number), refused('number of insn.store()'), `${number}`);
    }
  }
  for (const offset of [-(2 ** 15), 2 ** 15 - 1]) t.ok(load(8, 'r1', 'r2', offset));
  for (const offset of [-(2 ** 15) - 1, 2 ** 15]) {
    t.throws(() => load(8, 'r1', 'r2', offset), refused('offset of insn.load()'));
    t.throws(() => store(8, 'r1', offset, 'r2'), refused('offset of insn.store()'));
    t.throws(() => atomic('add', 8, 'r1', offset, 'r2'), refused('offset of insn.atomic()'));
  }
  t.throws(
    () => load(5 as 4, 'r1', 'r2', 0),
    refused('width of insn.load()', '1, 2, 4 or 8 bytes'),
  );
});

t.test('atomic operations', async (t) => {
  const operations = {
    ...{ add: 0x00, or: 0x40, and: 0x50, xor: 0xa0, xchg: 0xe1, cmpxchg: 0xf1 },
    ...{ fetch_add: 0x01, fetch_or: 0x41, fetch_and: 0x51, fetch_xor: 0xa1 },
  };
  for (const [name, number] of Object.entries(operations)) {
    const operation = name as keyof typeof operations;
    const immediate = `${number.toString(16).padStart(2, '0')}000000`;
    t.equal(toHex(atomic(operation, 8, 'r1', 4, 'r2')), `db210400${immediate}`, name);
    t.equal(toHex(atomic(operation, 4, 'r1', 4, 'r2')), `c3210400${immediate}`, name);
  }
  for (const width of [1, 2, 3]) {
    t.throws(
      () => atomic('add', width as 4, 'r1', 0, 'r2'),
      refused('width of insn.atomic()', '4 or 8 bytes'),
    );
  }
});

t.test('jumps', async (t) => {
  const comparisons = {
    ...{ eq: 0x10, gt: 0x20, ge: 0x30, set: 0x40, ne: 0x50, sgt: 0x60, sge: 0x70 },
    ...{ lt: 0xa0, le: 0xb0, slt: 0xc0, sle: 0xd0 },
  };
  for (const [name, number] of Object.entries(comparisons)) {
    const how = name as keyof typeof comparisons;
    const wide = [jumpIf(how, 'r1', 1, 'x'), jumpIf(how, 'r1', 'r2', 'x')];
    t.same(wide.map(codeOfJump), [0x05 | number, 0x0d | number], name);
    const narrow = [jumpIf32(how, 'r1', 1, 'x'), jumpIf32(how, 'r1', 'r2', 'x')];
    t.same(narrow.map(codeOfJump), [0x06 | number, 0x0e | number], `${name}, of 32 bits`);
  }
  t.ok(jumpIf32('eq', 'r1', 2 ** 32 - 1, 'x'));
  t.throws(() => jumpIf32('eq', 'r1', 2 ** 32, 'x'), refused('number of insn.jumpIf32()'));
  t.throws(() => jumpIf('eq', 'r1', 2 ** 31, 'x'), refused('number of insn.jumpIf()'));
  t.throws(
    () => jumpIf('eq', 'r1', 'r11' as 'r1', 'x'),
    refused('register of insn.jumpIf()', 'r0 to r10'),
  );
  const distance = (between: number) =>
    Buffer.from(
      program(
        jump('end'),
        Array.from({ length: between }, () => mov('r0', 0)),
        label('end'),
        exit(),
      ),
    ).readInt16LE(2);
  t.equal(distance(0), 0);
  t.equal(distance(32_767), 32_767);
  const back = (between: number) =>
    program(
      label('begin'),
      Array.from({ length: between }, () => mov('r0', 0)),
      jump('begin'),
    );
  t.equal(Buffer.from(back(32_767)).readInt16LE(8 * 32_767 + 2), -32_768);
  t.throws(() => back(32_768), refused('label of insn.program()'));
  t.throws(
    () => program(jump('x')),
    refused('label of insn.program()', 'the name of a label in it (found: none)'),
  );
  t.throws(
    () => program(label('a'), label('b'), jump('x')),
    refused('label of insn.program()', 'the name of a label in it (found: a, b)'),
  );
});

t.test('calls', async (t) => {
  for (const number of [1, 2 ** 31 - 1]) t.ok(call(number));
  for (const number of [0, 2 ** 31]) t.throws(() => call(number), refused('helper of insn.call()'));
  t.equal(toHex(callKernel(7)), '8520000007000000');
  t.equal(toHex(callKernel(2 ** 31 - 1, 32_767)), '8520ff7fffffff7f');
  t.throws(() => callKernel(0), refused('btfId of insn.callKernel()'));
  t.throws(() => callKernel(2 ** 31), refused('btfId of insn.callKernel()'));
  t.throws(() => callKernel(1, 32_768), refused('fdIndex of insn.callKernel()'));
  const bytes = program(callFunction('f'), exit(), label('f'), exit());
  t.equal(toHex(bytes.subarray(0, 8)), '8510000001000000');
  const behind = program(label('f'), exit(), callFunction('f'));
  t.equal(toHex(behind.subarray(8)), '85100000feffffff');
});

t.test('numbers of 64 bits', async (t) => {
  t.equal(toHex(loadNumber('r2', 2n ** 64n - 1n)), '18020000ffffffff00000000ffffffff');
  t.equal(toHex(loadNumber('r2', -(2n ** 63n))), '18020000000000000000000000000080');
  for (const number of [2n ** 64n, -(2n ** 63n) - 1n]) {
    t.throws(() => loadNumber('r2', number), refused('number of insn.loadNumber()'));
  }
  const map = { handle: 3 };
  t.equal(toHex(loadMapValue('r1', map)), '18210000030000000000000000000000');
  t.equal(toHex(loadMapValue('r1', map, 2 ** 32 - 1)), '182100000300000000000000ffffffff');
  t.throws(() => loadMapValue('r1', map, 2 ** 32), refused('offset of insn.loadMapValue()'));
});

t.test('bytes on the stack', async (t) => {
  const hexOf = (offset: number, bytes: number[]) =>
    toHex(program(storeBytes(offset, Uint8Array.from(bytes), 'r1')));
  t.equal(hexOf(-8, [1, 2]), '180100000102000000000000000000007b1af8ff00000000');
  t.equal(
    hexOf(-512, [1, 0, 0, 0, 0, 0, 0, 2, 3]),
    '180100000100000000000000000000027b1a00fe00000000180100000300000000000000000000007b1a08fe00000000',
  );
  t.equal(hexOf(-8, []), '', 'nothing');
  for (const [offset, count] of [
    [0, 1],
    [-8, 9],
    [-4, 1],
    [-520, 1],
    [8, 1],
  ] as const) {
    t.throws(() => hexOf(offset, Array(count).fill(1)), refused('offset of insn.storeBytes()'));
  }
  t.throws(
    () => hexOf(0, Array(9).fill(1)),
    refused('offset of insn.storeBytes()', 'a multiple of 8 from -512 to -16 for 9 bytes'),
  );
  t.throws(
    () => hexOf(0, []),
    refused('offset of insn.storeBytes()', 'a multiple of 8 from -512 to -8 for 0 bytes'),
  );
});
