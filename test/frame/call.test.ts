import { readFileSync } from 'node:fs';
import { Encoder } from 'cbor-x/decode';
import t from 'tap';
import type { Call, ChainedCall } from '../../src/call.js';
import {
  callFrameBound,
  callFrameParts,
  chainFrame,
  HEADER_BYTES,
  outputLengths,
  parseHeader,
  parseReply,
  putCallFrame,
} from '../../src/frame/index.js';

const oracle = new Encoder({ useRecords: false });

const bytes = (length: number, fill = 1) => Buffer.alloc(length, fill);

const calls: Record<string, Call> = {
  'a bare attribute': { command: 0, args: 1, result: 3, buffers: [bytes(20)], relocations: [] },
  'a lookup': {
    command: 1,
    args: 1,
    result: 0,
    buffers: [bytes(32), bytes(4), 128],
    relocations: [0, 0, 1, 7, 0, 8, 0, 1, 0, 16, 0, 2],
  },
  'every direction and every width of a number': {
    command: 0x10005,
    args: 2,
    result: 0xffffffff,
    buffers: [{ inout: bytes(168) }, bytes(0), bytes(23), bytes(24), bytes(255), bytes(256), 65536],
    relocations: [0, 255, 0, 256, 1, 65535, 2, 65536, 2, 0xffffffff, 0, 23, 3, 24, 1, 4],
  },
  'numbers that need eight bytes': {
    command: 2 ** 32,
    args: 1,
    result: 2 ** 40 + 3,
    buffers: [2 ** 52 + 5],
    relocations: [],
  },
  'buffers around the length from which they are copied at once': {
    command: 1,
    args: 1,
    result: 0,
    buffers: [47, 48, 49, 50].flatMap((length) => [
      Buffer.from(Array.from({ length }, (_, at) => at + length)),
      { inout: bytes(length, length) },
    ]),
    relocations: [],
  },
  'as many long numbers as the bound has room for': {
    command: 1,
    args: 1,
    result: 0,
    buffers: Array(80).fill(2 ** 52),
    relocations: [],
  },
  'more relocations than anything else': {
    command: 1,
    args: 1,
    result: 0,
    buffers: [],
    relocations: Array(100).fill(0xffffffff),
  },
  'more buffers than fit in a short head': {
    command: 5,
    args: 1,
    result: 1,
    buffers: Array.from({ length: 300 }, (_, i) => bytes(i % 70)),
    relocations: Array.from({ length: 400 }, (_, i) => i),
  },
  'a large program': {
    command: 5,
    args: 1,
    result: 1,
    buffers: [bytes(144), bytes(8_000_000), { inout: bytes(70_000) }],
    relocations: [],
  },
};

/** cbor-x writes a number that needs more than 32 bits as a floating-point number. */
const integer = (value: number) => (value < 2 ** 32 ? value : BigInt(value));
const plain = (call: Call) => [
  integer(call.command),
  call.args,
  integer(call.result),
  call.buffers.map((b) =>
    typeof b === 'number' ? integer(b) : b instanceof Uint8Array ? b : [b.inout],
  ),
  call.relocations,
];

for (const [name, call] of Object.entries(calls)) {
  t.test(`a CALL frame has the bytes that cbor-x writes: ${name}`, async (t) => {
    const target = new Uint8Array(callFrameBound(call));
    const length = putCallFrame(target, 0x12345678, call);
    const expected = oracle.encode(plain(call));
    t.ok(Buffer.from(target.subarray(HEADER_BYTES, length)).equals(expected), 'body');
    t.same(parseHeader(target), {
      length: expected.length,
      type: 0x10,
      flags: 0,
      reserved: 0,
      id: 0x12345678,
    });
    const joined = Buffer.concat(callFrameParts(0x12345678, call));
    t.ok(joined.equals(target.subarray(0, length)), 'the parts of the same frame, joined');
  });
}

t.test('the example in PROTOCOL.md is what the encoder writes', async (t) => {
  const text = readFileSync(new URL('../../../PROTOCOL.md', import.meta.url), 'utf8');
  const example = text.slice(
    text.lastIndexOf('```\n', text.length - 5) + 4,
    text.lastIndexOf('```'),
  );
  const hex = example
    .split('\n')
    .map((line) => line.split('      ')[0] ?? '')
    .join(' ')
    .replace(/\((\d+) zero bytes\)/, (_, count) => '00'.repeat(Number(count)))
    .replace(/\s/g, '');
  const call: Call = {
    command: 1,
    args: 1,
    result: 0,
    buffers: [bytes(32, 0), Buffer.from([1, 0, 0, 0]), 8],
    relocations: [0, 0, 1, 7, 0, 8, 0, 1, 0, 16, 0, 2],
  };
  const target = new Uint8Array(callFrameBound(call));
  const length = putCallFrame(target, 5, call);
  t.equal(Buffer.from(target.subarray(0, length)).toString('hex'), hex);
});

t.test('the chain in PROTOCOL.md is what the encoder writes', async (t) => {
  const text = readFileSync(new URL('../../../PROTOCOL.md', import.meta.url), 'utf8');
  const [first = '', second = ''] = [...text.matchAll(/^(?:CHAIN {2}\[| {8})h'(85 .*)'/gm)].map(
    ([, body = '']) => body.replace('(32 zero bytes)', '00'.repeat(32)).replace(/\s/g, ''),
  );
  const frame = chainFrame(5, [
    {
      command: 4,
      args: 1,
      buffers: [bytes(32, 0), 4],
      relocations: [0, 0, 1, 7, 0, 16, 0, 1],
    },
    {
      command: 1,
      args: 1,
      buffers: [bytes(32, 0), { call: 0, output: 0 }, 8],
      relocations: [0, 0, 1, 7, 0, 8, 0, 1, 0, 16, 0, 2],
    },
  ]);
  const bodies = [first, second].map((body) => Buffer.from(body, 'hex'));
  t.ok(Buffer.from(frame.subarray(HEADER_BYTES)).equals(oracle.encode(bodies)));
  t.equal(parseHeader(frame).type, 0x1d);
});

t.test('a CHAIN frame has the bytes that cbor-x writes, however long its calls are', async (t) => {
  const chain = [0, 3, 16, 200, 300, 60_000, 70_000].map(
    (length): ChainedCall => ({
      command: 1,
      args: 1,
      buffers: [bytes(length), { inout: bytes(3) }, 300, { call: 300, output: 70_000 }],
      relocations: [],
    }),
  );
  const bodies = chain.map(({ command, args, buffers: [first, , out] }) =>
    oracle.encode([command, args, 0, [first, [bytes(3)], out, [300, 70_000]], []]),
  );
  const frame = chainFrame(1, chain);
  t.ok(Buffer.from(frame.subarray(HEADER_BYTES)).equals(oracle.encode(bodies)));
});

t.test('a RESULT is read back', async (t) => {
  const body = oracle.encode([-1, 28, [Buffer.from('log'), Buffer.alloc(0), bytes(300)]]);
  const reply = parseReply(body, 0, body.length, [8, 4, 300], false);
  t.equal(reply.result, -1);
  t.equal(reply.errno, 28);
  t.same(
    reply.outputs.map((output) => Buffer.from(output).toString('latin1')),
    ['log\0\0\0\0\0', '\0\0\0\0', bytes(300).toString('latin1')],
    'missing trailing zeros are filled in',
  );
  const refusal = oracle.encode([-14, 0, []]);
  t.equal(parseReply(refusal, 0, refusal.length, [], false).result, -14);
  const large = oracle.encode([4096, 0, []]);
  t.equal(parseReply(large, 0, large.length, [], false).result, 4096);
  t.same(outputLengths(calls['every direction and every width of a number'] as Call), [168, 65536]);
});

t.test(
  'outputs of a RESULT alias its frame where that is allowed and they are whole',
  async (t) => {
    const body = oracle.encode([7, 0, [Buffer.from('whole'), Buffer.from('cut')]]);
    const outputs = (lengths: number[] | undefined, alias: boolean) => {
      const { outputs } = parseReply(body, 0, body.length, lengths, alias);
      return {
        // A place without an output is no place to leave out.
        texts: Array.from(outputs, (output) => Buffer.from(output).toString()),
        aliases: Array.from(outputs, ({ buffer }) => buffer === body.buffer),
      };
    };
    const padded = ['whole', 'cut\0\0'];
    t.same(outputs([5, 5], true), { texts: padded, aliases: [true, false] });
    t.same(outputs([5, 5], false), { texts: padded, aliases: [false, false] });
    t.same(outputs(undefined, true), { texts: ['whole', 'cut'], aliases: [true, true] });
    const large = Buffer.from(Array.from({ length: 60 }, (_, at) => at));
    const around = oracle.encode([0, 0, [47, 48, 49, 60].map((end) => large.subarray(0, end))]);
    const reply = parseReply(around, 0, around.length, [60, 60, 60, 60], false);
    for (const [at, end] of [47, 48, 49, 60].entries()) {
      const expected = Buffer.concat([large.subarray(0, end), Buffer.alloc(60 - end)]);
      t.same(Buffer.from(reply.outputs[at] as Uint8Array), expected);
    }
  },
);

t.test('what is amiss in a RESULT is said', async (t) => {
  const why = (value: unknown, lengths?: number[]) => {
    const body = oracle.encode(value);
    try {
      return parseReply(body, 0, body.length, lengths, false);
    } catch (error) {
      return (error as Error).message.replace(/^Malformed frame: (.*)\.$/, '$1');
    }
  };
  t.equal(why([0, 0]), 'a result is not an array of 3 items');
  t.equal(why([0, 0, [], 1]), 'a result is not an array of 3 items');
  t.equal(why([0, 0, []], [4]), 'a result has 0 outputs where 1 were asked for');
  t.equal(why([0, 0, [bytes(5)]], [4]), 'output 0 of a result has 5 bytes where 4 fit');
  t.match(why([0, 0, [bytes(4)]], [4]), { result: 0, outputs: [bytes(4)] });
  t.match(why(['0', 0, []]), /^a result has an unexpected item at byte 1$/);
  const announced = Uint8Array.of(0x83, 0, 0, 0x99, 0x01, 0x00, 0x40);
  const message = /a result announces 256 outputs\.$/;
  t.throws(() => parseReply(announced, 0, announced.length, undefined, false), { message });
  const short = Uint8Array.of(0x83, 0, 0, 0x81, 0x43, 1, 2);
  t.throws(() => parseReply(short, 0, short.length, undefined, false), {
    message: /output 0 of a result has 3 bytes where 2 fit\.$/,
  });
  const trailing = Uint8Array.of(0x83, 0, 0, 0x80, 0);
  t.throws(() => parseReply(trailing, 0, trailing.length, undefined, false), {
    message: /bytes follow the outputs of a result\.$/,
  });
});

t.test('a frame of a call can ask for an answer that may wait', async (t) => {
  const call = calls['a lookup'] as Call;
  const target = new Uint8Array(callFrameBound(call));
  putCallFrame(target, 1, call, 1);
  t.equal(parseHeader(target).flags, 1);
});

t.test('the parts of a frame alias its buffers', async (t) => {
  const { buffers } = calls['a large program'] as Call;
  const parts = callFrameParts(1, calls['a large program'] as Call);
  t.ok(parts.includes(buffers[1] as Uint8Array));
  t.ok(parts.includes((buffers[2] as { inout: Uint8Array }).inout));
  const empty = callFrameParts(1, { ...(calls['a lookup'] as Call), buffers: [bytes(0), 4] });
  t.equal(empty.length, 1, 'what is empty is no part');
});

t.test('a RESULT cut short anywhere, or with anything amiss, is refused', async (t) => {
  const body = oracle.encode([0, 0, [bytes(40), bytes(3)]]);
  for (let end = 0; end < body.length; end++) {
    t.throws(
      () => parseReply(body, 0, end, [40, 3], false),
      { code: 'ERR_FRAME_MALFORMED' },
      `cut at ${end}`,
    );
  }
  const wrong: Record<string, unknown> = {
    'not an array': 1,
    'too few items': [0, 0],
    'a text for a number': ['0', 0, []],
    'too many outputs': [0, 0, [bytes(40), bytes(3), bytes(1)]],
    'an output that is too long': [0, 0, [bytes(41), bytes(3)]],
    'an output that is no bytes': [0, 0, [bytes(40), 3]],
  };
  for (const [name, value] of Object.entries(wrong)) {
    const encoded = oracle.encode(value);
    t.throws(
      () => parseReply(encoded, 0, encoded.length, [40, 3], false),
      { code: 'ERR_FRAME_MALFORMED' },
      name,
    );
  }
  const trailing = Buffer.concat([body, Buffer.from([0])]);
  t.throws(() => parseReply(trailing, 0, trailing.length, [40, 3], false), {
    code: 'ERR_FRAME_MALFORMED',
  });
});
