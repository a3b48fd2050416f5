import { spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { compilePrograms } from '../../bench/compile.js';
import { nativeCommand, nativeSamples } from '../../bench/limit.js';
import { encodeCallFile } from '../../bench/programs/call-file.js';
import { attachCall, instructions, loadCall } from '../../bench/programs/figure2.js';

t.test('the program is the one of Figure 2', async (t) => {
  t.same(Buffer.from(instructions).toString('hex').match(/.{16}/g), [
    '7911080000000000', // r1 = *(u64 *)(r1 + 8)
    '55010a003b000000', // if r1 != 59 goto +10
    '1801000048656c6c', // r1 = "Hello Wo"
    '000000006f20576f',
    '7b1af0ff00000000', // *(u64 *)(r10 - 16) = r1
    '18010000726c6421', // r1 = "rld!\n"
    '000000000a000000',
    '7b1af8ff00000000', // *(u64 *)(r10 - 8) = r1
    'bfa1000000000000', // r1 = r10
    '07010000f0ffffff', // r1 += -16
    'b70200000e000000', // r2 = 14
    '8500000006000000', // call bpf_trace_printk
    'b700000000000000', // r0 = 0
    '9500000000000000', // exit
  ]);
});

t.test('a file of calls has the layout that native.c reads', async (t) => {
  const file = encodeCallFile([
    {
      name: 'ONE',
      call: {
        command: 17,
        args: 1,
        result: 2,
        buffers: [Buffer.from('ab'), 3, { inout: Buffer.from('c') }],
        relocations: [0, 0, 0, 1, 0, 8, 1, 1],
      },
    },
  ]);
  t.equal(
    file.toString('hex'),
    [
      Buffer.from('WAEPCALL').toString('hex'),
      '01000000',
      Buffer.from('ONE'.padEnd(32, '\0')).toString('hex'),
      '11000000020000000300000002000000',
      '00000000020000006162',
      '0100000003000000',
      '020000000100000063',
      '00000000000000000000000001000000',
      '00000000080000000100000001000000',
    ].join(''),
  );
});

const refused = bpfRefused();

t.test('the verifier accepts it, and it attaches', { skip: refused }, async (t) => {
  const { native } = await compilePrograms();
  const calls = join(t.testdir(), 'calls');
  await writeFile(
    calls,
    encodeCallFile([
      { name: 'PROG_LOAD', call: loadCall(1) },
      { name: 'RAW_TRACEPOINT_OPEN', call: attachCall(1, 2) },
    ]),
  );
  const [program = '', ...args] = nativeCommand(native, calls, 0, { samples: 3, warmup: 1 });
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  t.equal(status, 0, stderr);
  const samples = nativeSamples(stdout);
  for (const name of ['PROG_LOAD', 'RAW_TRACEPOINT_OPEN']) {
    const values = samples.get(name) ?? [];
    t.equal(values.length, 3, name);
    t.ok(
      values.every((value) => value > 1000 && value < 60e9),
      `${name}: ${values} ns`,
    );
  }

  await writeFile(
    calls,
    encodeCallFile([{ name: 'BAD', call: { ...loadCall(1), command: 4096 } }]),
  );
  const bad = spawnSync(program, args, { encoding: 'utf8' });
  t.equal(bad.status, 1);
  t.match(bad.stderr, /native: BAD: Invalid argument/);
});

/** Why bpf(2) cannot be tried here, or false. */
function bpfRefused(): string | false {
  return process.getuid?.() === 0 ? false : 'bpf(2) needs root (try: sudo npm test)';
}
