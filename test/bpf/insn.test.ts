import t, { type Test } from 'tap';
import { enums, insn } from '../../src/bpf/index.js';
import { Session } from '../../src/session.js';
import { localAgent } from '../agent/local-agent.js';
import { whyNoKernel } from './kernel.js';

const { alu, alu32, atomic, callFunction, exit, jumpIf, jumpIf32 } = insn;
const { label, load, loadNumber, mov, neg, program, store, swap } = insn;
type Parts = (insn.Instruction | readonly insn.Instruction[])[];

t.test('instructions do what they say in a kernel', { skip: whyNoKernel() }, async (t) => {
  const local = await localAgent();
  t.teardown(local.close);
  const session = await Session.connect(local.address);
  t.teardown(() => session.close());

  /** What a program of a socket filter leaves in `r0`, of which the kernel shows 32 bits. */
  async function run(...parts: Parts): Promise<number> {
    const insns = program(...parts, exit());
    const type = enums.ProgType.BPF_PROG_TYPE_SOCKET_FILTER;
    const loaded = await session.loadProgram({ type, instructions: insns, license: 'GPL' });
    const { returnValue } = await loaded.testRun({ data: new Uint8Array(64) });
    await loaded.close();
    return returnValue;
  }

  async function leaves(t: Test, name: string, value: number, ...parts: Parts) {
    t.equal(await run(...parts), value, name);
  }

  t.test('arithmetic of 64 and of 32 bits', async (t) => {
    const upper = loadNumber('r0', 0x1_0000_0005n);
    const half = alu('rsh', 'r0', 32);
    await leaves(t, 'the upper half stays', 1, upper, alu('add', 'r0', 2), half);
    await leaves(t, 'the upper half is cleared', 0, upper, alu32('add', 'r0', 2), half);
    await leaves(t, 'unsigned', 0xffffffff, mov('r0', 0), alu32('or', 'r0', 0xffffffff));
    await leaves(t, 'sign extension', 0xffffffff, mov('r0', -2), half);
    await leaves(t, 'negation', 0xfffffff9, mov('r0', 7), neg('r0'));
    await leaves(t, 'a register', 42, mov('r1', 6), mov('r0', 7), alu32('mul', 'r0', 'r1'));
  });

  t.test('the order of bytes', async (t) => {
    const number = mov('r0', 0x11223344);
    await leaves(t, 'to big endian', 0x44332211, number, swap('be', 32, 'r0'));
    await leaves(t, '16 bits', 0x4433, number, swap('be', 16, 'r0'));
    await leaves(t, 'to little endian', 0x3344, number, swap('le', 16, 'r0'));
    const wide = loadNumber('r0', 0x1122334455667788n);
    await leaves(t, '64 bits', 0x44332211, wide, swap('be', 64, 'r0'));
  });

  t.test('memory, signed and unsigned numbers', async (t) => {
    const byte = [store(8, 'r10', -8, 0), store(1, 'r10', -8, 255), store(1, 'r10', -7, -1)];
    await leaves(t, 'bytes', 0xffff, byte, load(8, 'r0', 'r10', -8));
    const word = [store(8, 'r10', -8, -1), store(4, 'r10', -8, 0xfffffffe)];
    await leaves(t, 'words', 0xfffffffe, word, load(4, 'r0', 'r10', -8));
  });

  t.test('atomic operations', async (t) => {
    const begin = [store(8, 'r10', -8, 40), mov('r1', 2)];
    const read = load(8, 'r0', 'r10', -8);
    await leaves(t, 'add', 42, begin, atomic('add', 8, 'r10', -8, 'r1'), read);
    await leaves(t, 'or, of 4 bytes', 42, begin, atomic('or', 4, 'r10', -8, 'r1'), read);
    const fetched = [atomic('fetch_add', 8, 'r10', -8, 'r1'), mov('r0', 'r1')];
    await leaves(t, 'what was there', 40, begin, fetched);
    const swapped = [atomic('xchg', 8, 'r10', -8, 'r1'), read];
    await leaves(t, 'exchange', 2, begin, swapped);
    const compared = [mov('r0', 40), atomic('cmpxchg', 8, 'r10', -8, 'r1'), read];
    await leaves(t, 'compare and exchange', 2, begin, compared);
    const different = [mov('r0', 41), atomic('cmpxchg', 8, 'r10', -8, 'r1')];
    await leaves(t, 'compare, and leave', 40, begin, different);
  });

  t.test('jumps and functions', async (t) => {
    const value = loadNumber('r1', 0x1_0000_0007n);
    const ends = [mov('r0', 1), exit(), label('other'), mov('r0', 2)];
    await leaves(t, 'of 64 bits', 1, value, jumpIf('eq', 'r1', 7, 'other'), ends);
    await leaves(t, 'of 32 bits', 2, value, jumpIf32('eq', 'r1', 7, 'other'), ends);
    const minus = mov('r1', -1);
    await leaves(t, 'signed', 2, minus, jumpIf('slt', 'r1', 0, 'other'), ends);
    await leaves(t, 'unsigned', 2, minus, jumpIf32('gt', 'r1', 0xfffffffe, 'other'), ends);
    const twice = [label('twice'), mov('r0', 'r1'), alu('add', 'r0', 'r1')];
    await leaves(t, 'a call', 42, mov('r1', 21), callFunction('twice'), exit(), twice);
  });
});

t.test('what would be cut off or be another instruction is refused', async (t) => {
  const any = insn as unknown as { [name: string]: (...operands: unknown[]) => unknown };
  const mistakes: [string, unknown[], string, string][] = [
    ['mov', ['r0', 2 ** 40], '1099511627776', 'loadNumber'],
    ['mov', ['r0', 0xffffffff], '4294967295', '2147483647'],
    ['mov', ['r0', 1.5], '1.5', 'whole number'],
    ['mov', ['rax', 1], 'rax', 'r0 to r10'],
    ['mov', ['r11', 1], 'r11', 'r0 to r10'],
    ['mov', ['r0', undefined], 'undefined', 'r0 to r10'],
    ['alu', ['ad', 'r0', 1], 'ad', 'add, sub'],
    ['alu', ['toString', 'r0', 1], 'toString', 'add, sub'],
    ['alu', ['lsh', 'r0', 64], '64', '0 to 63'],
    ['alu32', ['lsh', 'r0', 32], '32', '0 to 31'],
    ['alu', ['div', 'r0', 0], '0', 'not 0'],
    ['alu32', ['add', 'r0', 2 ** 32], '4294967296', '4294967295'],
    ['load', [3, 'r0', 'r1', 0], '3', '1, 2, 4 or 8'],
    ['load', [8, 'r0', 'r1', 40_000], '40000', '-32768 to 32767'],
    ['store', [8, 'r10', -8, 2 ** 31], '2147483648', '2147483647'],
    ['store', [1, 'r10', -8, 256], '256', '255'],
    ['store', ['8x', 'r10', -8, 1], '8x', '1, 2, 4 or 8'],
    ['atomic', ['add', 2, 'r0', 0, 'r1'], '2', '4 or 8'],
    ['atomic', ['inc', 8, 'r0', 0, 'r1'], 'inc', 'fetch_add'],
    ['swap', ['be', 8, 'r0'], '8', '16, 32 or 64'],
    ['loadNumber', ['r0', 2n ** 70n], '1180591620717411303424', '2n ** 64n'],
    ['loadNumber', ['r0', 5], '5', 'bigint'],
    ['loadMap', ['r1', undefined], 'undefined', 'a map'],
    ['loadMapValue', ['r1', { handle: 1 }, -1], '-1', '0 to'],
    ['call', [undefined], 'undefined', 'whole number from 1'],
    ['call', [0], '0', 'whole number from 1'],
    ['callKernel', [7, -1], '-1', '0 to 32767'],
    ['jumpIf', ['eqq', 'r0', 1, 'x'], 'eqq', 'eq, gt'],
    ['jumpIf', ['eq', 'r0', 2 ** 31, 'x'], '2147483648', '2147483647'],
    ['storeBytes', [-12, new Uint8Array(8), 'r1'], '-12', 'multiple of 8'],
    ['storeBytes', [-8, new Uint8Array(9), 'r1'], '-8', '-16'],
    ['program', [insn.jump('nowhere'), insn.label('here')], 'nowhere', 'here'],
    ['program', [insn.label('here'), insn.label('here')], 'here', 'once'],
  ];
  for (const [name, operands, value, expected] of mistakes) {
    try {
      any[name]?.(...operands);
      t.fail(`${name}(${operands}) was accepted`);
    } catch (error) {
      const { code, message } = error as { code?: string; message: string };
      t.equal(code, 'ERR_OPTION_INVALID', `${name}: ${message}`);
      for (const part of [`insn.${name}()`, value, expected]) {
        t.ok(message.includes(part), `${JSON.stringify(message)} has ${part}`);
      }
    }
  }
  const far = Array.from({ length: 32_768 }, () => insn.mov('r0', 0));
  t.throws(() => program(insn.jump('end'), far, insn.label('end'), exit()), /32767/);
});
