import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Duplex } from 'node:stream';
import t, { type Test } from 'tap';
import type { AgentOptions } from '../../guest/agent/agent.js';
import { enums, insn, rows } from '../../src/bpf/index.js';
import { FrameType, messageFrame } from '../../src/frame/index.js';
import type { SessionOptions } from '../../src/session/index.js';
import { Session } from '../../src/session.js';
import { connect } from '../../src/transport/index.js';
import { Client } from '../agent/client.js';
import { bpfObjects, type LocalAgent, localAgent } from '../agent/local-agent.js';
import { breakableTransport } from '../agent/transport.js';
import { until } from '../until.js';
import { fakeAgent } from './fake-agent.js';

const u32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};

async function setUp(t: Test, options: SessionOptions, agent: Partial<AgentOptions> = {}) {
  const local = await localAgent(agent);
  t.teardown(() => local.close());
  const transport = await breakableTransport(local.address);
  t.teardown(() => transport.close());
  const session = await Session.connect(transport.address, options);
  t.teardown(() => session.close());
  return { local, transport, session };
}

const executor = (local: LocalAgent) => local.agent.executorPids[0] as number;

t.test('a session with a lease outlives its connection', async (t) => {
  const { local, transport, session } = await setUp(t, { leaseMs: 20_000 });
  t.equal(session.leaseMs, 20_000);
  const pid = executor(local);
  const map = await session.createMap({ type: 1, keySize: 4, valueSize: 4, maxEntries: 4 });
  const program = await session.loadProgram({
    type: enums.ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT,
    instructions: insn.program(insn.mov('r0', 0), insn.exit()),
    license: 'GPL',
  });
  await program.attachRawTracepoint('sys_enter');
  await map.update(u32(1), u32(11));
  const before = bpfObjects(pid);
  for (let i = 1; i <= 3; i++) {
    transport.cut();
    const resumed = () => session.statistics.resumptions === i;
    await until('word of the loss', () => session.interrupted || resumed());
    // Made while there is no connection, or by then on the next one.
    t.same(await map.lookup(u32(1)), Uint8Array.from(u32(11)));
    t.same(bpfObjects(pid), before, 'nothing is gone');
    t.equal(session.statistics.resumptions, i);
    t.notOk(session.interrupted);
  }
  t.same(local.agent.executorPids, [pid]);
  await map.close();
  t.equal(bpfObjects(pid).length, before.length - 1);
});

t.test('an agent tells that a session has lost its connection', async (t) => {
  // A client that resumes at once may do so before the agent has noticed the loss.
  const { local, transport, session } = await setUp(t, { leaseMs: 20_000, reconnect: false });
  const map = await session.createMap({ type: 1, keySize: 4, valueSize: 4, maxEntries: 4 });
  const before = bpfObjects(executor(local));
  const detached = once(local.agent, 'detached');
  transport.cut();
  t.match(await detached, [{ leaseMs: 20_000 }]);
  t.same(bpfObjects(executor(local)), before, 'nothing is gone');
  await until('word of the loss', () => session.interrupted);
  await session.resume();
  t.equal(await map.lookup(u32(1)), undefined);
});

t.test('what was under way at a loss is settled', async (t) => {
  const { local, transport, session } = await setUp(t, { leaseMs: 20_000 });
  // The verifier walks all of it, which takes it a while, and then has nothing against it.
  const insns = insn.program(
    insn.mov('r0', 0),
    insn.label('again'),
    insn.alu('add', 'r0', 1),
    insn.jumpIf('lt', 'r0', 300_000, 'again'),
    insn.exit(),
  );
  const map = await session.createMap({ type: 1, keySize: 4, valueSize: 4, maxEntries: 4 });
  const other = await session.createMap({ type: 1, keySize: 4, valueSize: 4, maxEntries: 4 });
  const { framesSent: sent } = session.statistics;
  const passed = transport.mute();
  const load = session.bpf(rows.PROG_LOAD, { prog_type: 17, insns, license: 'GPL' });
  const update = map.update(u32(2), u32(22));
  const closing = other.close();
  await until(
    'three calls, at the agent',
    () => session.statistics.framesSent === sent + 3 && passed() > 0,
  );
  transport.cut();
  const interrupted = {
    code: 'ERR_SESSION_INTERRUPTED',
    message: /has either taken effect or never will/,
  };
  await Promise.all([t.rejects(load, interrupted), t.rejects(update, interrupted)]);
  await closing;
  await session.resume();
  const value = await map.lookup(u32(2));
  t.same(await map.lookup(u32(2)), value, 'whatever it is, it will not change any more');
  t.equal(bpfObjects(executor(local)).length, 1, 'neither the program nor the closed map is left');
});

t.test('a lease ends when it says so', async (t) => {
  const { local, transport, session } = await setUp(t, { leaseMs: 700, reconnect: false });
  const map = await session.createMap({ type: 1, keySize: 4, valueSize: 4, maxEntries: 4 });
  const ended = once(local.agent, 'ended').then((facts) => [performance.now(), facts] as const);
  const startMs = performance.now();
  transport.cut();
  await until('word of the loss', () => session.interrupted);
  const [endMs, facts] = await ended;
  t.ok(endMs - startMs >= 699, `${endMs - startMs} ms`);
  t.match(facts, [{ exitCode: 0, report: { handles: 1 } }]);
  await t.rejects(session.resume(), { code: 'ERR_SESSION_CLOSED' });
  await t.rejects(map.lookup(u32(1)), { code: 'ERR_SESSION_CLOSED' });
});

t.test('close() waits for no lease', async (t) => {
  const { local, session } = await setUp(t, { leaseMs: 20_000 });
  const ended = once(local.agent, 'ended');
  session.close();
  t.match(await ended, [{ report: { end: 4 } }]);
  t.equal(local.agent.sessions, 0);
});

t.test('the agent bounds leases', async (t) => {
  const { session } = await setUp(t, { leaseMs: 20_000 }, { maxLeaseMs: 100 });
  t.equal(session.leaseMs, 100);
  const { transport, session: none, local } = await setUp(t, { leaseMs: 500 }, { maxLeaseMs: 0 });
  t.equal(none.leaseMs, 0);
  await t.rejects(none.resume(), { code: 'ERR_SESSION_UNKNOWN' });
  const ended = once(local.agent, 'ended');
  transport.cut();
  await ended;
  await until('its end here, too', () => none.closed);
});

t.test('a stream can be replaced by another', async (t) => {
  const local = await localAgent();
  t.teardown(() => local.close());
  const wrapped = async () => {
    const inner = await connect(local.address);
    return Duplex.from({ readable: inner, writable: inner });
  };
  await t.rejects(Session.connect(await wrapped(), { leaseMs: 1 }), { code: 'ERR_OPTION_INVALID' });
  const session = await Session.connect(await wrapped(), { leaseMs: 20_000, reconnect: wrapped });
  t.teardown(() => session.close());
  const map = await session.createMap({ type: 1, keySize: 4, valueSize: 4, maxEntries: 4 });
  await session.resume();
  t.equal(await map.lookup(u32(1)), undefined);
  t.equal(session.statistics.resumptions, 1);
});

t.test('tokens', async (t) => {
  const local = await localAgent();
  t.teardown(() => local.close());
  const brief = await Client.greeted(local.address);
  const lasting = await Client.greeted(local.address, 20_000);
  t.teardown(() => Promise.all([brief.close(), lasting.close()]));
  const almost = lasting.token.slice();
  almost[31] = (almost[31] as number) ^ 1;
  const refused: Array<[string, Uint8Array, string, string]> = [
    ['a random one', randomBytes(32), 'resume', 'ERR_SESSION_UNKNOWN'],
    ['a random one', randomBytes(32), 'events', 'ERR_SESSION_UNKNOWN'],
    ['an almost right one', almost, 'resume', 'ERR_SESSION_UNKNOWN'],
    ['an empty one', new Uint8Array(0), 'resume', 'ERR_SESSION_UNKNOWN'],
    ['a long one', new Uint8Array(33), 'resume', 'ERR_SESSION_UNKNOWN'],
    ['that of a session without a lease', brief.token, 'resume', 'ERR_SESSION_UNKNOWN'],
    ['an unknown purpose', lasting.token, 'else', 'ERR_FRAME_MALFORMED'],
  ];
  for (const [name, token, purpose, code] of refused) {
    const client = Client.joining(local.address, token, purpose);
    t.equal((await client.error())?.code, code, name);
    t.equal(await client.frame(), undefined, 'and the connection ends');
  }
  for (const client of [brief, lasting]) {
    client.send(messageFrame(FrameType.PING, 5, undefined));
    t.match(await client.frame(), { type: FrameType.RESULT, id: 5 }, 'sessions notice nothing');
  }
});

t.test('two resume a session at once', async (t) => {
  const local = await localAgent();
  t.teardown(() => local.close());
  const first = await Client.greeted(local.address, 20_000);
  first.send(messageFrame(FrameType.OPEN, 1, ['/proc/version', 7]));
  t.match(await first.frame(), { type: FrameType.RESULT });
  const others = [
    Client.joining(local.address, first.token),
    Client.joining(local.address, first.token),
  ];
  for (const other of others) t.match(await other.frame(), { type: FrameType.WELCOME });
  t.equal(await first.frame(), undefined, 'whose place is taken is told by the end');
  const frames = others.map((other) => other.frame());
  const [loser, answer] = await Promise.race(
    frames.map(async (frame, i) => [i, await frame] as const),
  );
  t.equal(answer, undefined, 'one of them has ended');
  others[1 - loser]?.send(messageFrame(FrameType.READ, 2, [7, 10]));
  t.match(await frames[1 - loser], { type: FrameType.RESULT, id: 2 }, 'the other one has it');
  t.equal(local.agent.sessions, 1);
  for (const other of others) await other.close();
});

t.test('a client that falls silent', async (t) => {
  // Clients give four signs of life in that time, which may be late on a busy machine.
  const local = await localAgent({ silenceMs: 3000 });
  t.teardown(() => local.close());
  const server = await local.agent.listen('tcp:127.0.0.1:0');
  const address = `tcp:127.0.0.1:${(server.address() as { port: number }).port}`;
  const live = await Session.connect(address);
  t.teardown(() => live.close());
  const ended = once(local.agent, 'ended');
  const silent = await Client.greeted(address);
  t.match(await ended, [{ report: { end: -11 } }], 'is taken for lost');
  t.equal(await silent.frame(), undefined);
  t.notOk(live.closed, 'one that only has nothing to say is not');
  t.equal(local.agent.sessions, 1);
});

t.test('a handle means nothing in another session', async (t) => {
  const local = await localAgent();
  t.teardown(() => local.close());
  const [one, other] = await Promise.all([
    Session.connect(local.address),
    Session.connect(local.address),
  ]);
  t.teardown(() => [one.close(), other.close()]);
  const handle = await one.open('/proc/version');
  t.ok(await one.read(handle, 10));
  await t.rejects(other.read(handle, 10), { code: 'ERR_HANDLE_UNKNOWN' });
  await t.rejects(other.release([handle]), { code: 'ERR_HANDLE_UNKNOWN' });
  t.ok(await one.read(handle, 10));
});

t.test('answers in any order', async (t) => {
  const waiting: number[] = [];
  const fake = await fakeAgent((frame, socket) => {
    waiting.push(frame.id);
    if (waiting.length < 5) return;
    for (const id of waiting.reverse()) {
      socket.write(messageFrame(FrameType.RESULT, id, [id, 0, [Buffer.from([id])]]));
    }
  });
  t.teardown(() => fake.close());
  const session = await Session.connect(fake.address);
  t.teardown(() => session.close());
  const call = {
    command: 1,
    args: 1 as const,
    result: 0,
    buffers: [Buffer.alloc(8), 1],
    relocations: [],
  };
  const order: number[] = [];
  const replies = await Promise.all(
    Array.from({ length: 5 }, async (_, i) => {
      const reply = await session.call(call);
      order.push(i);
      return reply;
    }),
  );
  t.same(order, [4, 3, 2, 1, 0]);
  for (const { result, outputs } of replies) t.equal(outputs[0]?.[0], result);
  t.equal(new Set(replies.map(({ result }) => result)).size, 5);
});
