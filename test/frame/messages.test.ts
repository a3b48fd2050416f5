import t from 'tap';
import { failure } from '../../src/errors.js';
import {
  decodeBody,
  errorBody,
  FrameType,
  HEADER_BYTES,
  ioctlBody,
  messageFrame,
  parseError,
  parseHeader,
  parseHello,
  parseJoin,
  parseWelcome,
  perfOpenBody,
} from '../../src/frame/index.js';

const encode = (value: unknown) => messageFrame(1, 0, value).subarray(HEADER_BYTES);
const refused = (why: string) => ({
  code: 'ERR_FRAME_MALFORMED',
  message: `Malformed frame: ${why}`,
});

t.test('a frame has its header, and a body or none', async (t) => {
  const frame = messageFrame(FrameType.OPEN, 7, ['/x', 3]);
  t.match(parseHeader(frame), { length: frame.length - HEADER_BYTES, type: FrameType.OPEN, id: 7 });
  t.same(decodeBody(frame.subarray(HEADER_BYTES)), ['/x', 3]);
  const empty = messageFrame(FrameType.PING, 8, undefined);
  t.equal(empty.length, HEADER_BYTES);
  t.match(parseHeader(empty), { length: 0, type: FrameType.PING, id: 8 });
  t.equal(encode(new Uint8Array(3))[0], 0x43, 'bytes have no tag');
  t.equal(encode({ a: 1 })[0], 0xb9, 'and maps are maps');
});

t.test('a body is one item of the CBOR that the protocol has', async (t) => {
  const values = [0, -1, 2 ** 40, 'x', [], {}, [1, [2, { a: [true, false] }]], null, 1.5];
  for (const value of values) t.same(decodeBody(encode(value)), value);
  const deep = (levels: number) => [...Array(levels).fill(0x81), 0];
  t.ok(decodeBody(Uint8Array.from(deep(8))));
  const refused: [what: string, bytes: number[], why: RegExp][] = [
    ['nothing', [], /ends at byte 0/],
    ['a text that ends early', [0x61], /the item at byte 0 has 1 parts and 0 bytes/],
    ['an array of more than there is', [0x9a, 0xff, 0xff, 0xff, 0xff, 0], /4294967295 parts/],
    ['a map of more than there is', [0xa1, 0], /has 2 parts and 1 bytes/],
    ['a number that ends early', [0x82, 0x19, 0], /within the number at byte 1/],
    ['an item behind it', [0, 0], /1 bytes behind its item/],
    ['a tag', [0xc1, 0], /another kind \(0xc1\)/],
    ['records of cbor-x', [0xd9, 0xdf, 0xff, 0x80], /another kind \(0xd9\)/],
    ['an array without a length', [0x9f, 0xff], /another kind \(0x9f\)/],
    ['a text without a length', [0x7f, 0xff], /another kind \(0x7f\)/],
    ['an unassigned simple value', [0xe0], /another kind \(0xe0\)/],
    ['a long simple value', [0xf8, 0xff], /another kind \(0xf8\)/],
    ['arrays that lie too deep', deep(9), /byte 8 lies deeper than 8 others/],
  ];
  for (const [what, bytes, why] of refused) {
    const error = { code: 'ERR_FRAME_MALFORMED', message: why };
    t.throws(() => decodeBody(Uint8Array.from(bytes)), error, what);
  }
});

const hello = { protocol: 1, client: 'x' };

t.test('a HELLO may have a lease that a timer can be set for', async (t) => {
  for (const leaseMs of [undefined, 0, 1, 2 ** 31 - 1]) {
    t.equal(parseHello(encode({ ...hello, leaseMs })).leaseMs, leaseMs);
  }
  for (const leaseMs of [-1, 2 ** 31, 1.5, '5', null]) {
    t.throws(
      () => parseHello(encode({ ...hello, leaseMs })),
      refused('HELLO.leaseMs is no number of milliseconds'),
      String(leaseMs),
    );
  }
  t.throws(() => parseHello(encode({ client: 'x' })), refused('the handshake.protocol is missing'));
  t.throws(() => parseHello(encode({ protocol: 1 })), refused('HELLO.client is missing'));
  t.throws(
    () => parseHello(encode({ protocol: 1, client: new Uint8Array(1) })),
    refused('HELLO.client is a bytes; expected a string'),
  );
  t.throws(() => parseHello(encode(5)), refused('the handshake is not a map'));
});

t.test('a JOIN has a token and a purpose, and a cancel the id of a call', async (t) => {
  const token = new Uint8Array(32);
  const join = (more: object) => parseJoin(encode({ protocol: 1, token, ...more }));
  for (const purpose of ['resume', 'events']) t.match(join({ purpose }), { purpose });
  for (const call of [0, 2 ** 32 - 1]) {
    t.match(join({ purpose: 'cancel', call }), { purpose: 'cancel', call });
  }
  for (const call of [undefined, -1, 2 ** 32, 0.5, '1']) {
    t.throws(() => join({ purpose: 'cancel', call }), refused('JOIN.call is no id of a call'));
  }
  t.throws(
    () => join({ purpose: 'watch' }),
    refused('JOIN.purpose is watch; expected resume or events or cancel'),
  );
  t.throws(() => join({}), refused('JOIN.purpose is missing'));
  t.throws(
    () => join({ purpose: 'events', token: 'x' }),
    refused('JOIN.token is a string; expected a bytes'),
  );
  t.throws(() => join({ purpose: 'events', protocol: 2 }), {
    code: 'ERR_PROTOCOL_VERSION',
    detail: { offered: 2, supported: 1, speaker: 'agent' },
  });
});

const welcome = {
  protocol: 1,
  agent: 'agent 1',
  profile: 'observe',
  kernel: {
    release: '6.1',
    version: '#1',
    machine: 'x86_64',
    bootId: 'b',
    possibleCpus: 2,
    pageSize: 4096,
    btf: true,
  },
  limits: {
    maxFrameBytes: 1,
    maxCallBytes: 2,
    maxBuffers: 3,
    maxRelocations: 4,
    maxHandles: 5,
    maxStreams: 6,
    maxEventsPerSecond: 7,
  },
  session: { token: new Uint8Array(32), leaseMs: 0, silenceMs: 0 },
};
type Field = [group: 'kernel' | 'limits' | 'session' | undefined, name: string];

/** A WELCOME with another value of a field. */
function changed([group, name]: Field, value: unknown): Uint8Array {
  if (group === undefined) return encode({ ...welcome, [name]: value });
  return encode({ ...welcome, [group]: { ...welcome[group], [name]: value } });
}

const pathOf = ([group, name]: Field) =>
  group === undefined ? `WELCOME.${name}` : `WELCOME.${group}.${name}`;
const fieldsOf = (group: 'kernel' | 'limits') =>
  Object.keys(welcome[group]).map((name): Field => [group, name]);

t.test('a WELCOME has every field, of its own type', async (t) => {
  t.same(parseWelcome(encode(welcome)), welcome);
  const fields: Field[] = [
    [undefined, 'agent'],
    [undefined, 'profile'],
    ...fieldsOf('kernel'),
    ...fieldsOf('limits'),
    ['session', 'token'],
    ['session', 'leaseMs'],
    ['session', 'silenceMs'],
  ];
  for (const field of fields) {
    const path = pathOf(field);
    t.throws(() => parseWelcome(changed(field, undefined)), refused(`${path} is missing`));
    t.throws(
      () => parseWelcome(changed(field, { map: 1 })),
      refused(`${path} is a object; expected `),
    );
  }
  for (const group of ['kernel', 'limits', 'session']) {
    t.throws(
      () => parseWelcome(encode({ ...welcome, [group]: null })),
      refused(`WELCOME.${group} is not a map`),
    );
  }
  t.throws(() => parseWelcome(encode({ ...welcome, protocol: 3 })), {
    code: 'ERR_PROTOCOL_VERSION',
    detail: { offered: 3, supported: 1, speaker: 'client' },
  });
});

t.test('the numbers of a WELCOME have bounds', async (t) => {
  const bounds: [Field, least: number, most: number][] = [
    [['kernel', 'possibleCpus'], 1, 8192],
    [['kernel', 'pageSize'], 4096, 65_536],
    [['session', 'leaseMs'], 0, 2 ** 31 - 1],
    [['session', 'silenceMs'], 0, 2 ** 31 - 1],
    ...fieldsOf('limits').map((field): [Field, number, number] => [field, 0, 2 ** 32 - 1]),
  ];
  for (const [field, least, most] of bounds) {
    for (const value of [least, most]) {
      t.doesNotThrow(() => parseWelcome(changed(field, value)), `${pathOf(field)}: ${value}`);
    }
    for (const value of [least - 1, most + 1, least + 0.5]) {
      t.throws(
        () => parseWelcome(changed(field, value)),
        refused(`${pathOf(field)} is ${value}; expected ${least} to ${most}`),
      );
    }
  }
});

t.test('the names in a WELCOME can be shown', async (t) => {
  const field: Field = ['kernel', 'release'];
  const longest = 'x'.repeat(256);
  t.equal(parseWelcome(changed(field, longest)).kernel.release, longest);
  for (const text of [`${longest}x`, 'a\u001b[31m']) {
    t.throws(
      () => parseWelcome(changed(field, text)),
      refused(
        `WELCOME.kernel.release has ${text.length} characters, or control characters; expected 256 plain ones at most`,
      ),
    );
  }
});

t.test('what older agents leave out of a WELCOME is checked where it is there', async (t) => {
  const sessions = { open: 1, most: 2 };
  t.match(parseWelcome(encode({ ...welcome, sessions, files: true })), { sessions, files: true });
  t.throws(
    () => parseWelcome(encode({ ...welcome, sessions: { open: 1 } })),
    refused('WELCOME.sessions.most is missing'),
  );
  t.throws(
    () => parseWelcome(encode({ ...welcome, sessions: { open: -1, most: 2 } })),
    refused('WELCOME.sessions.open is -1; expected 0 to 4294967295'),
  );
  t.throws(
    () => parseWelcome(encode({ ...welcome, files: 1 })),
    refused('WELCOME.files is a number; expected a boolean'),
  );
  for (const bytes of [0, 31, 33]) {
    t.throws(
      () => parseWelcome(changed(['session', 'token'], new Uint8Array(bytes))),
      refused('WELCOME.session.token has not 32 bytes'),
    );
  }
});

t.test('an ERROR is a code and facts of no more than 64 KiB', async (t) => {
  t.same(errorBody(failure('ERR_HANDLE_UNKNOWN', { handle: 5 })), [
    'ERR_HANDLE_UNKNOWN',
    { handle: 5 },
  ]);
  t.same(errorBody(new Error('broken')), ['ERR_AGENT', { why: 'broken' }]);
  t.same(errorBody('text'), ['ERR_AGENT', { why: 'text' }]);
  const withWhy = (length: number) => encode(['ERR_AGENT', { why: 'x'.repeat(length) }]);
  const overhead = withWhy(60_000).length - 60_000;
  const largest = withWhy(65_536 - overhead);
  t.equal(largest.length, 65_536);
  t.match(parseError(largest), { code: 'ERR_AGENT' });
  t.match(
    parseError(withWhy(65_537 - overhead)),
    refused('an ERROR has 65537 bytes; expected at most 65536'),
  );
  for (const value of [
    'x',
    [5, {}],
    ['ERR_AGENT', 'x'],
    ['ERR_AGENT'],
    { 0: 'ERR_AGENT', 1: {} },
  ]) {
    t.match(parseError(encode(value)), refused('an ERROR is not [code, details]'));
  }
  t.match(parseError(encode(['ERR_OF_LATER', { a: 1 }])), {
    code: 'ERR_PROTOCOL_UNEXPECTED',
    message: /the error ERR_OF_LATER \({"a":1}\).*an error code that this version knows/,
  });
});

t.test('rare requests have their heap behind their own words', async (t) => {
  const bytes = Buffer.from('in');
  const heap = { buffers: [bytes, 8, { inout: Buffer.from('io') }], relocations: [0, 1, 2] };
  const sent = [
    [bytes, 8, [Buffer.from('io')]],
    [0, 1, 2],
  ];
  const call = { result: 1, cpu: 2, group: 3, flags: 4, ...heap };
  t.same(perfOpenBody({ ...call, pid: -1 }), [1, -1, 2, 3, 4, ...sent]);
  t.same(perfOpenBody({ ...call, pid: { handle: 9 } }), [1, [9], 2, 3, 4, ...sent]);
  t.same(ioctlBody({ handle: 5, request: 6, ...heap }), [5, 6, ...sent]);
});
