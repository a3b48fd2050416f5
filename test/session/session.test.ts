import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer, connect as netConnect, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import t from 'tap';
import { enums, insn, rows } from '../../src/bpf/index.js';
import type { Call } from '../../src/call.js';
import { Session } from '../../src/session.js';
import { bpfObjects, localAgent } from '../agent/local-agent.js';

const u32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};

t.test('nobody stays for the answer to a call that is made ahead', async (t) => {
  const local = await localAgent();
  t.teardown(() => local.close());
  const session = await Session.connect(local.address);
  t.teardown(() => session.close());
  const ask = () =>
    session.tryBpf(rows.PROG_GET_NEXT_ID, { start_id: 0x7ffffffe }, { ahead: true });
  const answers = [ask(), ask()];
  t.equal(session.statistics.pendingCalls, 2, 'both are under way');
  for (const { errno } of await Promise.all(answers)) t.equal(errno, 2);
});

t.test('calls that travel together are answered each by itself', async (t) => {
  const local = await localAgent();
  t.teardown(() => local.close());
  const session = await Session.connect(local.address, { maxQueuedBytes: 1024 });
  t.teardown(() => session.close());
  const create = (entries: number, padding = 0): Call => ({
    command: enums.Cmd.BPF_MAP_CREATE,
    args: 1,
    result: session.newHandle(),
    buffers: [
      Buffer.concat([Buffer.from(Uint32Array.of(2, 4, 8, entries).buffer), Buffer.alloc(48)]),
      // Nothing refers to it.
      Buffer.alloc(padding),
    ],
    relocations: [],
  });
  t.same(session.callAll([]), []);
  const before = session.statistics.framesSent;
  // One that cannot be made, one that can be made once, and one larger than what is sent at once.
  const once = create(1);
  const calls = [create(1), create(0), once, once, create(3, 200_000), create(4)];
  const replies = session.callAll(calls, { name: 'BPF_MAP_CREATE' });
  t.equal(session.statistics.pendingCalls, calls.length, 'all are under way');
  const outcomes = await Promise.allSettled(replies);
  t.same(
    outcomes.map((outcome) =>
      outcome.status === 'rejected' ? outcome.reason.code : outcome.value.errno,
    ),
    [0, 22, 0, 'ERR_HANDLE_IN_USE', 0, 0],
  );
  t.equal(session.statistics.framesSent - before, calls.length);
  const [pid] = local.agent.executorPids as [number];
  t.equal(bpfObjects(pid).length, 4);

  const many = await Promise.all(session.callAll(Array.from({ length: 3000 }, () => create(0))));
  t.ok(
    many.every(({ errno }) => errno === 22),
    'more than the queue may hold',
  );

  const ask: Call = {
    command: enums.Cmd.BPF_PROG_GET_NEXT_ID,
    args: 1,
    result: 0,
    buffers: [{ inout: Buffer.from(Uint32Array.of(0x7ffffffe, 0, 0, 0).buffer) }],
    relocations: [],
  };
  for (const trimmed of [true, false]) {
    const [reply] = await Promise.all(session.callAll([ask], { trimmed }));
    t.equal(reply?.outputs[0]?.length, trimmed ? 4 : 16, 'zeroes at the end');
    t.equal((await session.call(ask, { trimmed })).outputs[0]?.length, trimmed ? 4 : 16);
  }

  const abort = new AbortController();
  abort.abort(new Error('not any more'));
  const aborted = session.callAll([create(1), create(1)], { signal: abort.signal });
  for (const reply of aborted) await t.rejects(reply, { code: 'ERR_CALL_ABORTED' });
  const left = session.callAll([create(1), create(1)]);
  session.close();
  for (const reply of left) await t.rejects(reply, { code: 'ERR_SESSION_CLOSED' });
  for (const reply of session.callAll([create(1)])) {
    await t.rejects(reply, { code: 'ERR_SESSION_CLOSED' });
  }
});

t.test('a hash map, there and back', async (t) => {
  const local = await localAgent();
  t.teardown(() => local.close());
  const session = await Session.connect(local.address);
  t.teardown(() => session.close());
  t.equal(session.kernel.release, execFileSync('uname', ['-r'], { encoding: 'utf8' }).trim());
  const map = await session.createMap({
    type: enums.MapType.BPF_MAP_TYPE_HASH,
    keySize: 4,
    valueSize: 12,
    maxEntries: 10,
    name: 'there_and_back',
  });
  t.equal(await map.lookup(u32(1)), undefined);
  for (let i = 0; i < 10; i++) await map.update(u32(i), Buffer.alloc(12, i));
  t.same(await map.lookup(u32(3)), Uint8Array.from(Buffer.alloc(12, 3)));
  t.same(await map.lookup(u32(0)), new Uint8Array(12), 'a value of zeros');
  await t.rejects(map.update(u32(11), Buffer.alloc(12)), {
    code: 'E2BIG',
    errno: -7,
    syscall: 'bpf',
    command: 'BPF_MAP_UPDATE_ELEM',
    side: 'guest',
  });
  await t.rejects(map.update(u32(3), Buffer.alloc(12), 1), { code: 'EEXIST' });
  const entries = new Map<number, number>();
  for await (const [key, value] of map) {
    entries.set(Buffer.from(key).readUInt32LE(), value[0] as number);
  }
  t.same(
    [...entries].sort((a, b) => a[0] - b[0]),
    Array.from({ length: 10 }, (_, i) => [i, i]),
  );
  t.equal(await map.delete(u32(3)), true);
  t.equal(await map.delete(u32(3)), false);
  const about = await session.open(`/proc/self/fdinfo/${map.handle}`);
  const lines = Buffer.from((await session.read(about, 4096)) ?? []).toString();
  t.match(lines, /^value_size:\t12\n(.*\n)*memlock:\t\d+$/m, 'what the kernel shows of it');
  await session.release([about]);
  for (const unknown of ['4000', '0', '', '1x', '../0']) {
    const path = `/proc/self/fdinfo/${unknown}`;
    await t.rejects(session.open(path), { code: 'ENOENT' }, `"${unknown}" is no handle`);
  }
  const [pid] = local.agent.executorPids as [number];
  t.equal(bpfObjects(pid).length, 1);
  await map.close();
  await map.close();
  t.same(bpfObjects(pid), [], 'closed in the kernel');
  const early = session.createMap({
    type: enums.MapType.BPF_MAP_TYPE_ARRAY,
    keySize: 4,
    valueSize: 4,
    maxEntries: 1,
    name: 'under_way',
  });
  const all = session.releaseAll();
  t.ok((await early).handle > 0);
  await all;
  t.same(bpfObjects(pid), [], 'what was under way is closed, too');
});

t.test('programs: the verifier, its log, and an attachment', async (t) => {
  const local = await localAgent();
  t.teardown(() => local.close());
  const session = await Session.connect(local.address);
  t.teardown(() => session.close());
  const type = enums.ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT;
  await t.rejects(
    // r0 is read before anything was written to it
    session.loadProgram({ type, instructions: insn.program(insn.exit()), license: 'GPL' }),
    { code: 'EACCES', command: 'BPF_PROG_LOAD', log: /R0 !read_ok/, message: /R0 !read_ok/ },
  );
  const program = await session.loadProgram({
    type,
    instructions: insn.program(insn.mov('r0', 0), insn.exit()),
    license: 'GPL',
    name: 'nothing',
  });
  const link = await program.attachRawTracepoint('sys_enter');
  await t.rejects(program.attachRawTracepoint('no_such_tracepoint'), { code: 'ENOENT' });
  const { info } = await session.bpf(rows.OBJ_GET_INFO_BY_FD_PROG, { bpf_fd: program });
  t.match(info, { name: 'nothing', type });
  await link.close();
  await program.close();
  const [pid] = local.agent.executorPids as [number];
  t.same(bpfObjects(pid), []);
});

t.test('what a session made ends with it', async (t) => {
  const local = await localAgent();
  t.teardown(() => local.close());
  const session = await Session.connect(local.address);
  await session.createMap({ type: 2, keySize: 4, valueSize: 8, maxEntries: 1, name: 'mortal' });
  const ended = new Promise((resolve) => local.agent.on('ended', resolve));
  session.close();
  t.match(await ended, { report: { end: 0, calls: 1, handles: 1 }, exitCode: 0 });
  t.notMatch(readFileSync('/proc/self/fdinfo/0', 'utf8'), /map_id/);
});

t.test('a forwarded call is one frame each way, whatever the command', async (t) => {
  // Without the frames by which a client shows that it is there.
  const local = await localAgent({ silenceMs: 0 });
  t.teardown(() => local.close());
  const server = await local.agent.listen('tcp:127.0.0.1:0');
  const { port } = server.address() as { port: number };
  const session = await Session.connect(`tcp:127.0.0.1:${port}`);
  t.teardown(() => session.close());
  const map = await session.createMap({ type: 1, keySize: 4, valueSize: 8, maxEntries: 8 });
  const program = await session.loadProgram({
    type: enums.ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT,
    instructions: insn.program(insn.mov('r0', 0), insn.exit()),
    license: 'GPL',
  });

  /** Segments with payload that this end has sent and received, by the kernel's own count. */
  const segments = () => {
    const text = execFileSync('ss', ['-tinH', `dport = :${port}`], { encoding: 'utf8' });
    const count = (name: string) => Number(text.match(new RegExp(`\\b${name}:(\\d+)`))?.[1] ?? 0);
    return { sent: count('data_segs_out'), received: count('data_segs_in') };
  };
  const calls: Record<string, () => Promise<unknown>> = {
    MAP_CREATE: () => session.createMap({ type: 2, keySize: 4, valueSize: 8, maxEntries: 1 }),
    MAP_UPDATE_ELEM: () => map.update(u32(1), Buffer.alloc(8, 1)),
    MAP_LOOKUP_ELEM: () => map.lookup(u32(1)),
    'MAP_LOOKUP_ELEM that fails': () => map.lookup(u32(9)),
    MAP_GET_NEXT_KEY: () => session.bpf(rows.MAP_GET_NEXT_KEY, { map_fd: map, key: null }),
    MAP_DELETE_ELEM: () => map.delete(u32(1)),
    PROG_LOAD: () =>
      session.bpf(rows.PROG_LOAD, {
        prog_type: enums.ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT,
        insns: insn.program(insn.mov('r0', 0), insn.exit()),
        license: 'GPL',
        log_level: 1,
        log_size: 4096,
      }),
    RAW_TRACEPOINT_OPEN: () => program.attachRawTracepoint('sys_enter'),
    OBJ_GET_INFO_BY_FD: () => session.bpf(rows.OBJ_GET_INFO_BY_FD_PROG, { bpf_fd: program }),
    PROG_GET_NEXT_ID: () => session.bpf(rows.PROG_GET_NEXT_ID, { start_id: 0 }),
  };
  for (const [name, call] of Object.entries(calls)) {
    const before = { ...session.statistics, ...segments() };
    await call();
    const after = { ...session.statistics, ...segments() };
    t.same(
      {
        framesSent: after.framesSent - before.framesSent,
        framesReceived: after.framesReceived - before.framesReceived,
        segmentsSent: after.sent - before.sent,
        segmentsReceived: after.received - before.received,
      },
      { framesSent: 1, framesReceived: 1, segmentsSent: 1, segmentsReceived: 1 },
      name,
    );
  }
});

t.test('calls overlap, and large ones arrive whole', async (t) => {
  const local = await localAgent();
  t.teardown(() => local.close());
  const session = await Session.connect(local.address);
  t.teardown(() => session.close());
  const size = 4 * 1024 * 1024;
  const map = await session.createMap({ type: 2, keySize: 4, valueSize: size, maxEntries: 2 });
  const large = Buffer.alloc(size, 'waep');
  const small = await session.createMap({ type: 1, keySize: 4, valueSize: 4, maxEntries: 1000 });
  await Promise.all([
    map.update(u32(0), large),
    ...Array.from({ length: 500 }, (_, i) => small.update(u32(i), u32(i * 3))),
    map.update(u32(1), large),
  ]);
  const [value, ...values] = await Promise.all([
    map.lookup(u32(0)),
    ...Array.from({ length: 500 }, (_, i) => small.lookup(u32(i))),
  ]);
  t.ok(Buffer.from(value as Uint8Array).equals(large));
  t.ok(values.every((v, i) => Buffer.from(v as Uint8Array).readUInt32LE() === i * 3));
});

t.test('an awaited loop does not keep the event loop from others', async (t) => {
  const local = await localAgent();
  t.teardown(() => local.close());
  const session = await Session.connect(local.address);
  t.teardown(() => session.close());
  const map = await session.createMap({ type: 2, keySize: 4, valueSize: 8, maxEntries: 1 });
  let turns = 0;
  let running = true;
  const turn = () => {
    turns++;
    if (running) setImmediate(turn);
  };
  setImmediate(turn);
  for (let i = 0; i < 1000; i++) await map.lookup(u32(0));
  running = false;
  // The last turn may be under way.
  t.ok(turns >= Math.floor(1000 / 17), `${turns} turns`);
});

t.test('a call that takes long holds up its own session only', async (t) => {
  const local = await localAgent();
  t.teardown(() => local.close());
  const busy = await Session.connect(local.address);
  const other = await Session.connect(local.address);
  t.teardown(() => busy.close());
  t.teardown(() => other.close());
  const loop = await busy.loadProgram({
    type: enums.ProgType.BPF_PROG_TYPE_SOCKET_FILTER,
    instructions: insn.program(
      insn.mov('r0', 0),
      insn.label('again'),
      insn.alu('add', 'r0', 1),
      insn.jumpIf('lt', 'r0', 10_000, 'again'),
      insn.exit(),
    ),
    license: 'GPL',
  });
  const map = await other.createMap({ type: 2, keySize: 4, valueSize: 8, maxEntries: 1 });
  const controller = new AbortController();
  const { signal } = controller;
  // As often as a kernel can be asked to: it takes hours.
  const running = loop.testRun({ data: new Uint8Array(64), repeat: 2 ** 32 - 1, signal });
  const aborted = t.rejects(running, { code: 'ERR_CALL_ABORTED' });
  await map.lookup(u32(0));
  t.equal(busy.statistics.pendingCalls, 1, 'it goes on');
  controller.abort();
  await aborted;
});

t.test('a stream without a descriptor of its own carries a session, too', async (t) => {
  const local = await localAgent();
  t.teardown(() => local.close());
  const inner = netConnect(local.address.slice('unix:'.length));
  const wrapped = Duplex.from({ readable: inner, writable: inner });
  const session = await Session.connect(wrapped);
  t.equal(session.address, 'stream');
  const map = await session.createMap({ type: 1, keySize: 4, valueSize: 8, maxEntries: 2 });
  await map.update(u32(1), Buffer.alloc(8, 5));
  t.same(await map.lookup(u32(1)), Uint8Array.from(Buffer.alloc(8, 5)));
  const ended = new Promise((resolve) => local.agent.on('ended', resolve));
  session.close();
  inner.destroy();
  t.match(await ended, { report: { end: 0 } });
});

t.test('an agent serves a stream without a descriptor of its own', async (t) => {
  const local = await localAgent();
  t.teardown(() => local.close());
  const served: Promise<void>[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    const wrapped = Duplex.from({ readable: socket, writable: socket });
    served.push(local.agent.serve(wrapped, 'a wrapped stream'));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const { port } = server.address() as { port: number };
  const session = await Session.connect(`tcp:127.0.0.1:${port}`);
  const map = await session.createMap({ type: 2, keySize: 4, valueSize: 100_000, maxEntries: 1 });
  await map.update(u32(0), Buffer.alloc(100_000, 9));
  t.ok(Buffer.from((await map.lookup(u32(0))) as Uint8Array).equals(Buffer.alloc(100_000, 9)));
  session.close();
  await Promise.all(served);
  t.pass('the session ended with its connection');
});
