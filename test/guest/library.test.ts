import t from 'tap';
import { boot } from '../../guest/index.js';
import {
  count,
  enums,
  insn,
  type ProgramOptions,
  perCpu,
  Session,
  struct,
  text,
  u32,
} from '../../src/index.js';
import { Objects } from '../../src/run/objects.js';
import { int, Kind, writeBtf } from '../btf/writer.js';
import { patient } from '../until.js';

const { AttachType, MapType, ProgType } = enums;
const { alu, atomic, call, callFunction, exit, jumpIf, label, load, loadMapValue, mov } = insn;
const { program, store } = insn;

const BPF_FUNC_seq_write = 127;
const XDP_PASS = 2;
const LOOPBACK = 1;
/** "int f(void)" (3) and "int main(void)" (4), both global. */
const functions = [
  int('int', 4, 1),
  { kind: Kind.FUNC_PROTO, size: 1 },
  { kind: Kind.FUNC, name: 'f', vlen: 1, size: 2 },
  { kind: Kind.FUNC, name: 'main', vlen: 1, size: 2 },
];

t.test('the library, in a guest', async (t) => {
  const guest = await boot({
    exec: true,
    network: 'none',
    notice: () => {},
    agent: { profile: 'full' },
  });
  t.teardown(() => guest.stop());
  const session = await Session.connect(guest.vsock(), patient);
  t.teardown(() => session.close());

  t.test('a large map, in batches', async (t) => {
    const entries = 20_000;
    await using map = await session.createMap({
      type: MapType.BPF_MAP_TYPE_HASH,
      key: u32,
      value: struct({ n: count, comm: text(16) }),
      maxEntries: entries,
      name: 'large',
    });
    const all = Array.from({ length: entries }, (_, n) => [n, { n, comm: `c${n}` }] as const);
    t.equal(await map.updateMany(all), entries);
    let sum = 0;
    for await (const [key, { n, comm }] of map) sum += key + n + (comm === `c${key}` ? 1 : 0);
    t.equal(sum, entries * entries);
    let drained = 0;
    for await (const _ of map.drain()) drained++;
    t.equal(drained, entries);
    t.equal(await map.nextKey(), undefined);
  });

  t.test('per-CPU values have one part for each of its CPUs, not of this machine’s', async (t) => {
    await using map = await session.createMap({
      type: MapType.BPF_MAP_TYPE_PERCPU_ARRAY,
      key: u32,
      value: perCpu(u32),
      maxEntries: 3,
    });
    const values = Array.from({ length: session.kernel.possibleCpus }, (_, cpu) => cpu + 1);
    await map.update(2, values);
    t.same(await map.lookup(2), values);
    for await (const [key, value] of map) if (key === 2) t.same(value, values);
  });

  t.test('its kernel’s types, and an iterator that needs them', async (t) => {
    const types = await session.kernelTypes();
    const task = types.type(types.named('struct task_struct'));
    const members = 'members' in task ? task.members : [];
    const offset = (name: string) =>
      (members.find((member) => member.name === name)?.offsetBits ?? 0) / 8;
    await using tasks = await session.loadProgram({
      type: ProgType.BPF_PROG_TYPE_TRACING,
      expectedAttachType: AttachType.BPF_TRACE_ITER,
      attachTo: 'task',
      instructions: program(
        mov('r6', 'r1'),
        load(8, 'r7', 'r6', 8),
        jumpIf('eq', 'r7', 0, 'out'),
        load(4, 'r1', 'r7', offset('pid')),
        store(4, 'r10', -24, 'r1'),
        load(8, 'r1', 'r7', offset('comm')),
        store(8, 'r10', -16, 'r1'),
        load(8, 'r1', 'r7', offset('comm') + 8),
        store(8, 'r10', -8, 'r1'),
        mov('r1', 0),
        store(4, 'r10', -20, 'r1'),
        load(8, 'r1', 'r6', 0),
        load(8, 'r1', 'r1', 0),
        mov('r2', 'r10'),
        alu('add', 'r2', -24),
        mov('r3', 24),
        call(BPF_FUNC_seq_write),
        label('out'),
        mov('r0', 0),
        exit(),
      ),
      license: 'GPL',
      name: 'tasks',
    });
    const objects = new Objects(session, () => session.kernelTypes());
    objects.add(tasks.handle, 'prog');
    t.equal(objects.iterTargetOf(tasks.handle), undefined, 'nobody has asked yet');
    t.ok(await objects.learn());
    t.equal(objects.iterTargetOf(tasks.handle), 'task');
    t.notOk(await objects.learn(), 'nothing is asked twice');
    await using link = await tasks.attachIterator();
    await using run = await link.iterate();
    const found = new Map<number, string>();
    const codec = struct({ pid: u32, zero: u32, comm: text(16) });
    for await (const { pid, comm } of run.records(codec)) found.set(pid, comm);
    t.equal(found.get(2), 'kthreadd');
    t.ok([...found.values()].includes('waep-executor'), 'the session’s own process is there');
  });

  t.test('XDP on its loopback, updated and detached', async (t) => {
    const load = (name: string) =>
      session.loadProgram({
        type: ProgType.BPF_PROG_TYPE_XDP,
        instructions: program(mov('r0', XDP_PASS), exit()),
        license: 'GPL',
        name,
      });
    await using first = await load('first');
    await using second = await load('second');
    await using link = await first.attachXdp(LOOPBACK, 'generic');
    await link.update(second, first);
    const { id } = await second.info();
    t.match(await link.info(), { type: 'xdp', interfaceIndex: LOOPBACK, programId: id });
    await t.rejects(first.attachXdp(LOOPBACK), { code: 'EBUSY', why: /attached there already/ });
    await link.detach();
    t.match(await link.info(), { type: 'xdp', interfaceIndex: 0 });
  });

  t.test('functions of a module, and of another program, are watched', async (t) => {
    await using counts = await session.createMap({
      ...{ type: MapType.BPF_MAP_TYPE_ARRAY, key: u32, value: count, maxEntries: 1 },
    });
    const watcher = (target: Partial<ProgramOptions>) =>
      session.loadProgram({
        type: ProgType.BPF_PROG_TYPE_TRACING,
        expectedAttachType: AttachType.BPF_TRACE_FENTRY,
        instructions: program(
          loadMapValue('r1', counts),
          mov('r2', 1),
          atomic('add', 8, 'r1', 0, 'r2'),
          mov('r0', 0),
          exit(),
        ),
        license: 'GPL',
        ...target,
      });
    let id = 0;
    for await (const found of session.btfs()) if (found.name === 'vsock') id = found.id;
    await using module = await session.btf({ id });
    const attachTo = 'vsock_stream_has_data';
    await t.rejects(watcher({ attachTo }), { code: 'ERR_BTF_TYPE', message: /give attachBtf/ });
    await using ofModule = await watcher({ attachTo, attachBtf: module });
    await using first = await ofModule.attachTracing();
    t.match(await first.info(), { type: 'tracing', targetObjectId: id });

    await using btf = await session.loadBtf(writeBtf(functions));
    await using watched = await session.loadProgram({
      type: ProgType.BPF_PROG_TYPE_XDP,
      instructions: program(callFunction('f'), exit(), label('f'), mov('r0', 5), exit()),
      license: 'GPL',
      btf,
      // main at instruction 0, f at 2
      functions: { bytes: new Uint8Array(Uint32Array.of(0, 4, 2, 3).buffer), recordBytes: 8 },
      name: 'watched',
    });
    const of = { attachProgram: watched };
    await t.rejects(watcher({ ...of, attachTo: 'g' }), {
      code: 'ERR_BTF_TYPE',
      message: /func g: prog "watched" has no such thing/,
    });
    await using ofProgram = await watcher({ ...of, attachTo: 'f' });
    await using second = await ofProgram.attachTracing();
    t.equal((await watched.testRun({ data: new Uint8Array(64) })).returnValue, 5);
    t.equal(await counts.lookup(0), 1);
    const { id: targetObjectId } = await watched.info();
    t.match(await second.info(), { type: 'tracing', targetObjectId });
  });

  t.test('pins outlive a session, and are found by their paths', async (t) => {
    await guest.sh('mount -t bpf bpf /sys/fs/bpf 2>/dev/null || true');
    const other = await Session.connect(guest.vsock(), patient);
    const path = (name: string) => `/sys/fs/bpf/${name}`;
    const made = await other.createMap({
      ...{ type: MapType.BPF_MAP_TYPE_ARRAY, key: u32, value: count, maxEntries: 1 },
      name: 'pinned',
    });
    await made.update(0, 42);
    await made.pin(path('map'));
    const tracer = await other.loadProgram({
      type: ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT,
      instructions: program(mov('r0', 0), exit()),
      license: 'GPL',
      name: 'pinned',
    });
    await tracer.pin(path('prog'));
    const attached = await tracer.attachRawTracepoint('sys_enter');
    await attached.pin(path('link'));
    await t.rejects(made.pin('/tmp/map'), { code: 'EROFS', object: 'map "pinned" at /tmp/map' });
    other.close();
    await using map = await session.map({ path: path('map') }, { key: u32, value: count });
    t.equal(await map.lookup(0), 42);
    await using found = await session.program({ path: path('prog') });
    t.match(found, { name: 'pinned', type: ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT });
    await using link = await session.link({ path: path('link') });
    t.match(await link.info(), { type: 'raw_tracepoint', programId: (await found.info()).id });
    await t.rejects(session.map({ path: path('prog') }), {
      code: 'ERR_OPTION_INVALID',
      message: /the path of a map; this is that of a prog/,
    });
    await t.rejects(session.program({ path: path('link') }), { message: /that of a link/ });
    await t.rejects(session.link({ path: path('map') }), { message: /that of a map/ });
    await t.rejects(session.link({ path: path('none') }), {
      code: 'ENOENT',
      object: 'link at /sys/fs/bpf/none',
      why: 'nothing is pinned there',
    });
  });
});
