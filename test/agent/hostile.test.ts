import { once } from 'node:events';
import t, { type Test } from 'tap';
import { type Call, FileOperation } from '../../src/call.js';
import {
  callFrameBound,
  decodeBody,
  FrameType,
  HEADER_BYTES,
  messageFrame,
  putCallFrame,
  putHeader,
} from '../../src/frame/index.js';
import { Session } from '../../src/session.js';
import { pair } from '../conformance/differential/cases/btf.js';
import { openDescriptors } from '../descriptors.js';
import { until } from '../until.js';
import { Client } from './client.js';
import { executorDescriptors, type LocalAgent, localAgent } from './local-agent.js';

const lookup: Call = {
  command: 1,
  args: 1,
  result: 0,
  buffers: [Buffer.alloc(32), Buffer.alloc(4), 8],
  relocations: [0, 0, 1, 1, 0, 8, 0, 1, 0, 16, 0, 2],
};

const frameOf = (call: Call, id = 1): Uint8Array => {
  const target = new Uint8Array(callFrameBound(call));
  return target.subarray(0, putCallFrame(target, id, call));
};
const body = (value: unknown, type: number = FrameType.CALL) => messageFrame(type, 1, value);
const raw = (type: number, ...bytes: number[]) => {
  const frame = new Uint8Array(HEADER_BYTES + bytes.length);
  putHeader(frame, 0, bytes.length, type, 1);
  frame.set(bytes, HEADER_BYTES);
  return frame;
};
const attr = Buffer.alloc(32);

const cases: Array<{
  name: string;
  frame: Uint8Array;
  code: string;
  why?: RegExp;
  ends?: boolean;
}> = [
  // bodies that are no call
  { name: 'an empty body', frame: raw(0x10), code: 'ERR_CALL_MALFORMED', why: /array of 5/ },
  { name: 'a number', frame: body(7), code: 'ERR_CALL_MALFORMED', why: /array of 5/ },
  { name: 'a map', frame: body({ command: 1 }), code: 'ERR_CALL_MALFORMED', why: /array of 5/ },
  { name: 'too few items', frame: body([1, 1, 0, [attr]]), code: 'ERR_CALL_MALFORMED' },
  { name: 'too many items', frame: body([1, 1, 0, [attr], [], 0]), code: 'ERR_CALL_MALFORMED' },
  {
    name: 'an indefinite array',
    frame: raw(0x10, 0x9f, 1, 1, 0, 0xff),
    code: 'ERR_CALL_MALFORMED',
  },
  { name: 'a reserved length', frame: raw(0x10, 0x9c, 1, 1, 0), code: 'ERR_CALL_MALFORMED' },
  {
    name: 'a negative command',
    frame: body([-1, 1, 0, [attr], []]),
    code: 'ERR_CALL_MALFORMED',
    why: /command/,
  },
  {
    name: 'a command of 64 bits',
    frame: body([2 ** 40, 1, 0, [attr], []]),
    code: 'ERR_CALL_MALFORMED',
    why: /command/,
  },
  {
    name: 'a textual command',
    frame: body(['1', 1, 0, [attr], []]),
    code: 'ERR_CALL_MALFORMED',
    why: /command/,
  },
  {
    name: 'no arguments',
    frame: body([1, 0, 0, [attr], []]),
    code: 'ERR_CALL_MALFORMED',
    why: /args/,
  },
  {
    name: 'three arguments',
    frame: body([1, 3, 0, [attr], []]),
    code: 'ERR_CALL_MALFORMED',
    why: /args/,
  },
  {
    name: 'fewer buffers than arguments',
    frame: body([1, 2, 0, [attr], []]),
    code: 'ERR_CALL_MALFORMED',
    why: /fewer buffers/,
  },
  {
    name: 'an out argument',
    frame: body([1, 1, 0, [32], []]),
    code: 'ERR_CALL_MALFORMED',
    why: /out buffer/,
  },
  {
    name: 'a textual buffer',
    frame: body([1, 1, 0, [attr, 'key'], []]),
    code: 'ERR_CALL_MALFORMED',
    why: /buffer 1/,
  },
  {
    name: 'an inout buffer of two',
    frame: body([1, 1, 0, [[attr, attr]], []]),
    code: 'ERR_CALL_MALFORMED',
    why: /inout/,
  },
  {
    name: 'a byte string beyond the frame',
    frame: raw(0x10, 0x85, 1, 1, 0, 0x81, 0x5a, 0xff, 0xff, 0xff, 0xff),
    code: 'ERR_CALL_MALFORMED',
    why: /beyond/,
  },
  {
    name: 'an array that announces 2^32 buffers',
    frame: raw(0x10, 0x85, 1, 1, 0, 0x9a, 0xff, 0xff, 0xff, 0xff),
    code: 'ERR_CALL_MALFORMED',
  },
  {
    name: 'bytes after the relocations',
    frame: Buffer.concat([raw(0x10, ...body([1, 1, 0, [attr], []]).subarray(HEADER_BYTES), 0)]),
    code: 'ERR_CALL_MALFORMED',
    why: /bytes follow/,
  },
  // relocations
  { name: 'relocations in a map', frame: body([1, 1, 0, [attr], {}]), code: 'ERR_CALL_MALFORMED' },
  {
    name: 'half a relocation',
    frame: body([1, 1, 0, [attr], [0, 0]]),
    code: 'ERR_CALL_MALFORMED',
    why: /four numbers/,
  },
  {
    name: 'a negative offset',
    frame: body([1, 1, 0, [attr], [0, -8, 0, 0]]),
    code: 'ERR_CALL_MALFORMED',
  },
  {
    name: 'a relocation in no buffer',
    frame: frameOf({ ...lookup, relocations: [3, 0, 0, 1] }),
    code: 'ERR_CALL_MALFORMED',
    why: /buffer 3 of 3/,
  },
  {
    name: 'a relocation beyond its buffer',
    frame: frameOf({ ...lookup, relocations: [0, 25, 0, 1] }),
    code: 'ERR_CALL_MALFORMED',
    why: /reaches beyond/,
  },
  {
    name: 'a relocation at 2^32 - 1',
    frame: frameOf({ ...lookup, relocations: [0, 0xffffffff, 0, 1] }),
    code: 'ERR_CALL_MALFORMED',
    why: /reaches beyond/,
  },
  {
    name: 'a pointer to no buffer',
    frame: frameOf({ ...lookup, relocations: [0, 8, 0, 3] }),
    code: 'ERR_CALL_MALFORMED',
    why: /points to buffer 3/,
  },
  {
    name: 'an unknown kind of relocation',
    frame: frameOf({ ...lookup, relocations: [0, 8, 4, 1] }),
    code: 'ERR_CALL_MALFORMED',
    why: /kind 4/,
  },
  {
    name: 'overlapping relocations',
    frame: frameOf({ ...lookup, relocations: [0, 8, 0, 1, 0, 12, 1, 1] }),
    code: 'ERR_CALL_MALFORMED',
    why: /overlap/,
  },
  {
    name: 'the same relocation twice',
    frame: frameOf({ ...lookup, relocations: [0, 8, 0, 1, 0, 8, 0, 1] }),
    code: 'ERR_CALL_MALFORMED',
    why: /overlap/,
  },
  {
    name: 'overlapping relocations out of order',
    frame: frameOf({ ...lookup, relocations: [0, 12, 0, 1, 0, 8, 0, 1] }),
    code: 'ERR_CALL_MALFORMED',
    why: /overlap/,
  },
  {
    name: 'an addend beyond the target',
    frame: frameOf({
      ...lookup,
      buffers: [Buffer.alloc(32, 9), Buffer.alloc(4), 8],
      relocations: [0, 8, 0, 1],
    }),
    code: 'ERR_CALL_MALFORMED',
    why: /points to offset/,
  },
  {
    name: 'a pointer to an argument',
    frame: frameOf({ ...lookup, relocations: [0, 8, 0, 0] }),
    code: 'ERR_CALL_MALFORMED',
    why: /points to buffer 0, which is an argument/,
  },
  {
    name: 'a pointer to the second argument',
    frame: frameOf({ ...lookup, args: 2, relocations: [0, 8, 0, 1] }),
    code: 'ERR_CALL_MALFORMED',
    why: /points to buffer 1, which is an argument/,
  },
  {
    name: 'a pointer to the inside of a buffer',
    frame: frameOf({
      ...lookup,
      buffers: [Buffer.from([...Array(8).fill(0), 4, ...Array(23).fill(0)]), Buffer.alloc(4), 8],
      relocations: [0, 8, 0, 1],
    }),
    code: 'ERR_CALL_MALFORMED',
    why: /points to the inside of buffer 1/,
  },
  {
    name: 'two pointers to one buffer',
    frame: frameOf({ ...lookup, relocations: [0, 8, 0, 2, 0, 16, 0, 2] }),
    code: 'ERR_CALL_MALFORMED',
    why: /points to buffer 2, to which another one points/,
  },
  {
    name: 'a text to which two arrays point',
    frame: frameOf({
      ...lookup,
      buffers: [Buffer.alloc(32), Buffer.alloc(8), Buffer.alloc(8), Buffer.alloc(4)],
      relocations: [0, 8, 0, 1, 0, 16, 0, 2, 1, 0, 0, 3, 2, 0, 0, 3],
    }),
    code: 'ERR_CALL_MALFORMED',
    why: /points to buffer 3, to which another one points/,
  },
  {
    name: 'an output to which an array points twice',
    frame: frameOf({
      ...lookup,
      buffers: [Buffer.alloc(32), Buffer.alloc(16), 4],
      relocations: [0, 8, 0, 1, 1, 0, 0, 2, 1, 8, 0, 2],
    }),
    code: 'ERR_CALL_MALFORMED',
    why: /points to buffer 2, to which another one points/,
  },
  // handles
  {
    name: 'an unknown handle',
    frame: frameOf({ ...lookup, relocations: [0, 0, 1, 999] }),
    code: 'ERR_HANDLE_UNKNOWN',
  },
  {
    name: 'handle 0',
    frame: frameOf({ ...lookup, relocations: [0, 0, 1, 0] }),
    code: 'ERR_HANDLE_UNKNOWN',
  },
  {
    name: 'a wide unknown handle',
    frame: frameOf({ ...lookup, relocations: [0, 0, 2, 0xffffffff] }),
    code: 'ERR_HANDLE_UNKNOWN',
  },
  {
    name: 'closing an unknown handle',
    frame: body([5], FrameType.CLOSE),
    code: 'ERR_HANDLE_UNKNOWN',
  },
  {
    name: 'reading an unknown handle',
    frame: body([5, 10], FrameType.READ),
    code: 'ERR_HANDLE_UNKNOWN',
  },
  // limits
  {
    name: 'more buffers than allowed',
    frame: body([1, 1, 0, Array(257).fill(attr), []]),
    code: 'ERR_CALL_LIMIT',
  },
  {
    name: 'an out buffer of 2^40 bytes',
    frame: body([1, 1, 0, [attr, 2n ** 40n], []]),
    code: 'ERR_CALL_LIMIT',
  },
  {
    name: 'an out buffer of 2^64 - 1 bytes',
    frame: raw(0x10, 0x85, 1, 1, 0, 0x82, 0x41, 0, 0x1b, ...Array(8).fill(0xff), 0x80),
    code: 'ERR_CALL_LIMIT',
  },
  {
    name: 'out buffers whose sum overflows',
    frame: body([1, 1, 0, [attr, 2 ** 27 - 32, 2 ** 27], []]),
    code: 'ERR_CALL_LIMIT',
  },
  {
    name: 'reading 2^40 bytes',
    frame: body([5, 2n ** 40n], FrameType.READ),
    code: 'ERR_CALL_LIMIT',
  },
  // other requests
  {
    name: 'OPEN without a handle',
    frame: body(['/proc/uptime', 0], FrameType.OPEN),
    code: 'ERR_CALL_MALFORMED',
  },
  {
    name: 'OPEN of a path outside the rules',
    frame: body(['/etc/shadow', 5], FrameType.OPEN),
    code: 'ERR_POLICY_REFUSED',
  },
  {
    name: 'OPEN of a path that climbs',
    frame: body(['/proc/../etc/shadow', 5], FrameType.OPEN),
    code: 'ERR_POLICY_REFUSED',
  },
  {
    name: 'OPEN of a path with a NUL',
    frame: body(['/proc/uptime\0', 5], FrameType.OPEN),
    code: 'ERR_POLICY_REFUSED',
  },
  {
    name: 'OPEN of a relative path',
    frame: body(['proc/uptime', 5], FrameType.OPEN),
    code: 'ERR_POLICY_REFUSED',
  },
  {
    name: 'FILE of an unknown operation',
    frame: body([Object.keys(FileOperation).length, '/proc/uptime', 0, ''], FrameType.FILE),
    code: 'ERR_CALL_MALFORMED',
  },
  {
    name: 'FILE without its second path',
    frame: body([0, '/proc/uptime', 0], FrameType.FILE),
    code: 'ERR_CALL_MALFORMED',
  },
  ...['/etc/shadow', '/proc/../etc/shadow', '/proc/uptime\0', 'proc/uptime', ''].flatMap((path) =>
    [0, 3, 4, 7].map((operation) => ({
      name: `FILE ${operation} of ${JSON.stringify(path)}`,
      frame: body([operation, path, 0, path], FrameType.FILE),
      code: 'ERR_POLICY_REFUSED',
    })),
  ),
  { name: 'READ with a text', frame: body(['a', 5], FrameType.READ), code: 'ERR_CALL_MALFORMED' },
  { name: 'CLOSE of a number', frame: body(5, FrameType.CLOSE), code: 'ERR_CALL_MALFORMED' },
  // chains
  { name: 'a chain of nothing', frame: raw(0x1d), code: 'ERR_CALL_MALFORMED', why: /of calls/ },
  { name: 'no calls', frame: body([], 0x1d), code: 'ERR_CALL_MALFORMED', why: /of calls/ },
  {
    name: 'a call that is no byte string',
    frame: body([attr, [1, 1, 0, [attr], []]], 0x1d),
    code: 'ERR_CALL_MALFORMED',
    why: /byte string/,
  },
  {
    name: 'calls cut short',
    frame: raw(0x1d, 0x82, 0x41, 0x80),
    code: 'ERR_CALL_MALFORMED',
  },
  {
    name: 'bytes behind the calls',
    frame: raw(0x1d, 0x81, 0x41, 0x80, 0x00),
    code: 'ERR_CALL_MALFORMED',
    why: /follow the calls/,
  },
  {
    name: 'too many calls',
    frame: body(Array(257).fill(attr), 0x1d),
    code: 'ERR_CALL_LIMIT',
  },
  // frames that end the session
  { name: 'an unknown type', frame: raw(0x77), code: 'ERR_FRAME_MALFORMED', ends: true },
  {
    name: 'a second HELLO',
    frame: body({ protocol: 1, client: 'x' }, FrameType.HELLO),
    code: 'ERR_FRAME_MALFORMED',
    ends: true,
  },
  {
    name: 'a RESULT from the client',
    frame: body([0, 0, []], FrameType.RESULT),
    code: 'ERR_FRAME_MALFORMED',
    ends: true,
  },
  {
    name: 'unknown flags',
    frame: raw(0x10).fill(3, 5, 6),
    code: 'ERR_FRAME_MALFORMED',
    ends: true,
  },
  {
    name: 'reserved bits',
    frame: raw(0x10).fill(1, 7, 8),
    code: 'ERR_FRAME_MALFORMED',
    ends: true,
  },
  {
    name: 'a length beyond the limit',
    frame: Uint8Array.of(1, 0, 0, 4, 0x10, 0, 0, 0, 1, 0, 0, 0),
    code: 'ERR_FRAME_TOO_LARGE',
    ends: true,
  },
  {
    name: 'a length of 2^32 - 1',
    frame: Uint8Array.of(255, 255, 255, 255, 0x10, 0, 0, 0, 1, 0, 0, 0),
    code: 'ERR_FRAME_TOO_LARGE',
    ends: true,
  },
];

async function serves(t: Test, session: Session): Promise<void> {
  const attribute = Buffer.alloc(8);
  const reply = await session.call({
    command: 11, // BPF_PROG_GET_NEXT_ID
    args: 1,
    result: 0,
    buffers: [{ inout: attribute }],
    relocations: [],
  });
  t.ok(reply.errno === 0 || reply.errno === 2, 'others are served');
}

t.test('malformed and hostile requests', async (t) => {
  const local = await localAgent();
  t.teardown(() => local.close());
  const bystander = await Session.connect(local.address);
  t.teardown(() => bystander.close());
  // Once it answers, its executor has done all it opens files for.
  await serves(t, bystander);
  const before = openDescriptors();
  const executorBefore = executorDescriptors(local.agent);

  for (const { name, frame, code, why, ends } of cases) {
    await t.test(name, async (t) => {
      const client = await Client.greeted(local.address);
      client.send(frame);
      const error = await client.error();
      t.equal(error?.code, code);
      if (why !== undefined) t.match(error?.detail.why, why);
      if (ends === true) {
        t.equal(await client.frame(), undefined, 'the session ends');
      } else {
        client.send(
          body([0, 1, 5, [Buffer.from([2, 0, 0, 0, 4, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0])], []]),
        );
        const answer = await client.frame();
        t.same(decodeBody(answer?.body ?? new Uint8Array()), [5, 0, []], 'the session goes on');
      }
      await client.close();
      await serves(t, bystander);
    });
  }

  await settled(local, 1, before);
  t.same(executorDescriptors(local.agent), executorBefore, 'and so has the bystander');
});

/** Waits until the others have ended, and all that the agent had open for them is closed. */
async function settled(local: LocalAgent, sessions: number, descriptors: number): Promise<void> {
  await until('the end of the others', () => local.agent.sessions <= sessions);
  // The last pipe of an executor closes in a turn after it ends.
  const seen = () => `${descriptors} descriptors, and not ${openDescriptors()}`;
  await until(seen, () => openDescriptors() <= descriptors);
}

t.test('a request cut short at every byte ends its session only', async (t) => {
  const local = await localAgent();
  t.teardown(() => local.close());
  const bystander = await Session.connect(local.address);
  t.teardown(() => bystander.close());
  await serves(t, bystander);
  const before = openDescriptors();
  const frame = frameOf(lookup);
  const ends: number[] = [];
  local.agent.on('ended', ({ report }) => ends.push(report?.end ?? -1));
  for (let length = 1; length < frame.length; length++) {
    const client = await Client.greeted(local.address);
    client.send(frame.subarray(0, length));
    client.end();
    t.equal(await client.frame(), undefined, `cut at ${length}`);
  }
  await settled(local, 1, before);
  t.same(new Set(ends), new Set([1]), 'each session ended inside a frame');
  await serves(t, bystander);
});

t.test('a handshake cut short at every byte, or none at all', async (t) => {
  const local = await localAgent();
  const hasty = await localAgent({ helloTimeoutMs: 300 });
  t.teardown(() => Promise.all([local.close(), hasty.close()]));
  const before = openDescriptors();
  const hello = messageFrame(FrameType.HELLO, 0, { protocol: 1, client: 'x' });
  for (let length = 0; length < hello.length; length++) {
    const client = new Client(local.address);
    client.send(hello.subarray(0, length));
    client.end();
    await client.error();
    t.ok((await client.frame()) === undefined, `cut at ${length}`);
  }
  const silent = new Client(hasty.address);
  t.match(await silent.error(), { code: 'ERR_HANDSHAKE_TIMEOUT' }, 'a silent client is told');
  await silent.close();
  for (const [name, frame, code] of [
    ['another version', messageFrame(1, 0, { protocol: 9, client: 'x' }), 'ERR_PROTOCOL_VERSION'],
    ['a call first', frameOf(lookup), 'ERR_PROTOCOL_UNEXPECTED'],
    ['no CBOR', raw(1, 0xff), 'ERR_FRAME_MALFORMED'],
    ['a huge handshake', Uint8Array.of(0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0), 'ERR_FRAME_TOO_LARGE'],
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'), 'ERR_FRAME_MALFORMED'],
  ] as const) {
    const client = new Client(local.address);
    client.send(frame);
    t.match(await client.error(), { code }, name);
    t.equal(await client.frame(), undefined);
  }
  const eager = new Client(local.address);
  eager.send(Buffer.concat([hello, frameOf(lookup)]));
  t.match(await eager.error(), { code: 'ERR_PROTOCOL_UNEXPECTED' }, 'a call before WELCOME');
  await settled(local, 0, before);
});

t.test('what a client forges leads nowhere', async (t) => {
  const local = await localAgent();
  t.teardown(() => local.close());
  const session = await Session.connect(local.address);
  t.teardown(() => session.close());
  const map = await session.createMap({ type: 1, keySize: 4, valueSize: 4096, maxEntries: 4 });
  const key = Buffer.from([1, 0, 0, 0]);
  await map.update(key, Buffer.alloc(4096, 0xab));

  // A buffer that is shorter than what the kernel copies is EFAULT, and nothing is overrun.
  const short = await session.call({
    command: 1,
    args: 1,
    result: 0,
    buffers: [Buffer.alloc(32), key, 100],
    relocations: [0, 0, 1, map.handle, 0, 8, 0, 1, 0, 16, 0, 2],
  });
  t.equal(short.errno, 14, 'EFAULT for too small a value buffer');
  const shortKey = await session.call({
    command: 2,
    args: 1,
    result: 0,
    buffers: [Buffer.alloc(32), key, Buffer.alloc(4095)],
    relocations: [0, 0, 1, map.handle, 0, 8, 0, 1, 0, 16, 0, 2],
  });
  t.equal(shortKey.errno, 14, 'EFAULT for reading beyond a value');

  // The executor's own memory, by address.
  const [pid] = local.agent.executorPids as [number];
  const { readFileSync } = await import('node:fs');
  const maps = readFileSync(`/proc/${pid}/maps`, 'latin1').trim().split('\n');
  for (const line of maps) {
    if (line.includes('[vsyscall]')) continue;
    const start = BigInt(`0x${line.split('-')[0]}`);
    const attribute = Buffer.alloc(32);
    attribute.writeBigUInt64LE(start + 16n, 16);
    await t.rejects(
      session.call({
        command: 1,
        args: 1,
        result: 0,
        buffers: [attribute, key],
        relocations: [0, 0, 1, map.handle, 0, 8, 0, 1],
      }),
      { code: 'ERR_CALL_MALFORMED', message: /is an address of the executor/ },
      line.slice(0, 40),
    );
  }

  // What the kernel copies and no more may be any number, even one that happens to be an address.
  const numbers = await session.createMap({ type: 1, keySize: 4, valueSize: 8, maxEntries: 4 });
  const stores = await session.createMap({
    type: 29,
    keySize: 4,
    valueSize: 8,
    maxEntries: 0,
    flags: 1,
    types: { btf: await session.loadBtf(pair), key: 1, value: 2 },
  });
  for (const line of maps) {
    if (line.includes('[vsyscall]')) continue;
    const value = Buffer.alloc(8);
    value.writeBigUInt64LE(BigInt(`0x${line.split('-')[0]}`) + 16n);
    await numbers.update(key, value);
    t.same(await numbers.lookup(key), value, line.slice(0, 40));
    const several = [1, 2, 3].map((one) => [Buffer.from([one, 0, 0, 0]), value] as const);
    t.equal(await numbers.updateMany(several), 3);
    t.same(await numbers.lookup(key), value);
    // Values of task storage may have pointers that the kernel follows.
    await t.rejects(stores.update(key, value), { message: /is an address of the executor/ });
  }

  // Descriptors by number: what another session holds is not to be had here.
  const other = await Session.connect(local.address);
  t.teardown(() => other.close());
  const [, otherPid] = local.agent.executorPids as [number, number];
  await other.createMap({ type: 1, keySize: 4, valueSize: 4, maxEntries: 4 });
  const { readdirSync } = await import('node:fs');
  for (const fd of readdirSync(`/proc/${pid}/fd`).map(Number)) {
    const attribute = Buffer.alloc(32);
    attribute.writeUInt32LE(fd, 0);
    const forged = await other
      .call({
        command: 1,
        args: 1,
        result: 0,
        buffers: [attribute, key, 4096],
        relocations: [0, 8, 0, 1, 0, 16, 0, 2],
      })
      .catch((error: Error & { detail?: { rule: string } }) => error);
    // The standard ones are none of a session's objects.
    if (fd > 2) t.match(forged, { code: 'ERR_POLICY_REFUSED', detail: { rule: 'descriptors' } });
    else t.match(forged, { result: -1 }, `descriptor ${fd}`);
  }
  t.not(pid, otherPid);

  // Asking to bind what is no descriptor.
  await t.rejects(
    session.call({
      command: 2,
      args: 1,
      result: 99,
      buffers: [Buffer.alloc(32), key, Buffer.alloc(4096)],
      relocations: [0, 0, 1, map.handle, 0, 8, 0, 1, 0, 16, 0, 2],
    }),
    { code: 'ERR_CALL_MALFORMED', message: /not a new descriptor/ },
  );

  // Addresses and descriptor numbers do not come back.
  const reply = await session.call({
    command: 15, // BPF_OBJ_GET_INFO_BY_FD
    args: 1,
    result: 0,
    buffers: [{ inout: Buffer.from([0, 0, 0, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]) }, 80],
    relocations: [0, 0, 1, map.handle, 0, 8, 0, 1],
  });
  t.equal(reply.errno, 0);
  const image = Buffer.from(reply.outputs[0] as Uint8Array);
  t.equal(image.readUInt32LE(0), 0xffffffff, 'the descriptor');
  t.equal(image.readBigUInt64LE(8), 0xffffffffffffffffn, 'the address');

  // Not even from a buffer that only comes out.
  const { outputs } = await session.call({
    command: 12, // BPF_MAP_GET_NEXT_ID
    args: 1,
    result: 0,
    buffers: [Buffer.alloc(12), 16],
    relocations: [1, 0, 0, 1, 1, 8, 1, map.handle],
  });
  const out = Buffer.from(outputs[0] as Uint8Array);
  t.equal(out.readBigUInt64LE(0), 0xffffffffffffffffn, 'the address in an output');
  t.equal(out.readUInt32LE(8), 0xffffffff, 'the descriptor in an output');
});

t.test('answers that may wait come all the same, in order', async (t) => {
  const local = await localAgent();
  t.teardown(() => local.close());
  const client = await Client.greeted(local.address);
  t.teardown(() => client.close());
  const MAY_WAIT = 1;
  const ping = (id: number, flags = MAY_WAIT) => {
    const frame = messageFrame(FrameType.PING, id, undefined);
    frame[5] = flags;
    return frame;
  };
  const ids = async (count: number) => {
    const found: (number | undefined)[] = [];
    while (found.length < count) found.push((await client.frame())?.id);
    return found;
  };

  client.send(ping(1));
  t.same(await ids(1), [1], 'one with nothing behind it');
  client.send(Buffer.concat([ping(2), ping(3), ping(4, 0)]));
  t.same(await ids(3), [2, 3, 4], 'three together');
  const part = ping(7);
  client.send(Buffer.concat([ping(5), ping(6), part.subarray(0, 5)]));
  t.same(await ids(2), [5, 6], 'two before a part of a third');
  client.send(part.subarray(5));
  t.same(await ids(1), [7], 'the third');

  // More than is held back: each answer has 8 KiB.
  const zero = messageFrame(FrameType.OPEN, 8, ['/proc/kallsyms', 1]);
  client.send(zero);
  t.same(await ids(1), [8]);
  const reads = Array.from({ length: 20 }, (_, at) => {
    const frame = messageFrame(FrameType.READ, 100 + at, [1, 8192]);
    frame[5] = MAY_WAIT;
    return frame;
  });
  client.send(Buffer.concat(reads));
  t.same(
    await ids(20),
    [...Array(20).keys()].map((at) => 100 + at),
    'more than may wait',
  );

  const many = Array.from({ length: 5000 }, (_, at) => ping(1000 + at));
  client.send(Buffer.concat([...many, ping(9, 2)]));
  t.same(
    await ids(5000),
    [...Array(5000).keys()].map((at) => 1000 + at),
    'what waits is bounded',
  );
  t.equal((await client.error())?.code, 'ERR_FRAME_MALFORMED', 'behind them all, the end');
  t.equal(await client.frame(), undefined);

  // The end of a session is one whether its answers can still be sent or not.
  const leased = await Client.greeted(local.address, 60_000);
  const ended = once(local.agent, 'ended');
  const end = messageFrame(FrameType.END, 0, undefined);
  leased.send(Buffer.concat([ping(1), ping(2), end]));
  leased.end();
  await ended;
  await leased.close();
  const flagged = await Client.greeted(local.address);
  end[5] = MAY_WAIT;
  flagged.send(end);
  t.equal((await flagged.error())?.code, 'ERR_FRAME_MALFORMED', 'END has no answer');
  await flagged.close();
});

t.test('handles run out with an error, not with the machine', async (t) => {
  const local = await localAgent();
  t.teardown(() => local.close());
  const session = await Session.connect(local.address);
  t.teardown(() => session.close());
  const paths: number[] = [];
  for (let i = 0; i < session.limits.maxHandles; i++)
    paths.push(await session.open('/proc/uptime'));
  await t.rejects(session.open('/proc/uptime'), { code: 'ERR_HANDLE_LIMIT' });
  await session.release(paths.slice(0, 1));
  await session.open('/proc/uptime');
  t.pass('one closed makes room for one');
  // In its turn: what is still under way is closed with the others.
  const late = session.open('/proc/uptime').catch(({ code }) => code);
  const releasing = session.releaseAll();
  t.equal(await late, 'ERR_HANDLE_LIMIT');
  await releasing;
  await session.releaseAll();
  const rest = executorDescriptors(local.agent);
  for (let i = 0; i < session.limits.maxHandles; i++) await session.open('/proc/uptime');
  t.equal(executorDescriptors(local.agent)[0], (rest[0] ?? 0) + session.limits.maxHandles);
});

t.test('connections beyond the maximum are refused, silent ones included', async (t) => {
  const local = await localAgent({ maxSessions: 2 });
  t.teardown(() => local.close());
  const silent = new Client(local.address);
  const session = await Session.connect(local.address);
  t.teardown(() => session.close());
  await t.rejects(Session.connect(local.address), {
    code: 'ERR_PEER_REFUSED',
    message: /maximum of 2 sessions/,
  });
  await silent.close();
  const next = await Session.connect(local.address);
  next.close();
});
