import { readFileSync } from 'node:fs';
import t from 'tap';
import { boot, type Guest } from '../../guest/index.js';
import { count, enums, insn, Session, type SystemError, u32 } from '../../src/index.js';
import { patient } from '../until.js';

const { MapType, ProgType } = enums;
const nothing = insn.program(insn.mov('r0', 0), insn.exit());
const HOOKS_PORT = 2000;

t.setTimeout(1_200_000);

const tracer = (session: Session) =>
  session.loadProgram({
    type: ProgType.BPF_PROG_TYPE_TRACEPOINT,
    instructions: nothing,
    license: 'GPL',
  });

const array = (session: Session, name: string) =>
  session.createMap({
    type: MapType.BPF_MAP_TYPE_ARRAY,
    key: u32,
    value: count,
    maxEntries: 1,
    name,
  });

async function textOf(session: Session, path: string): Promise<string> {
  const file = await session.open(path);
  const bytes = await session.read(file, 4096);
  await session.release([file]);
  return Buffer.from(bytes ?? []).toString();
}

/** Starts a further agent in the guest, and resolves with what it said until it listened. */
async function startAgent(guest: Guest, ...words: string[]): Promise<string> {
  const agent = await guest.spawn(
    ['/bin/node', '/usr/lib/waep/agent.cjs', '--quiet', '--any-source-port', ...words],
    { env: { WAEP_NATIVE_DIR: '/usr/lib/waep', PATH: '/bin' } },
  );
  let said = '';
  await new Promise<void>((resolve, reject) => {
    const hear = (bytes: Buffer) => {
      said += bytes;
      if (said.includes('waep-agent: listening')) resolve();
    };
    agent.stdout.on('data', hear);
    agent.stderr.on('data', hear);
    agent.ended.then((ending) => reject(new Error(`${JSON.stringify(ending)}: ${said}`)), reject);
  });
  return said;
}

t.test('a guest with nothing mounted below /sys', async (t) => {
  const guest = await boot({
    ...{ exec: true, bare: true, network: 'none', notice: () => {} },
    agent: { profile: 'full' },
    // A file system that this kernel does not have, then.
    kernelArgs: ['debugfs=off'],
    files: {
      '/etc/hooks.yaml': { text: 'profile: full\nhooks: ["sched_*"]\n' },
    },
  });
  t.teardown(() => guest.stop());
  const mounts = () => guest.readFile('/proc/mounts');
  const before = await mounts();
  const session = await Session.connect(guest.vsock(), patient);
  t.teardown(() => session.close());

  await t.test('has its own mounts and no others', async (t) => {
    t.notMatch(before, / \/sys\/./);
    t.match(
      await guest.sh('ls /sys/kernel/tracing /sys/fs/bpf /sys/kernel/security'),
      /^[^\w]*\/sys[^\w][/\w:\n]*$/,
    );
  });

  await t.test('what is missing is told by its name', async (t) => {
    const log = readFileSync(guest.log, 'utf8');
    t.match(
      log,
      'waep-agent: there is no debugfs at /sys/kernel/debug: this kernel has no such file system.',
    );
    t.match(log, 'waep-agent: no bpf file system is mounted here');
    t.notMatch(log, 'there is no tracefs');
    await t.rejects(session.open('/sys/kernel/debug/kprobes/list'), { code: 'ENOENT' });
  });

  await t.test('a program is attached by the name of a tracepoint', async (t) => {
    await using program = await tracer(session);
    await using link = await program.attachTracepoint('sched/sched_switch');
    t.ok(link.handle > 0);
    await t.rejects(program.attachTracepoint('sched/none'), { code: 'ENOENT' });
  });

  await t.test('files of tracefs, securityfs and cgroups are there', async (t) => {
    t.match(await textOf(session, '/sys/kernel/tracing/available_events'), /^\w+:\w+$/m);
    t.match(await textOf(session, '/sys/kernel/security/lsm'), 'lockdown');
    t.match(await textOf(session, '/sys/fs/cgroup/cgroup.procs'), /^1$/m);
  });

  await t.test('pins outlive a session, for the other sessions of its agent', async (t) => {
    const other = await Session.connect(guest.vsock(), patient);
    const made = await array(other, 'pinned');
    await made.update(0, 42);
    await made.pin('/sys/fs/bpf/pinned');
    other.close();
    await using found = await session.map(
      { path: '/sys/fs/bpf/pinned' },
      { key: u32, value: count },
    );
    t.equal(await found.lookup(0), 42);
    t.equal(await guest.sh('ls /sys/fs/bpf'), '', 'nobody else in the guest sees them');
    t.equal(await mounts(), before);
  });

  await t.test('what is mounted elsewhere is found there, and hooks have names', async (t) => {
    await guest.sh(
      "mkdir '/tmp/b p' /tmp/t && mount -t bpf bpf '/tmp/b p' && mount -t tracefs none /tmp/t",
    );
    const said = await startAgent(
      ...([guest, '--listen', `vsock:any:${HOOKS_PORT}`, '--policy', '/etc/hooks.yaml'] as const),
    );
    t.notMatch(said, 'no bpf file system');
    const strict = await Session.connect(guest.vsock(HOOKS_PORT), patient);
    t.teardown(() => strict.close());
    await using program = await tracer(strict);
    await using link = await program.attachTracepoint('sched/sched_switch');
    t.ok(link.handle > 0);
    const refused = await program.attachTracepoint('raw_syscalls/sys_enter').then(
      () => undefined,
      (error: SystemError) => error,
    );
    t.match(refused, { code: 'ERR_POLICY_REFUSED', message: /rule hooks/ });
    await (await array(strict, 'elsewhere')).pin('/sys/fs/bpf/elsewhere');
    t.equal(await guest.sh("ls '/tmp/b p'"), 'elsewhere\n', 'its owner sees what is pinned');
  });
});
