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

t.test('the assembler tells what it waits for, and gives back what it has', async (t) => {
  const frame = messageFrame(FrameType.CALL, 1, Buffer.alloc(20, 3));
  const assembler = new FrameAssembler(4096);
  t.equal(assembler.expectedBytes, HEADER_BYTES);
  assembler.add(new Uint8Array(0));
  assembler.add(frame.subarray(0, 5));
  t.equal(assembler.pendingBytes, 5);
  t.equal(assembler.expectedBytes, HEADER_BYTES, 'the length is not there yet');
  assembler.add(frame.subarray(5, HEADER_BYTES));
  t.equal(assembler.expectedBytes, frame.length);
  t.equal(assembler.next(), undefined);
  assembler.add(frame.subarray(HEADER_BYTES, 20));
  t.same(Buffer.from(assembler.rest()), Buffer.from(frame.subarray(0, 20)));
  t.equal(assembler.pendingBytes, 0);
  assembler.add(frame);
  t.match(assembler.next(), { type: FrameType.CALL, id: 1 }, 'and begins anew');
  const largest = new FrameAssembler(frame.length - HEADER_BYTES);
  largest.add(frame);
  t.ok(largest.next(), 'a frame may have as many bytes as is allowed');
});

t.test('a server of another protocol is recognised by its text', async (t) => {
  const refusal = (header: string | Uint8Array) => {
    const assembler = new FrameAssembler(4096);
    assembler.add(Buffer.from(header));
    try {
      return assembler.next();
    } catch (error) {
      return (error as Error).message;
    }
  };
  t.equal(
    refusal('SSH-2.0-Open\r\n'),
    'Malformed frame: its header is the text "SSH-2.0-Open"; expected zeros.',
  );
  t.match(refusal('HTTP/1.1 400'), /the text "HTTP\/1\.1 400"/);
  t.match(refusal('\t~ ~ ~ ~ \r\n.'), /is the text/);
  t.match(refusal('SSH-2.0-Ope\0'), /has flags \d+ and reserved \d+/, 'not all of it is text');
  t.match(refusal('\0SH-2.0-Open'), /has flags \d+ and reserved \d+/);
  const header = new Uint8Array(HEADER_BYTES);
  header.set([4, 2, 1, 0], 4);
  t.equal(refusal(header), 'Malformed frame: JOIN has flags 2 and reserved 1; expected zeros.');
});

t.test(
  'reading a frame leaves no listener behind, and does not begin when it is too late',
  async (t) => {
    const listeners = (stream: Duplex) =>
      ['readable', 'end', 'close', 'error'].map((name) => stream.listenerCount(name));
    const stream = new PassThrough() as unknown as Duplex;
    const before = listeners(stream);
    const frame = messageFrame(FrameType.HELLO, 9, 'x');
    const reading = readFrame(stream, 4096, never);
    stream.write(frame.subarray(0, 3));
    await new Promise(setImmediate);
    stream.write(frame.subarray(3));
    t.match(await reading, { type: FrameType.HELLO, id: 9 });
    t.same(listeners(stream), before);
    await t.rejects(readFrame(stream, 4096, AbortSignal.abort(new Error('too late'))), {
      message: 'too late',
    });
    t.same(listeners(stream), before);
    const large = new PassThrough() as unknown as Duplex;
    large.write(messageFrame(FrameType.HELLO, 9, 'x'.repeat(100)));
    await t.rejects(readFrame(large, 50, never), { code: 'ERR_FRAME_TOO_LARGE' });
    const closed = new PassThrough() as unknown as Duplex;
    const waiting = readFrame(closed, 4096, never);
    closed.destroy();
    await t.rejects(waiting, {
      code: 'ERR_FRAME_TRUNCATED',
      detail: { received: 0, expected: HEADER_BYTES },
    });
  },
);

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
