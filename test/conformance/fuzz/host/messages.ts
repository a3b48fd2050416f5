import assert from 'node:assert/strict';
import { Encoder } from 'cbor-x/decode';
import type { Reply } from '../../../../src/call.js';
import { errorCodes, WaepError } from '../../../../src/errors.js';
import {
  FrameType,
  HEADER_BYTES,
  messageFrame,
  parseChainReply,
  parseError,
  parseHello,
  parseJoin,
  parseReply,
  parseWelcome,
} from '../../../../src/frame/index.js';
import type { Random } from './random.js';
import { unlessRefused } from './refusal.js';

const encoder = new Encoder({ useRecords: false, tagUint8Array: false });

/** Returns any kind of value that CBOR has. */
function value(random: Random, depth = 0): unknown {
  switch (random.below(depth > 3 ? 7 : 10)) {
    case 0:
      return random.edge();
    case 1:
      return -random.edge();
    case 2:
      return random.text(random.below(12), 'aé\0"𝄞%');
    case 3:
      return random.once(2);
    case 4:
      return random.pick([null, undefined, Number.NaN, 1.5, 2n ** 64n, new Date(0)]);
    case 5:
      return random.bytes(random.below(8));
    case 6:
      return random.text(4, 'ERR_');
    case 7:
      return Array.from({ length: random.below(4) }, () => value(random, depth + 1));
    default:
      return Object.fromEntries(
        Array.from({ length: random.below(4) }, () => [
          random.pick(['protocol', 'client', 'why', 'kernel', '__proto__', 'toString', 'known']),
          value(random, depth + 1),
        ]),
      );
  }
}

/** Returns the value, or at times another one. */
const mostly = (random: Random, usual: unknown) => (random.once(12) ? value(random) : usual);

const hello = (random: Random) => ({
  protocol: mostly(random, 1),
  client: mostly(random, 'waep/1'),
  leaseMs: mostly(random, 1000),
});

const join = (random: Random) => ({
  protocol: mostly(random, 1),
  token: mostly(random, random.bytes(32)),
  purpose: mostly(random, random.pick(['resume', 'events', 'cancel'])),
  call: mostly(random, random.word()),
});

function welcome(random: Random): unknown {
  const some = (facts: Record<string, unknown>) =>
    Object.fromEntries(Object.entries(facts).map(([key, usual]) => [key, mostly(random, usual)]));
  return some({
    protocol: 1,
    agent: 'waep/1',
    profile: 'observe',
    kernel: some({
      release: '6.1.0',
      version: '#1',
      machine: 'x86_64',
      bootId: '00000000',
      possibleCpus: 1,
      pageSize: 4096,
      btf: true,
    }),
    limits: some({
      maxFrameBytes: 1 << 26,
      maxCallBytes: 1 << 27,
      maxBuffers: 256,
      maxRelocations: 1 << 20,
      maxHandles: 4096,
      maxStreams: 64,
      maxEventsPerSecond: 0,
    }),
    session: some({ token: random.bytes(32), leaseMs: 0, silenceMs: 60_000 }),
  });
}

const error = (random: Random) => [
  random.once(8) ? value(random) : random.pick(errorCodes),
  value(random),
];

const kinds = [
  { type: FrameType.HELLO, make: hello, parse: parseHello },
  { type: FrameType.JOIN, make: join, parse: parseJoin },
  { type: FrameType.WELCOME, make: welcome, parse: parseWelcome },
  { type: FrameType.ERROR, make: error, parse: parseError },
] as const;

/** Handshakes and errors have the values of their types, or they are refused. */
export function messages(random: Random): boolean {
  const { type, make, parse } = random.pick(kinds);
  const frame = messageFrame(type, 1, random.once(16) ? value(random) : make(random));
  const body = random.spoilt(frame.subarray(HEADER_BYTES));
  const parsed = unlessRefused(['ERR_FRAME_MALFORMED', 'ERR_PROTOCOL_VERSION'], () => parse(body));
  if (parsed === undefined) return false;
  if (parsed instanceof Error) {
    assert.ok(parsed instanceof WaepError);
    assert.equal(typeof parsed.message, 'string');
    return true;
  }
  assert.equal(parsed.protocol, 1);
  if ('limits' in parsed) {
    for (const limit of Object.values(parsed.limits).slice(0, 5)) assert.notEqual(limit, undefined);
  }
  return true;
}

/** Results contain as many bytes as were asked for, and only bytes of the answer. */
export function results(random: Random): boolean {
  const count = random.below(5);
  const outputs = Array.from({ length: count }, () =>
    random.bytes(random.below(random.once(6) ? 6000 : 300)),
  );
  const lengths = outputs.map(({ length }) => length + (random.once(2) ? 0 : random.below(64)));
  const result = random.once(3) ? -1 : random.word();
  const errno = random.below(200);
  const body = random.spoilt(encoder.encode([result, errno, outputs]));
  const start = random.below(30);
  const bytes = Buffer.concat([random.bytes(start), body, random.bytes(random.below(30))]);
  const alias = random.once(2);
  const wanted = random.once(4) ? undefined : lengths;
  const reply = unlessRefused(['ERR_FRAME_MALFORMED'], () =>
    parseReply(bytes, start, start + body.length, wanted, alias),
  );
  if (reply === undefined) return false;
  checkReply(reply, wanted, body.length);
  return true;
}

/** The answers to a chain are answers to its first calls, and an error may be behind them. */
export function chainResults(random: Random): boolean {
  const sent = Array.from({ length: 1 + random.below(4) }, () =>
    Array.from({ length: random.below(3) }, () => random.bytes(random.below(200))),
  );
  const calls = sent.map((outputs) => outputs.map(({ length }) => length + random.below(20)));
  const answers: unknown[] = sent.slice(0, 1 + random.below(sent.length)).map((outputs, at) => {
    const fails = at === sent.length - 1 && random.once(4);
    return fails ? [-1, 2, outputs] : [random.word(), 0, outputs];
  });
  if (random.once(4)) answers.splice(-1, 1, error(random));
  const body = random.spoilt(encoder.encode(random.once(16) ? value(random) : answers));
  const start = random.below(30);
  const bytes = Buffer.concat([random.bytes(start), body, random.bytes(random.below(30))]);
  const reply = unlessRefused(['ERR_FRAME_MALFORMED'], () =>
    parseChainReply(bytes, start, start + body.length, calls, random.once(2)),
  );
  if (reply === undefined) return false;
  assert.ok(reply.replies.length <= calls.length);
  assert.ok(reply.replies.length > 0 || reply.error instanceof WaepError);
  for (const [at, one] of reply.replies.entries()) checkReply(one, calls[at], body.length);
  return true;
}

function checkReply(reply: Reply, lengths: readonly number[] | undefined, most: number): void {
  assert.equal(typeof reply.result, 'number');
  assert.equal(typeof reply.errno, 'number');
  if (lengths === undefined) {
    const total = reply.outputs.reduce((sum, { length }) => sum + length, 0);
    assert.ok(total <= most);
  } else {
    assert.deepEqual(
      reply.outputs.map(({ length }) => length),
      lengths,
    );
  }
}
