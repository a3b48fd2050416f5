import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { kernelNames } from '../../guest/agent/kernel-names.js';
import { enums, insn, rows, Session, u32, u64 } from '../../src/index.js';
import { compile, profiles } from '../../src/policy/index.js';
import { localAgent } from '../agent/local-agent.js';
import { lacks } from '../bpf/kernel.js';
import { countRuns } from '../counting.js';
import { session as open, skip } from '../kernel/local-session.js';
import { until } from '../until.js';

/** How long it is watched that nothing is counted. */
const WATCHED_MS = 20;

const { AttachType, LinkType, MapType, PerfEventType, ProgType } = enums;
const { exit, mov, program } = insn;

const PERF_TYPE_SOFTWARE = 1;
const PERF_TYPE_TRACEPOINT = 2;
const CPU_CLOCK = 0;
const PAGE_FAULTS = 2;
const DISABLED = 1n;
const SIGTRAP = 1n << 37n;
const ENABLE = 0x2400;
const SET_OUTPUT = 0x2405;
const SET_BPF = 0x40042408;
const word = (value: bigint) => new Uint8Array(BigUint64Array.of(value).buffer);

/** Has the process that makes the calls touch new memory. */
const touch = (session: Session) =>
  session.call({
    command: 15,
    args: 1,
    result: 0,
    buffers: [new Uint8Array(32), new Uint8Array(1 << 20)],
    relocations: [],
  });

t.test('perf events', { skip }, async (t) => {
  const session = await open(t);
  const faults = { type: PERF_TYPE_SOFTWARE, config: PAGE_FAULTS, pid: 0, name: 'faults' };

  t.test('count, stop and start over', async (t) => {
    await using event = await session.openPerfEvent({ ...faults, flags: DISABLED });
    t.same(await event.read(), [0n]);
    await event.enable();
    await touch(session);
    await event.disable();
    const [count = 0n] = await event.read();
    t.ok(count > 0n, `${count} page faults`);
    await touch(session);
    t.same(await event.read(), [count], 'it is disabled');
    await event.reset();
    t.same(await event.read(), [0n]);
    t.ok((await event.id()) > 0n);
    await t.rejects(event.setFilter('x'), { code: 'EINVAL', syscall: 'ioctl', side: 'guest' });
  });

  t.test('groups are read together', async (t) => {
    const PERF_FORMAT_GROUP = 8;
    await using leader = await session.openPerfEvent({ ...faults, readFormat: PERF_FORMAT_GROUP });
    await using member = await session.openPerfEvent({ ...faults, group: leader });
    const [count] = await leader.read();
    t.equal(count, 2n);
    t.ok(member.handle > 0);
  });

  t.test('programs are run at them', async (t) => {
    await using counts = await session.createMap({
      type: MapType.BPF_MAP_TYPE_ARRAY,
      key: u32,
      value: u64,
      maxEntries: 1,
    });
    const count = (type: number) =>
      session.loadProgram({
        type,
        instructions: countRuns(counts),
        license: 'GPL',
        name: 'count',
      });
    const seen = async () => (await counts.lookup(0)) ?? 0n;
    const samples = (count: bigint) =>
      until(`${count} samples`, async () => (await seen()) >= count);

    await using sampling = await count(ProgType.BPF_PROG_TYPE_PERF_EVENT);
    const clock = { type: PERF_TYPE_SOFTWARE, config: CPU_CLOCK, samplePeriod: 1_000_000 };
    await using event = await session.openPerfEvent({ ...clock, cpu: 0 });
    const link = await sampling.attachPerfEvent(event);
    await samples(10n);
    await link.close();
    await event.close();
    const after = await seen();
    await sleep(WATCHED_MS);
    t.equal(await seen(), after, 'closing detaches');

    // By the transport of kernels without links to perf events.
    await using second = await session.openPerfEvent({ ...clock, cpu: 0 });
    await second.setProgram(sampling);
    await samples(after + 10n);
    await t.rejects(second.setProgram(sampling), { code: 'EEXIST' });
    await second.close();

    // Others run the machine's own.
    const path = join(t.testdir(), 'true');
    copyFileSync('/usr/bin/true', path);
    // The entry point of a program without a fixed address, which is its offset in the file.
    const entry = readFileSync(path).readBigUInt64LE(24);
    await using tracing = await count(ProgType.BPF_PROG_TYPE_KPROBE);
    const before = await seen();
    await using probe = await tracing.attachUprobe({ path, offset: entry });
    for (let i = 0; i < 3; i++) execFileSync(path);
    t.equal(await seen(), before + 3n);
    t.match(await ('info' in probe ? probe.info() : { type: 'perf_event' }), {
      type: 'perf_event',
    });
  });

  t.test('a period is changed, and a frequency has a bound', async (t) => {
    await using runs = await session.createMap({
      ...{ type: MapType.BPF_MAP_TYPE_ARRAY, key: u32, value: u64, maxEntries: 1 },
    });
    await using counting = await session.loadProgram({
      type: ProgType.BPF_PROG_TYPE_PERF_EVENT,
      instructions: countRuns(runs),
      license: 'GPL',
    });
    const never = 2n ** 40n;
    await using event = await session.openPerfEvent({ ...faults, samplePeriod: never });
    await event.setProgram(counting);
    await touch(session);
    t.equal(await runs.lookup(0), 0n);
    const faultsSoFar = async () => Number((await event.read())[0]);
    // What is asked in between may have page faults of its own.
    const before = await faultsSoFar();
    await event.setPeriod(10);
    const begun = await faultsSoFar();
    await touch(session);
    const touched = await faultsSoFar();
    const seen = Number(await runs.lookup(0));
    const [least, most] = [(touched - begun) / 10 - 1, ((await faultsSoFar()) - before) / 10 + 1];
    t.ok(seen > 0 && seen >= least && seen <= most, `${least} ≤ ${seen} samples ≤ ${most}`);
    await t.rejects(event.setPeriod(0), { code: 'EINVAL' });
    const clock = { type: PERF_TYPE_SOFTWARE, config: CPU_CLOCK, cpu: 0 };
    await (await session.openPerfEvent({ ...clock, samplePeriod: 10 ** 9 })).close();
    await (await session.openPerfEvent({ ...clock, sampleFrequency: 50 })).close();
    await t.rejects(session.openPerfEvent({ ...clock, sampleFrequency: 10 ** 9 }), {
      code: 'EINVAL',
    });
  });

  t.test('events share a buffer, which may pause', async (t) => {
    const PERF_SAMPLE_IP = 1;
    const DUMMY = 9;
    const own = { type: PERF_TYPE_SOFTWARE, pid: 0, wakeupEvents: 1 };
    await using buffer = await session.openPerfEvent({ ...own, config: DUMMY });
    await using sampled = await session.openPerfEvent({
      ...{ ...own, config: PAGE_FAULTS, samplePeriod: 1, sampleType: PERF_SAMPLE_IP },
    });
    await t.rejects(sampled.setOutput(buffer), { code: 'EINVAL' }, 'it has none yet');
    let samples = 0;
    const origin = { source: 'perf', events: [buffer.handle], pages: 8 } as const;
    const stream = await session.subscribe(origin, {}, ({ records }) => {
      samples += records;
    });
    t.teardown(() => stream.close());
    await sampled.setOutput(buffer);
    await touch(session);
    await until('samples of page faults', () => samples > 0);
    const faultsSoFar = async () => Number((await sampled.read())[0]);
    await buffer.pauseOutput(true);
    const paused = await faultsSoFar();
    await touch(session);
    const missed = (await faultsSoFar()) - paused;
    t.ok(missed > 0, `${missed} page faults while it pauses`);
    await buffer.pauseOutput(false);
    const before = samples;
    await touch(session);
    await until('further samples', () => samples > before);
    await stream.close();
    const all = await faultsSoFar();
    t.ok(samples <= all - missed, `${samples} samples of ${all} page faults`);
    await sampled.setOutput(undefined);
  });

  t.test('the programs of a tracepoint', async (t) => {
    const load = () =>
      session.loadProgram({
        type: ProgType.BPF_PROG_TYPE_TRACEPOINT,
        instructions: program(mov('r0', 0), exit()),
        license: 'GPL',
      });
    await using first = await load();
    await using second = await load();
    const name = 'sched/sched_process_exit';
    const path = ['/sys/kernel/tracing', '/sys/kernel/debug/tracing']
      .map((folder) => `${folder}/events/${name}/id`)
      .find(existsSync);
    if (path === undefined) {
      t.pass('programs', {
        skip: 'no tracefs (try: mount -t tracefs tracefs /sys/kernel/tracing)',
      });
      return;
    }
    const config = Number(readFileSync(path, 'utf8'));
    await using event = await session.openPerfEvent({ type: PERF_TYPE_TRACEPOINT, config });
    const before = await event.programIds();
    await event.setProgram(first);
    await using other = await session.openPerfEvent({ type: PERF_TYPE_TRACEPOINT, config });
    await using link = await second.attachPerfEvent(other);
    t.ok(link.handle > 0);
    const ids = [(await first.info()).id, (await second.info()).id];
    const added = (await event.programIds()).filter((id) => !before.includes(id));
    t.same(added, ids);
    await using faulty = await session.openPerfEvent(faults);
    await t.rejects(faulty.programIds(), { code: 'EINVAL' }, 'it is no tracepoint');
  });

  t.test('links tell what they are to', async (t) => {
    const load = (type: number) =>
      session.loadProgram({
        type,
        instructions: program(mov('r0', 0), exit()),
        license: 'GPL',
      });
    await using sampling = await load(ProgType.BPF_PROG_TYPE_PERF_EVENT);
    await using event = await session.openPerfEvent({ ...faults, samplePeriod: 1_000_000 });
    const prog_fd = { handle: sampling.handle };
    const linked = await session.bpf(rows.LINK_CREATE_PERF_EVENT, {
      prog_fd,
      target_fd: { handle: event.handle },
      attach_type: AttachType.BPF_PERF_EVENT,
      bpf_cookie: 5n,
    });
    const bpf_fd = { handle: linked.handle };
    const { info } = await session.bpf(rows.OBJ_GET_INFO_BY_FD_LINK_PERF_EVENT, { bpf_fd });
    t.equal(info.type, LinkType.BPF_LINK_TYPE_PERF_EVENT);
    if (info.perf_type === 0) return lacks(t, 'kinds of links to perf events', '6.6');
    t.equal(info.perf_type, PerfEventType.BPF_PERF_EVENT_EVENT);
    const other = await session.bpf(rows.OBJ_GET_INFO_BY_FD_LINK_PERF_OTHER, { bpf_fd });
    t.match(other.info, { config: BigInt(PAGE_FAULTS), config_type: PERF_TYPE_SOFTWARE });

    await using tracing = await load(ProgType.BPF_PROG_TYPE_KPROBE);
    const place = { path: '/usr/bin/true', offset: 0x1000 };
    await using probe = await tracing.attachUprobe(place);
    const asked = { bpf_fd: { handle: probe.handle }, info: { name_len: 64 } };
    const found = await session.bpf(rows.OBJ_GET_INFO_BY_FD_LINK_PERF_UPROBE, asked);
    t.match(found.info, {
      perf_type: PerfEventType.BPF_PERF_EVENT_UPROBE,
      file_name: realpathSync(place.path),
      offset: place.offset,
    });
  });

  t.test('what does not fit is refused before the kernel is asked', async (t) => {
    await using event = await session.openPerfEvent(faults);
    const { handle } = event;
    const call = { handle, request: ENABLE, buffers: [word(0n)], relocations: [] };
    t.equal((await session.ioctl(call)).errno, 0);
    t.equal(
      (
        await session.ioctl({
          ...call,
          request: SET_OUTPUT,
          buffers: [word(~0n & (2n ** 64n - 1n))],
        })
      ).errno,
      0,
    );
    for (const [change, expected] of [
      [{ request: 0x5401 }, { code: 'ERR_POLICY_REFUSED', message: /ioctls.*request 21505/ }],
      [{ handle: 999 }, { code: 'ERR_HANDLE_UNKNOWN' }],
      [{ buffers: [] }, { code: 'ERR_CALL_MALFORMED', message: /fewer buffers/ }],
      [{ buffers: [new Uint8Array(4)] }, { code: 'ERR_CALL_MALFORMED', message: /8 bytes/ }],
      [
        { request: SET_BPF, buffers: [word(3n)] },
        { code: 'ERR_CALL_MALFORMED', message: /SET_BPF is not a descriptor/ },
      ],
      [
        { relocations: [0, 0, 0, 0] },
        { code: 'ERR_CALL_MALFORMED', message: /ENABLE is not a number/ },
      ],
      [{ request: SET_BPF, relocations: [0, 0, 1, handle] }, { code: 'ERR_CALL_MALFORMED' }],
    ] as const) {
      await t.rejects(session.ioctl({ ...call, ...change } as typeof call), expected);
    }
    const attribute = new Uint8Array(112);
    attribute[4] = attribute.length;
    const opening = {
      result: session.newHandle(),
      pid: 0,
      cpu: -1,
      group: 0,
      flags: 0,
      buffers: [attribute],
      relocations: [],
    };
    for (const [change, expected] of [
      [{ pid: { handle: 5 } }, { code: 'ERR_CALL_MALFORMED', message: /PID_CGROUP/ }],
      [{ flags: 4 }, { code: 'ERR_CALL_MALFORMED', message: /PID_CGROUP/ }],
      [{ pid: 2 ** 31 }, { code: 'ERR_CALL_MALFORMED', message: /pid is neither/ }],
      [{ group: 999 }, { code: 'ERR_HANDLE_UNKNOWN' }],
      [{ result: handle }, { code: 'ERR_HANDLE_IN_USE' }],
      [{ buffers: [112] }, { code: 'ERR_CALL_MALFORMED', message: /out buffer/ }],
      [
        { buffers: [new Uint8Array(112)] },
        { code: 'ERR_CALL_MALFORMED', message: /has 112 bytes, and its size says 64/ },
      ],
    ] as const) {
      await t.rejects(session.perfEventOpen({ ...opening, ...change } as typeof opening), expected);
    }
    const tooLarge = attribute.slice();
    tooLarge[4] = 1;
    const reply = await session.perfEventOpen({ ...opening, buffers: [{ inout: tooLarge }] });
    t.equal(reply.errno, 7, 'E2BIG for a size that no kernel has had');
    t.ok((reply.outputs[0]?.[4] ?? 0) > 64, 'the kernel says which size it knows');
  });
});

t.test('the owner says which events there are', { skip }, async (t) => {
  const local = await localAgent({
    rules: compile(profiles.observe, kernelNames()),
    profile: 'observe',
  });
  t.teardown(() => local.close());
  await using session = await Session.connect(local.address);
  await t.rejects(session.openPerfEvent({ type: 40 }), {
    code: 'ERR_POLICY_REFUSED',
    message: /perf_types does not allow 40/,
  });
  const signalling = { type: PERF_TYPE_SOFTWARE, flags: SIGTRAP, pid: 0 };
  await t.rejects(session.openPerfEvent(signalling), {
    code: 'ERR_POLICY_REFUSED',
    message: /perf_signals does not allow 32/,
  });
  await using event = await session.openPerfEvent({ type: PERF_TYPE_SOFTWARE, pid: 0 });
  t.same((await event.read()).length, 1);
});
