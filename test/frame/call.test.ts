import { readFileSync } from 'node:fs';
import { Encoder } from 'cbor-x/decode';
import t from 'tap';
import type { Call } from '../../src/call.js';
import {
  callFrameBound,
  callFrameParts,
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

const plain = (call: Call) => [
  call.command,
  call.args,
  call.result,
  call.buffers.map((b) => (typeof b === 'number' || b instanceof Uint8Array ? b : [b.inout])),
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
  const large = oracle.encode([4096, 0, []]);
  t.equal(parseReply(large, 0, large.length, [], false).result, 4096);
  t.same(outputLengths(calls['every direction and every width of a number'] as Call), [168, 65536]);
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
