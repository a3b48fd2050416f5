import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, rmdirSync } from 'node:fs';
import t from 'tap';
import { enums, insn, struct, u32, u64 } from '../../src/index.js';
import { cgroupHierarchy } from '../bpf/kernel.js';
import { countRuns } from '../counting.js';
import { session as open, skip } from './local-session.js';

const { ProgType, AttachType, MapType } = enums;
const { alu, call, exit, jumpIf, label, load, mov, program, store } = insn;

const BPF_FUNC_seq_write = 127;
const returning = (value: number) => program(mov('r0', value), exit());

const hierarchy = cgroupHierarchy();
const skipCgroup = hierarchy === undefined && 'no cgroup2 hierarchy (try: mount -t cgroup2)';
const skipTypes = existsSync('/sys/kernel/btf/vmlinux') ? false : 'this kernel has no BTF';

t.test('programs', { skip }, async (t) => {
  const session = await open(t);
  t.test('a refusal has the program’s name and the verifier’s log, all of it', async (t) => {
    const type = ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT;
    await t.rejects(
      session.loadProgram({ type, instructions: program(exit()), license: 'GPL', name: 'bad' }),
      {
        code: 'EACCES',
        object: 'program "bad"',
        log: /R0 !read_ok/,
        message: /^bpf\(BPF_PROG_LOAD\) EACCES, program "bad"\n/,
      },
    );
    // Each instruction is a line or more of the log at level 2, so that it outgrows its first room.
    const many = Array.from({ length: 4000 }, () => alu('add', 'r1', 1));
    const long = program(mov('r0', 0), mov('r1', 0), ...many, load(8, 'r2', 'r3', 0), exit());
    const error = await session
      .loadProgram({ type, instructions: long, license: 'GPL', logLevel: 2 })
      .catch((reason) => reason);
    t.match(error, { code: 'EACCES', log: /R3 !read_ok/ });
    t.ok(error.log.length > 64 * 1024, `${error.log.length} characters of log`);
    if (error.logTrueSize !== undefined) t.equal(error.logTrueSize, error.log.length + 1);
    const good = await session.loadProgram({
      type,
      instructions: returning(0),
      license: 'GPL',
      logLevel: 2,
    });
    t.match(good.log, /processed 2 insns/);
    await good.close();
  });

  t.test('what the kernel says', async (t) => {
    const map = await session.createMap({
      type: MapType.BPF_MAP_TYPE_ARRAY,
      key: u32,
      value: u64,
      maxEntries: 1,
      name: 'counter',
    });
    await using counting = await session.loadProgram({
      type: ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT,
      instructions: countRuns(map),
      license: 'GPL',
      name: 'counting',
    });
    const info = await counting.info();
    t.match(info, {
      name: 'counting',
      type: ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT,
      tag: /^[0-9a-f]{16}$/,
      mapIds: [(await map.info()).id],
      gplCompatible: true,
      createdByUid: 0,
    });
    t.ok(info.loadTimeNs > 0n);
    t.equal((await counting.translated()).length, info.translatedBytes);
    await using again = await session.program({ id: info.id });
    t.match(again, { name: 'counting', type: info.type });
    const found = [];
    for await (const one of session.programs()) if (one.id === info.id) found.push(one.tag);
    t.same(found, [info.tag]);
    await using extra = await session.createMap({
      type: 2,
      keySize: 4,
      valueSize: 4,
      maxEntries: 1,
    });
    await counting.bindMap(extra);
    t.equal((await counting.info()).mapIds.length, 2);

    await t.test('statistics', async (t) => {
      await using link = await counting.attachRawTracepoint('sys_enter');
      t.equal((await counting.info()).runCount, 0n, 'not counted');
      await using statistics = await session.enableStatistics();
      execFileSync('true');
      const { runCount, runTimeNs } = await counting.info();
      t.ok(runCount > 0n && runTimeNs > 0n, `${runCount} runs took ${runTimeNs} ns`);
      t.ok(((await map.lookup(0)) ?? 0n) >= runCount);
      await statistics.close();
      const { runCount: before } = await counting.info();
      execFileSync('true');
      t.equal((await counting.info()).runCount, before, 'not counted any more');
      t.match(await link.info(), {
        type: 'raw_tracepoint',
        tracepoint: 'sys_enter',
        programId: info.id,
      });
    });
  });

  t.test('runs on request', async (t) => {
    await using packets = await session.loadProgram({
      type: ProgType.BPF_PROG_TYPE_XDP,
      // Answers with the packet's first byte, if it has one, and changes that.
      instructions: program(
        load(4, 'r2', 'r1', 0),
        load(4, 'r3', 'r1', 4),
        mov('r0', 77),
        mov('r4', 'r2'),
        alu('add', 'r4', 1),
        jumpIf('gt', 'r4', 'r3', 'out'),
        load(1, 'r0', 'r2', 0),
        store(1, 'r2', 0, 0x5a),
        label('out'),
        exit(),
      ),
      license: 'GPL',
    });
    const data = new Uint8Array(64).fill(9);
    const run = await packets.testRun({ data });
    t.equal(run.returnValue, 9);
    t.same(run.data, Uint8Array.from([0x5a, ...data.subarray(1)]));
    t.ok(run.durationNs > 0, `${run.durationNs} ns`);
    const many = await packets.testRun({ data, repeat: 1000 });
    t.equal(many.returnValue, 0x5a, 'each run but the first finds what the one before left');
    await t.rejects(packets.testRun({ data, dataOutBytes: 8 }), { code: 'ENOSPC' });
    await using raw = await session.loadProgram({
      type: ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT,
      // Returns its second argument.
      instructions: program(load(8, 'r0', 'r1', 8), exit()),
      license: 'GPL',
    });
    const context = new Uint8Array(BigUint64Array.of(1n, 42n).buffer);
    t.match(await raw.testRun({ context, cpu: 0 }), { returnValue: 42, data: { length: 0 } });
    await using syscall = await session.loadProgram({
      type: ProgType.BPF_PROG_TYPE_SYSCALL,
      instructions: program(store(4, 'r1', 4, 7), mov('r0', 3), exit()),
      license: 'GPL',
      flags: enums.ProgFlag.BPF_F_SLEEPABLE,
    });
    const written = await syscall.testRun({ context: new Uint8Array(8) });
    t.equal(written.returnValue, 3);
    t.same(written.context, Uint8Array.of(0, 0, 0, 0, 7, 0, 0, 0), 'its context, as it left it');
  });

  t.test('an iterator', { skip: skipTypes }, async (t) => {
    const types = await session.kernelTypes();
    t.equal(await session.kernelTypes(), types, 'fetched once');
    const task = types.type(types.named('struct task_struct'));
    const offset = (name: string) => {
      const members = 'members' in task ? task.members : [];
      return (members.find((member) => member.name === name)?.offsetBits ?? 0) / 8;
    };
    await using tasks = await session.loadProgram({
      type: ProgType.BPF_PROG_TYPE_TRACING,
      expectedAttachType: AttachType.BPF_TRACE_ITER,
      attachTo: 'task',
      instructions: program(
        mov('r6', 'r1'),
        load(8, 'r7', 'r6', 8),
        jumpIf('eq', 'r7', 0, 'out'),
        load(4, 'r1', 'r7', offset('pid')),
        store(4, 'r10', -8, 'r1'),
        load(4, 'r1', 'r7', offset('tgid')),
        store(4, 'r10', -4, 'r1'),
        load(8, 'r1', 'r6', 0),
        load(8, 'r1', 'r1', 0),
        mov('r2', 'r10'),
        alu('add', 'r2', -8),
        mov('r3', 8),
        call(BPF_FUNC_seq_write),
        label('out'),
        mov('r0', 0),
        exit(),
      ),
      license: 'GPL',
      name: 'tasks',
    });
    await using link = await tasks.attachIterator();
    t.match(await link.info(), { type: 'iter', target: 'task' });
    const codec = struct({ pid: u32, tgid: u32 });
    for (const round of [1, 2]) {
      await using run = await link.iterate();
      const threads = new Map<number, number>();
      for await (const { pid, tgid } of run.records(codec)) threads.set(pid, tgid);
      t.equal(threads.get(process.pid), process.pid, `run ${round} met this process`);
    }
    await using own = await tasks.attachIterator({ process: process.pid });
    await using run = await own.iterate();
    const groups = new Set<number>();
    for await (const { tgid } of run.records(codec)) groups.add(tgid);
    t.same([...groups], [process.pid], 'threads of one process only');
    await t.rejects(
      session.loadProgram({
        type: ProgType.BPF_PROG_TYPE_TRACING,
        expectedAttachType: AttachType.BPF_TRACE_ITER,
        attachTo: 'nothing',
        instructions: returning(0),
        license: 'GPL',
      }),
      { code: 'ERR_BTF_TYPE', message: /func bpf_iter_nothing: the guest’s kernel has no such/ },
    );
  });

  t.test('tracing programs find their targets by name', { skip: skipTypes }, async (t) => {
    await using entry = await session.loadProgram({
      type: ProgType.BPF_PROG_TYPE_TRACING,
      expectedAttachType: AttachType.BPF_TRACE_RAW_TP,
      attachTo: 'sys_enter',
      instructions: returning(0),
      license: 'GPL',
      name: 'typed_tp',
    });
    await using link = await entry.attachTracing();
    t.match(await link.info(), { type: 'raw_tracepoint', tracepoint: 'sys_enter' });
    await t.rejects(link.detach(), { code: 'EOPNOTSUPP', object: 'link "typed_tp"' });
    const found = [];
    const { id } = await link.info();
    for await (const one of session.links()) if (one.id === id) found.push(one.type);
    t.same(found, ['raw_tracepoint']);
    await using again = await session.link({ id });
    t.equal((await again.info()).programId, (await entry.info()).id);
    await t.rejects(entry.attachRawTracepoint('no_such'), {
      code: 'EINVAL',
      object: 'prog "typed_tp" to raw tracepoint no_such',
    });
  });

  t.test('a cgroup link is updated and detached', { skip: skipCgroup }, async (t) => {
    const folder = `${hierarchy}/waep-test-${process.pid}`;
    mkdirSync(folder);
    t.teardown(() => rmdirSync(folder));
    const load = (value: number) =>
      session.loadProgram({
        type: ProgType.BPF_PROG_TYPE_CGROUP_SKB,
        expectedAttachType: AttachType.BPF_CGROUP_INET_EGRESS,
        instructions: returning(value),
        license: 'GPL',
        name: `returns_${value}`,
      });
    await using first = await load(1);
    await using second = await load(0);
    await using link = await first.attachCgroup(folder);
    const attached = async () => (await link.info()).programId;
    t.equal(await attached(), (await first.info()).id);
    const { BPF_CGROUP_INET_EGRESS } = AttachType;
    const there = await session.attached({ cgroup: folder }, BPF_CGROUP_INET_EGRESS);
    t.same(
      there.programs.map(({ id }) => id),
      [(await first.info()).id],
    );
    const ingress = await session.attached({ cgroup: folder }, AttachType.BPF_CGROUP_INET_INGRESS);
    t.same(ingress.programs, []);
    await t.rejects(link.update(second, second), { code: 'EPERM', why: /not the one/ });
    await link.update(second, first);
    t.equal(await attached(), (await second.info()).id);
    await link.update(first);
    await link.detach();
    await t.rejects(link.update(second), { code: 'ENOLINK' });
    await t.rejects(first.attachCgroup('/proc/self'), { code: 'EBADF' });
  });
});
