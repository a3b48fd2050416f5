import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { kernelNames } from '../../guest/agent/kernel-names.js';
import type { SystemError } from '../../src/errors.js';
import { enums, insn, Session } from '../../src/index.js';
import { compile, profiles } from '../../src/policy/index.js';
import { localAgent } from '../agent/local-agent.js';
import { lockedDown } from '../locked-down.js';
import { until } from '../until.js';
import { application, cli } from './application.js';
import { silentDifferences } from './descriptors.js';
import { start as startProgram } from './outcome.js';

/* The local agent's kernel is this machine's, so that what is native can be seen here. */

const program = application();
const policy = {
  ...profiles.full,
  readable_paths: [...profiles.full.readable_paths, program.path],
};
const { agent, address, close } = await localAgent({ rules: compile(policy, kernelNames()) });
const cache = mkdtempSync(join(tmpdir(), 'waep-cache-'));
t.teardown(async () => {
  program.dispose();
  rmSync(cache, { recursive: true });
  await close();
});

function start(...command: string[]) {
  const words = [cli, 'run', '--vm', address, '--', ...command];
  return startProgram([process.execPath, ...words], { WAEP_CACHE_DIR: cache });
}

const run = (...command: string[]) => start(...command).ended;

t.test('system calls on descriptors of objects are as in the kernel, or refused', async (t) => {
  const table = application('descriptors');
  t.teardown(table.dispose);
  const expected = execFileSync(table.path, { encoding: 'utf8' });
  t.notMatch(expected, /hangs/);
  const { output, errors } = await run(table.path);
  t.same(silentDifferences(expected, output, errors), []);
});

t.test('a test run ends with a signal for the program, and with the program', async (t) => {
  const { output, errors } = await run(program.path, 'spin');
  t.equal(output, 'spinning\ntest run: EINTR, 1 alarm\nafter it: 99\n');
  t.equal(errors, '');
  for (const killed of ['waep', 'the program'] as const) {
    const { child, ended } = start(program.path, 'spin-on');
    await once(child.stdout, 'data');
    const [pid] = (await run('pgrep', '-P', String(child.pid))).output.split('\n');
    if (killed === 'waep') child.kill('SIGKILL');
    process.kill(Number(pid), 'SIGKILL');
    await ended;
    await until(`the end of the executor when ${killed} is killed`, () => agent.sessions === 0);
  }
});

t.test('a signal for waep reaches the program, and waep ends with it', async (t) => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    const { child, ended } = start(program.path, 'until-interrupted');
    await once(child.stdout, 'data');
    child.kill(signal);
    const { status, output } = await ended;
    t.match({ status, output }, { status: 0, output: /^running\nstopped: 77\n$/ }, signal);
  }
  const { child, ended } = start(program.path, 'wait');
  await once(child.stdout, 'data');
  child.kill('SIGHUP');
  t.match(await ended, { status: 128 + 1, output: 'waiting\n' });
});

t.test('calls are made with the rights that the program has left', async (t) => {
  const expected = execFileSync(program.path, ['rights'], { encoding: 'utf8' });
  t.match(expected, /^nobody: list: EPERM$/m);
  t.match(expected, /^with all of it again: load: ok$/m);
  t.match(expected, /^root: queue: ENODEV\nnobody: .*\n(?:nobody: .*\n)*nobody: queue: EPERM$/m);
  const { output, errors } = await run(program.path, 'rights');
  t.equal(output, expected);
  t.equal(errors, '');
});

t.test('what a program does to shared memory and descriptors holds nobody up', async (t) => {
  const expected = execFileSync(program.path, ['shared'], { encoding: 'utf8' });
  t.match(expected, /^map it: ok\nmap a ring: ok\n(?:.*\n)*another map: ok\n$/);
  const { output, errors } = await run(program.path, 'shared');
  t.equal(output, expected);
  t.equal(errors, '');
});

t.test('a daemon in a mount namespace of its own names itself', async (t) => {
  const words = `(unshare --mount sh -c 'sleep 0.3; kill -s 0 $$ && echo there' &); sleep 1`;
  t.match(await run('sh', '-c', words), { output: 'there\n', errors: '' });
});

t.test("a file is probed only if the guest's is the same", async (t) => {
  const { path } = program;
  const same = await run(path, 'probe', path);
  t.match(same, { output: 'probe: ok\n', errors: '' });
  // libbpf asks with a folder whether the kernel knows a way to probe.
  const folder = execFileSync(path, ['probe', '/'], { encoding: 'utf8' });
  t.match(folder, /^probe: EINVAL$/m);
  t.match(await run(path, 'probe', '/'), { output: folder, errors: '' });
  // A pipe would wait for somebody who writes to it.
  const pipe = `${path}-pipe`;
  execFileSync('mkfifo', [pipe]);
  t.teardown(() => rmSync(pipe));
  const native = execFileSync(path, ['probe', pipe], { encoding: 'utf8' });
  t.match(native, /^probe: EINVAL$/m);
  t.match(await run(path, 'probe', pipe), { output: native, errors: '' });
  // The local agent sees this machine's files, and the program another one in the place of one.
  const other = application('descriptors');
  t.teardown(other.dispose);
  const words = `cp ${path} ${path}-copy && mount --bind ${other.path} ${path} && ${path}-copy probe ${path}`;
  const different = await run('unshare', '--mount', 'sh', '-c', words);
  rmSync(`${path}-copy`);
  t.equal(different.output, 'probe: EOPNOTSUPP\n');
  const ids = /has build id ([0-9a-f]+) and the guest's build id ([0-9a-f]+)/.exec(
    different.errors,
  );
  t.ok(ids !== null && ids[1] !== ids[2], different.errors);
});

t.test('a program that its starter watches runs here, and that is told', async (t) => {
  const { output, errors } = await run(program.path, 'start');
  t.equal(output, 'attach: ok\nstarted: ok\n');
  t.match(errors, /^waep: \/bin\/true is started on this machine, while probes are on/);
  t.equal((await run('sh', '-c', '/bin/true')).errors, '');
});

t.test("what the guest's processes have attached is told by bpftool perf", async (t) => {
  await using session = await Session.connect(address);
  await using watcher = await session.loadProgram({
    type: enums.ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT,
    instructions: insn.program(insn.mov('r0', 0), insn.exit()),
    license: 'GPL',
  });
  await using _ = await watcher.attachRawTracepoint('sched_switch');
  const { id } = await watcher.info();
  const { output, errors } = await run('bpftool', '-j', 'perf');
  t.equal(errors, '');
  const told: { pid: number; fd: number; prog_id: number }[] = JSON.parse(output);
  const found = told.find(({ prog_id }) => prog_id === id);
  t.match(found, { fd_type: 'raw_tracepoint', tracepoint: 'sched_switch' });
  t.ok(found !== undefined && agent.executorPids.includes(found.pid));
  const info = await run('cat', `/proc/${found?.pid}/fdinfo/${found?.fd}`);
  t.match(info.output, `prog_id:\t${id}\n`);
});

t.test('the index of an interface is not taken for a descriptor', async (t) => {
  const expected = execFileSync(program.path, ['attach-to-interface'], { encoding: 'utf8' });
  t.equal(expected, 'attach to an interface: EINVAL\n');
  t.match(await run(program.path, 'attach-to-interface'), { output: expected, errors: '' });
});

t.test("what an iterator's program has written is there with its output", async (t) => {
  await using session = await Session.connect(address);
  await using counts = await session.createMap({
    ...{ type: enums.MapType.BPF_MAP_TYPE_ARRAY, keySize: 4, valueSize: 8, maxEntries: 1 },
    flags: enums.ObjectFlag.BPF_F_MMAPABLE,
  });
  const loading = session.loadProgram({
    type: enums.ProgType.BPF_PROG_TYPE_TRACING,
    expectedAttachType: enums.AttachType.BPF_TRACE_ITER,
    attachTo: 'bpf_map_elem',
    instructions: insn.program(
      insn.load(8, 'r2', 'r1', 16),
      insn.jumpIf('eq', 'r2', 0, 'out'),
      insn.loadMapValue('r3', counts),
      insn.mov('r4', 1),
      insn.atomic('add', 8, 'r3', 0, 'r4'),
      insn.load(8, 'r1', 'r1', 0),
      insn.load(8, 'r1', 'r1', 0),
      insn.mov('r3', 4),
      insn.call(enums.Helper.BPF_FUNC_seq_write),
      insn.label('out'),
      insn.mov('r0', 0),
      insn.exit(),
    ),
    license: 'GPL',
  });
  const loaded = await loading.catch((error: SystemError) => {
    if (error.code !== 'EPERM') throw error;
  });
  if (loaded === undefined) {
    t.pass('the program is refused', { skip: lockedDown });
    return;
  }
  await using counter = loaded;
  await using link = await counter.attachIterator({ map: counts });
  const { id: mapId } = await counts.info();
  const { id: linkId } = await link.info();
  const { output, errors } = await run(program.path, 'iterate', `${mapId}`, `${linkId}`);
  t.equal(errors, '');
  const counted = Array.from({ length: 20 }, (_, i) => `4 bytes, counted ${i + 1}`);
  t.same(output.trim().split('\n'), counted);
});

t.test('room for a log costs what is written to it', async (t) => {
  const expected = execFileSync(program.path, ['huge-log'], { encoding: 'utf8' });
  t.equal(expected, 'huge log: ok\nit says: exit\n');
  const { output, errors } = await run(program.path, 'huge-log');
  t.equal(output, expected);
  t.equal(errors, '');
});

t.test('what is done to a process of the guest is done to none of this machine', async (t) => {
  // The local agent's processes are this machine's, but none of the program's.
  const other = spawn('sleep', ['1000'], { stdio: 'ignore', detached: true });
  t.teardown(() => other.kill('SIGKILL'));
  const { output, errors } = await run(program.path, 'processes', String(other.pid));
  t.same(output.trim().split('\n'), [
    'is there: ok',
    ...['signal', 'group', 'all', 'trace', 'memory', 'processors', 'limit', 'priority'].map(
      (name) => `${name}: EOPNOTSUPP`,
    ),
    ...['thread', 'thread of it', 'compare', 'capabilities', 'clock'].map(
      (name) => `${name}: EOPNOTSUPP`,
    ),
    'probe in itself: EOPNOTSUPP',
    'own parent: ok',
    'own ended child: ok',
    'own clock: ok',
    'own capabilities: ok',
    'compare itself: ok',
    'own thread: ok',
    'own processors: ok',
  ]);
  for (const named of [
    /kill\(2\) of the guest's process \d+ is refused/,
    /kill\(2\) of all processes is refused/,
    /ptrace\(2\) of the guest's process \d+ is refused/,
    /BPF_LINK_CREATE of process \d+ is refused/,
  ]) {
    t.match(errors, named);
  }
  const pkill = await run('pkill', '-KILL', '-P', String(process.pid), '-x', 'sleep');
  t.match(pkill, { status: 1, errors: /kill\(2\) of the guest's process \d+ is refused/ });
  // Who may not have mounts of his own shares them with all of this machine.
  const words = `kill -KILL ${other.pid}; sleep 1000 & kill $! && wait $!; echo $?`;
  const bounded = ['setpriv', '--bounding-set=-sys_admin', process.execPath, cli, 'run'];
  const { ended } = startProgram([...bounded, '--vm', address, '--', 'sh', '-c', words], {
    WAEP_CACHE_DIR: cache,
  });
  const sharing = await ended;
  t.match(sharing, { output: '143\n', errors: /kill\(2\) of the guest's process \d+ is refused/ });
  t.equal(other.exitCode ?? other.signalCode, null);
});

t.test('what needs something of this machine is refused by name', async (t) => {
  const { output, errors } = await run(program.path, 'foreign');
  t.same(
    output
      .replace(/(namespace): E(BADF|INVAL)/, '$1: no')
      .trim()
      .split('\n'),
    [
      'socket: EOPNOTSUPP',
      'namespace: no',
      'element: EOPNOTSUPP',
      'listener: EBUSY',
      'backward: EOPNOTSUPP',
      'own process: EOPNOTSUPP',
      'sockets: ok',
      'uevents: EOPNOTSUPP',
      'packets: EOPNOTSUPP',
      'address: EOPNOTSUPP',
      'mark: ENOTTY',
      'add a module: EOPNOTSUPP',
      "add a module's file: EOPNOTSUPP",
      'remove a module: EOPNOTSUPP',
      'restart: EOPNOTSUPP',
      'clock: EOPNOTSUPP',
      'enter own: ok',
      'mounts: ENOSYS',
      'itself: ok',
      'nobody: ESRCH',
    ],
  );
  for (const named of [
    /SO_ATTACH_BPF is refused/,
    /LINK_CREATE.* with a descriptor of uts:\[\d+\] is refused/,
    /MAP_UPDATE_ELEM with a descriptor of uts:\[\d+\] is refused/,
    /SECCOMP_FILTER_FLAG_NEW_LISTENER is refused/,
    /without PROT_WRITE is refused/,
    /perf_event_open\(2\) of process \d+ is refused/,
    /socket\(2\) for this protocol of netlink is refused/,
  ]) {
    t.match(errors, named);
  }
});
