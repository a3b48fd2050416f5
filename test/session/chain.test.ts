import { constants } from 'node:os';
import t, { type Test } from 'tap';
import { kernelNames } from '../../guest/agent/kernel-names.js';
import { enums } from '../../src/bpf/index.js';
import type { ChainedCall, ChainReply, Copied } from '../../src/call.js';
import { count, u32 } from '../../src/codec/index.js';
import { type Frame, FrameType, messageFrame } from '../../src/frame/index.js';
import { compile, profiles } from '../../src/policy/index.js';
import { Session } from '../../src/session.js';
import { type LocalAgent, localAgent } from '../agent/local-agent.js';
import { until } from '../until.js';
import { fakeAgent, welcome } from './fake-agent.js';

const { Cmd, MapType } = enums;
const { ENOSPC } = constants.errno;
const FD32 = 1;
const POINTER = 0;

/** The kernel's words for a call that is about a map: its attribute, a key, and more. */
const about = (
  command: number,
  map: number,
  ...[key, ...rest]: (Uint8Array | number | Copied)[]
): ChainedCall => ({
  command,
  args: 1,
  buffers: [Buffer.alloc(32), ...(key === undefined ? [] : [key]), ...rest],
  relocations: [
    ...[0, 0, FD32, map],
    ...(key === undefined ? [] : [0, 8, POINTER, 1]),
    ...(rest.length === 0 ? [] : [0, 16, POINTER, 2]),
  ],
});
const nextKey = (map: number, key: Uint8Array | Copied): ChainedCall =>
  about(Cmd.BPF_MAP_GET_NEXT_KEY, map, key, 4);
const firstKey = (map: number): ChainedCall => ({
  ...about(Cmd.BPF_MAP_GET_NEXT_KEY, map),
  buffers: [Buffer.alloc(32), 4],
  relocations: [0, 0, FD32, map, 0, 16, POINTER, 1],
});
const lookup = (map: number, key: Uint8Array | Copied, valueBytes: number): ChainedCall =>
  about(Cmd.BPF_MAP_LOOKUP_ELEM, map, key, valueBytes);
const from = (call: number, output = 0): Copied => ({ call, output });
const bytes = (...words: number[]) => Buffer.from(Uint32Array.from(words).buffer);

/** The result, errno and outputs of each call, and the code of the error behind them. */
const outline = ({ replies, error }: ChainReply) => [
  ...replies.map(({ result, errno, outputs }) => [
    result,
    errno,
    ...outputs.map((output) => Buffer.from(output).toString('hex')),
  ]),
  ...(error === undefined ? [] : [(error as Error & { code?: string }).code]),
];

/**
 * Executes a chain that has so many answers. An agent on a busy machine may end a chain early, so
 * it is asked again.
 */
async function answersTo(
  session: Session,
  answers: number,
  calls: readonly ChainedCall[],
): Promise<ChainReply> {
  let reply: ChainReply | undefined;
  await until(`${answers} answers`, async () => {
    reply = await session.chain(calls);
    return reply.replies.length + (reply.error === undefined ? 0 : 1) >= answers;
  });
  return reply as ChainReply;
}

async function opened(t: Test, options: Parameters<typeof localAgent>[0] = {}) {
  const local: LocalAgent = await localAgent(options);
  t.teardown(() => local.close());
  const session = await Session.connect(local.address);
  t.teardown(() => session.close());
  return { local, session };
}

t.test('each call of a chain can take what an earlier one has returned', async (t) => {
  const { session } = await opened(t);
  // The key 0 comes without a single byte, and the value 0, too.
  const map = await session.createMap({
    ...{ type: MapType.BPF_MAP_TYPE_ARRAY, keySize: 4, valueSize: 8, maxEntries: 2 },
  });
  await map.update(bytes(1), bytes(0x2a, 0));
  const { handle } = map;
  const reply = await answersTo(session, 5, [
    firstKey(handle),
    lookup(handle, from(0), 8),
    nextKey(handle, from(0)),
    lookup(handle, from(2), 8),
    nextKey(handle, from(2)),
    lookup(handle, from(0), 8),
  ]);
  t.same(outline(reply), [
    [0, 0, '00000000'],
    [0, 0, '0000000000000000'],
    [0, 0, '01000000'],
    [0, 0, '2a00000000000000'],
    // There is no other key, and the chain ends with what failed.
    [-1, 2, '00000000'],
  ]);
  const before = session.statistics.framesSent;
  await session.chain([firstKey(handle), lookup(handle, from(0), 8)]);
  t.equal(session.statistics.framesSent - before, 1);
  t.same(await session.chain([]), { replies: [], error: undefined });
  t.equal(session.statistics.framesSent - before, 1, 'nothing is nothing to send');
});

t.test('a copied byte is judged as a byte of the client', async (t) => {
  const { session } = await opened(t);
  const map = await session.createMap({
    ...{ type: MapType.BPF_MAP_TYPE_ARRAY, keySize: 4, valueSize: 32, maxEntries: 1 },
  });
  // As an attribute, the value names a descriptor by its number.
  const attribute = Buffer.concat([bytes(5), Buffer.alloc(28)]);
  await map.update(bytes(0), attribute);
  const freeze = { command: Cmd.BPF_MAP_FREEZE, args: 1 as const, relocations: [] };
  const { replies, error } = await answersTo(session, 2, [
    lookup(map.handle, bytes(0), 32),
    { ...freeze, buffers: [from(0)] },
    lookup(map.handle, bytes(0), 32),
  ]);
  t.equal(replies.length, 1);
  const single = await session
    .call({ ...freeze, result: 0, buffers: [attribute] })
    .catch((refusal: Error) => refusal);
  t.match(error, { code: 'ERR_POLICY_REFUSED', message: /descriptors/ });
  t.equal(error?.message, (single as Error).message);
  // With a relocation in its place, it is a handle as everywhere.
  const named = await answersTo(session, 2, [
    lookup(map.handle, bytes(0), 32),
    { ...freeze, buffers: [from(0)], relocations: [0, 0, FD32, map.handle] },
  ]);
  t.match(outline(named)[1], [0, 0]);
  await t.rejects(map.update(bytes(0), attribute), { code: 'EPERM' }, 'it is frozen');
});

t.test('a call of a chain that is wrong is an error of its own', async (t) => {
  const { session } = await opened(t);
  const map = await session.createMap({
    ...{ type: MapType.BPF_MAP_TYPE_ARRAY, keySize: 4, valueSize: 8, maxEntries: 1 },
  });
  const { handle } = map;
  const first = firstKey(handle);
  const found = [0, 0, '00000000'];
  for (const [what, wrong, message] of [
    [
      'a copy of its own output',
      lookup(handle, from(1), 8),
      /call 1 of a chain copies from call 1/,
    ],
    ['of a later call', lookup(handle, from(7), 8), /copies from call 7/],
    ['of an output too many', lookup(handle, from(0, 1), 8), /has 1 outputs, and number 1/],
    ['a handle that there is not', lookup(999, from(0), 8), /999/],
    ['more bytes than a call may have', lookup(handle, from(0), 65_536), /65536/],
    [
      'a call of no bytes',
      { ...first, buffers: [] as Uint8Array[] },
      /fewer buffers than arguments/,
    ],
  ] as const) {
    const { replies, error } = await answersTo(session, 2, [first, wrong, first]);
    t.same(outline({ replies, error: undefined }), [found], what);
    t.match(error?.message, message, what);
  }
  const alone = await session.chain([lookup(handle, from(0), 8)]);
  t.match(outline(alone), ['ERR_CALL_MALFORMED'], 'the first call has none before it');
  const single = { ...lookup(handle, from(0), 8), result: 0 } as never;
  await t.rejects(session.call(single), { code: 'ERR_CALL_MALFORMED' });
  t.same(outline(await session.chain([first])), [found], 'the session goes on');
});

t.test('a chain ends when its answer is long', async (t) => {
  const { session } = await opened(t);
  const valueSize = 8192;
  const map = await session.createMap({
    ...{ type: MapType.BPF_MAP_TYPE_ARRAY, keySize: 4, valueSize, maxEntries: 1 },
  });
  await map.update(bytes(0), Buffer.alloc(valueSize, 7));
  const calls = Array.from({ length: 64 }, () => lookup(map.handle, bytes(0), valueSize));
  const { replies, error } = await session.chain(calls);
  t.equal(error, undefined);
  t.ok(replies.length >= 1 && replies.length <= 8, `${replies.length} replies`);
  t.ok(replies.every(({ outputs }) => outputs[0]?.every((byte) => byte === 7)));
  const most = Array.from({ length: session.chainCalls + 1 }, () => firstKey(map.handle));
  await t.rejects(session.chain(most), { code: 'ERR_AGENT_LACKS' });
  t.equal((await session.chain(most.slice(1))).error, undefined);
});

t.test('a map is gone through in chains, and in pairs with an older agent', async (t) => {
  const { session } = await opened(t);
  const size = 1000;
  const map = await session.createMap({
    ...{ type: MapType.BPF_MAP_TYPE_HASH, key: u32, value: count, maxEntries: size },
  });
  await map.updateMany(Array.from({ length: size }, (_, i) => [i, i * 3] as const));
  const walk = async () => {
    const before = session.statistics.framesSent;
    const seen = new Map<number, number>();
    for await (const [key, value] of map.entries({ batchEntries: 1 })) seen.set(key, value);
    t.equal(seen.size, size);
    t.ok([...seen].every(([key, value]) => value === key * 3));
    return session.statistics.framesSent - before;
  };
  const frames = await walk();
  // A chain may end early on a busy machine, but it has got somewhere.
  t.ok(frames < size, `${frames} frames in chains`);
  Object.defineProperty(session, 'chainCalls', { value: 0 });
  t.equal(await walk(), 2 * size + 1);
});

t.test('small batches of a map come several in a message', async (t) => {
  const { session } = await opened(t);
  const size = 3000;
  const chainCalls = session.chainCalls;
  for (const [name, type] of [
    ['hash', MapType.BPF_MAP_TYPE_HASH],
    ['least recently used', MapType.BPF_MAP_TYPE_LRU_HASH],
    ['array', MapType.BPF_MAP_TYPE_ARRAY],
  ] as const) {
    // The kernel takes entries away from a map of this type before it is full.
    const maxEntries = type === MapType.BPF_MAP_TYPE_LRU_HASH ? 4 * size : size;
    const map = await session.createMap({ type, key: u32, value: count, maxEntries });
    await map.updateMany(Array.from({ length: size }, (_, i) => [i, i * 3] as const));
    const frames: number[] = [];
    for (const calls of [chainCalls, 0]) {
      Object.defineProperty(session, 'chainCalls', { value: calls, configurable: true });
      const before = session.statistics.framesSent;
      const lengths: number[] = [];
      const seen = new Map<number, number>();
      for await (const batch of map.batches({ batchEntries: 100 })) {
        lengths.push(batch.length);
        for (const [key, value] of batch) seen.set(key, value);
      }
      frames.push(session.statistics.framesSent - before);
      t.ok(Math.max(...lengths) <= 100);
      t.equal(seen.size, size, name);
      t.equal(
        lengths.reduce((sum, length) => sum + length, 0),
        size,
        'none comes twice',
      );
      t.ok([...seen].every(([key, value]) => value === key * 3));
    }
    const [inChains = 0, alone = 0] = frames;
    // A chain may end early on a busy machine, but it has got somewhere.
    t.ok(inChains < alone, `${name}: ${inChains} frames instead of ${alone}`);
  }
});

t.test('a batch that is too small for a bucket, behind others of its chain', async (t) => {
  const { session } = await opened(t);
  const size = 3000;
  const map = await session.createMap({
    ...{ type: MapType.BPF_MAP_TYPE_HASH, key: u32, value: u32, maxEntries: size },
  });
  await map.updateMany(Array.from({ length: size }, (_, i) => [i, i] as const));
  // Most buckets have one entry or none, and some have more than two.
  const endings: string[] = [];
  const chain = session.chain.bind(session);
  session.chain = async (...args) => {
    const reply = await chain(...args);
    endings.push(reply.replies.map(({ errno }) => (errno === ENOSPC ? 'full' : '.')).join(''));
    return reply;
  };
  const seen = new Set<number>();
  let entries = 0;
  for await (const batch of map.batches({ batchEntries: 2 })) {
    entries += batch.length;
    for (const [key] of batch) seen.add(key);
  }
  t.ok(
    endings.some((ending) => ending.endsWith('full')),
    endings.join(' '),
  );
  t.equal(seen.size, size);
  t.equal(entries, size, 'none comes twice');
});

t.test('an error of a batch comes behind the entries before it', async (t) => {
  const { session } = await opened(t);
  const size = 3000;
  const map = await session.createMap({
    ...{ type: MapType.BPF_MAP_TYPE_ARRAY, key: u32, value: u32, maxEntries: size },
  });
  const chain = session.chain.bind(session);
  // An agent whose rules have changed meanwhile.
  session.chain = async (...args) => {
    const { replies } = await chain(...args);
    return { replies: replies.slice(0, 1), error: new Error('not any more') };
  };
  let entries = 0;
  const goThrough = async () => {
    for await (const batch of map.batches({ batchEntries: 100 })) entries += batch.length;
  };
  await t.rejects(goThrough(), { message: 'not any more' });
  t.equal(entries, 100);
});

t.test('a map that has keys without values is gone through to its end', async (t) => {
  const { session } = await opened(t);
  // The next key of such a map is the next index, whether there is a device or not.
  const map = await session.createMap({
    ...{ type: MapType.BPF_MAP_TYPE_DEVMAP, key: u32, value: u32, maxEntries: 8 },
  });
  const loopback = 1;
  for (const key of [2, 3, 7]) await map.update(key, loopback);
  const seen: unknown[] = [];
  for await (const entry of map.entries({ batchEntries: 1 })) seen.push(entry);
  t.same(seen, [
    [2, loopback],
    [3, loopback],
    [7, loopback],
  ]);
});

t.test('values of an array are asked for together', async (t) => {
  const { session } = await opened(t);
  for (const size of [1, 64, 65, 200]) {
    // A map that is collected has a frame of its own.
    await using map = await session.createMap({
      ...{ type: MapType.BPF_MAP_TYPE_ARRAY, key: u32, value: count, maxEntries: size },
    });
    await map.updateMany(Array.from({ length: size }, (_, i) => [i, i * 3] as const));
    const before = session.statistics.framesSent;
    const seen: unknown[] = [];
    for await (const entry of map.entries({ batchEntries: 1 })) seen.push(entry);
    t.same(
      seen,
      Array.from({ length: size }, (_, i) => [i, i * 3]),
    );
    t.equal(session.statistics.framesSent - before, size, 'nobody asks for keys');
  }
});

t.test('the policy judges each call of a chain', async (t) => {
  const { BPF_MAP_CREATE, BPF_MAP_GET_NEXT_KEY } = Cmd;
  const commands = [BPF_MAP_CREATE, BPF_MAP_GET_NEXT_KEY].map((one) => [one, one] as const);
  const rules = compile({ ...profiles.full, commands }, kernelNames());
  const { session } = await opened(t, { rules });
  const map = await session.createMap({
    ...{ type: MapType.BPF_MAP_TYPE_ARRAY, keySize: 4, valueSize: 8, maxEntries: 1 },
  });
  const calls = [firstKey(map.handle), lookup(map.handle, from(0), 8)];
  const reply = await answersTo(session, 2, calls);
  t.same(outline(reply), [[0, 0, '00000000'], 'ERR_POLICY_REFUSED']);
  t.match(reply.error?.message, /map_lookup_elem/);
});

/** A session whose agent answers CHAIN like this. */
async function answered(t: Test, answer: unknown, chainCalls: unknown = 256) {
  const agent = await fakeAgent(
    ({ type, id }: Frame, socket) => {
      if (type === FrameType.CHAIN) socket.write(messageFrame(FrameType.RESULT, id, answer));
    },
    (socket, { id }) =>
      socket.write(messageFrame(FrameType.WELCOME, id, { ...welcome, chainCalls })),
  );
  t.teardown(() => agent.close());
  const session = await Session.connect(agent.address);
  t.teardown(() => session.close());
  return session;
}

t.test('what an agent answers to a chain is checked', async (t) => {
  const key = Buffer.alloc(4, 1);
  const value = Buffer.alloc(8, 1);
  const calls = [firstKey(1), lookup(1, from(0), 8)];
  for (const [what, answer] of [
    ['no array', 1],
    ['no answers', []],
    [
      'too many answers',
      [
        [0, 0, [key]],
        [0, 0, [value]],
        [0, 0, []],
      ],
    ],
    [
      'an output that is too long',
      [
        [0, 0, [key]],
        [0, 0, [Buffer.alloc(9, 1)]],
      ],
    ],
    ['an output too few', [[0, 0, []]]],
    [
      'an error that is not the last',
      [
        ['ERR_CALL_CANCELLED', {}],
        [0, 0, [value]],
      ],
    ],
    [
      'a failure that is not the last',
      [
        [-1, 2, [key]],
        [0, 0, [value]],
      ],
    ],
    ['a result of no answer', [0, 0, [key]]],
  ] as const) {
    const session = await answered(t, answer);
    await t.rejects(session.chain(calls), { code: 'ERR_FRAME_MALFORMED' }, what);
    t.equal(session.closed, true, `${what}: the agent is not to be trusted`);
  }
  const partly = await answered(t, [[0, 0, [key]]]);
  t.same(outline(await partly.chain(calls)), [[0, 0, '01010101']]);
  const failed = await answered(t, [['ERR_CALL_CANCELLED', {}]]);
  t.same(outline(await failed.chain(calls)), ['ERR_CALL_CANCELLED']);
  t.equal((await answered(t, [], 2 ** 31)).chainCalls, 256, 'no more than a client wants');
  await t.rejects(answered(t, [], -1), { code: 'ERR_FRAME_MALFORMED' });
  const old = await answered(t, [], 0);
  t.equal(old.chainCalls, 0);
  await t.rejects(old.chain(calls), { code: 'ERR_AGENT_LACKS' });
});
