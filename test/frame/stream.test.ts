import { type Duplex, PassThrough } from 'node:stream';
import t from 'tap';
import { failure } from '../../src/errors.js';
import {
  decodeBody,
  errorBody,
  FrameAssembler,
  FrameType,
  HEADER_BYTES,
  messageFrame,
  parseError,
  parseHello,
  parseWelcome,
  putHeader,
  readFrame,
} from '../../src/frame/index.js';

const never = new AbortController().signal;

t.test('frames are assembled from chunks of any size', async (t) => {
  const frames = [
    messageFrame(FrameType.CALL, 1, ['first']),
    messageFrame(FrameType.CLOSE, 2, []),
    messageFrame(FrameType.RESULT, 3, Buffer.alloc(1000, 7)),
  ];
  const stream = Buffer.concat(frames);
  for (const size of [1, 2, 3, 7, 12, 13, 100, stream.length]) {
    const assembler = new FrameAssembler(4096);
    const got: unknown[] = [];
    for (let at = 0; at < stream.length; at += size) {
      assembler.add(stream.subarray(at, at + size));
      for (let frame = assembler.next(); frame !== undefined; frame = assembler.next()) {
        t.not(frame.body instanceof Buffer, true, 'slice() of a body is a copy');
        got.push([frame.type, frame.id, decodeBody(frame.body)]);
      }
    }
    t.same(
      got,
      [
        [FrameType.CALL, 1, ['first']],
        [FrameType.CLOSE, 2, []],
        [FrameType.RESULT, 3, Buffer.alloc(1000, 7)],
      ],
      `in chunks of ${size}`,
    );
    t.equal(assembler.pendingBytes, 0);
  }
});

t.test('a frame that cannot be skipped is refused by its header', async (t) => {
  const large = new Uint8Array(HEADER_BYTES);
  putHeader(large, 0, 4097, FrameType.CALL, 1);
  const assembler = new FrameAssembler(4096);
  assembler.add(large);
  t.throws(() => assembler.next(), {
    code: 'ERR_FRAME_TOO_LARGE',
    detail: { length: 4097, maximum: 4096 },
  });
  for (const index of [5, 6, 7]) {
    const header = new Uint8Array(HEADER_BYTES);
    header[index] = 1;
    const strict = new FrameAssembler(4096);
    strict.add(header);
    t.throws(() => strict.next(), { code: 'ERR_FRAME_MALFORMED' }, `byte ${index}`);
  }
});

t.test('reading one frame leaves what follows it in the stream', async (t) => {
  const stream = new PassThrough() as unknown as Duplex;
  const frame = messageFrame(FrameType.HELLO, 9, { protocol: 1, client: 'x' });
  stream.write(Buffer.concat([frame, Buffer.from('rest')]));
  const read = await readFrame(stream, 4096, never);
  t.match(parseHello(read.body), { protocol: 1, client: 'x' });
  t.equal(stream.read().toString(), 'rest');
});

t.test('reading a frame ends with the stream, its error or the signal', async (t) => {
  const ended = new PassThrough() as unknown as Duplex;
  ended.end(messageFrame(FrameType.HELLO, 9, 'x').subarray(0, 7));
  await t.rejects(readFrame(ended, 4096, never), {
    code: 'ERR_FRAME_TRUNCATED',
    detail: { received: 7, expected: 12 },
  });
  const broken = new PassThrough() as unknown as Duplex;
  const pending = readFrame(broken, 4096, never);
  broken.destroy(new Error('torn'));
  await t.rejects(pending, { message: 'torn' });
  const silent = new PassThrough() as unknown as Duplex;
  const reason = new Error('enough');
  const abort = new AbortController();
  const waiting = readFrame(silent, 4096, abort.signal);
  abort.abort(reason);
  await t.rejects(waiting, { message: 'enough' });
  t.equal(silent.listenerCount('readable'), 0, 'no listener stays behind');
});

t.test('handshakes are checked', async (t) => {
  const encode = (value: unknown) => messageFrame(1, 0, value).subarray(HEADER_BYTES);
  t.throws(() => parseHello(encode({ protocol: 2, client: 'x' })), {
    code: 'ERR_PROTOCOL_VERSION',
    message: /^The agent speaks version 1 of the protocol, the client version 2\./,
    detail: { offered: 2, supported: 1, speaker: 'agent' },
  });
  for (const [value, why] of [
    [{ client: 'x' }, /protocol is missing/],
    [{ protocol: 1 }, /client is missing/],
    [{ protocol: 1, client: 5 }, /client is a number/],
    ['hello', /is not a map/],
    [null, /is not a map/],
  ] as const) {
    t.throws(() => parseHello(encode(value)), { code: 'ERR_FRAME_MALFORMED', message: why });
  }
  t.throws(() => parseHello(Buffer.from([0x61])), { code: 'ERR_FRAME_MALFORMED' });
  t.throws(() => parseWelcome(encode({ protocol: 1, agent: 'a', profile: 'p', limits: {} })), {
    message: /kernel is not a map/,
  });
});

t.test('errors travel as their code and facts', async (t) => {
  const sent = failure('ERR_HANDLE_UNKNOWN', { handle: 5 });
  const body = messageFrame(FrameType.ERROR, 0, errorBody(sent)).subarray(HEADER_BYTES);
  const got = parseError(body);
  t.match(got, { code: 'ERR_HANDLE_UNKNOWN', message: sent.message, detail: { handle: 5 } });
  const strange = messageFrame(FrameType.ERROR, 0, ['ERR_FROM_THE_FUTURE', { a: 1 }]);
  t.match(parseError(strange.subarray(HEADER_BYTES)), {
    code: 'ERR_PROTOCOL_UNEXPECTED',
    message: /ERR_FROM_THE_FUTURE/,
  });
  for (const detail of [null, {}, { known: 7 }]) {
    const foreign = messageFrame(3, 0, ['ERR_BENCH_EXPERIMENT', detail]);
    t.match(parseError(foreign.subarray(HEADER_BYTES)), {
      code: 'ERR_FRAME_MALFORMED',
      message: /the details of ERR_BENCH_EXPERIMENT are not its own/,
    });
  }
  t.match(parseError(messageFrame(3, 0, 'x').subarray(HEADER_BYTES)), {
    code: 'ERR_FRAME_MALFORMED',
  });
});
