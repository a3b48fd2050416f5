import { spawnSync } from 'node:child_process';
import t from 'tap';
import { mountedAt, provideFileSystems, remarksOn } from '../../guest/agent/file-systems.js';
import { enums, insn, Session } from '../../src/index.js';
import { native } from '../../src/native.js';
import { localAgent } from './local-agent.js';

const agentModule = new URL('../../guest/agent/file-systems.js', import.meta.url).href;

t.test('whole file systems are found by their type', async (t) => {
  const mounts = [
    '22 28 0:21 / /sys rw,nosuid shared:7 - sysfs sysfs rw',
    '30 22 0:27 / /sys/fs/bpf rw shared:9 - bpf bpf rw,mode=700',
    '31 28 0:27 /web /run/web rw - bpf bpf rw',
    '32 28 0:30 / /run/b\\040p\\134 rw,relatime shared:1 master:2 - bpf none rw',
    '33 28 0:31 / /run/bpf rw - tmpfs bpf rw',
    '',
  ].join('\n');
  t.same(mountedAt('bpf', mounts), ['/sys/fs/bpf', '/run/b p\\']);
  t.same(mountedAt('tracefs', mounts), []);
});

t.test('a kernel that lacks file systems says which, and what cannot be done', async (t) => {
  const provisions = provideFileSystems({
    mounts: '41 31 0:38 / /cgroups rw - cgroup2 cgroup2 rw\n',
    known: 'nodev\tsysfs\nnodev\tcgroup2\n\text4\n',
    magicOf: (place) => ({ '/sys': 0x62656572, '/cgroups': 0x63677270 })[place],
  });
  t.match(
    Object.fromEntries(provisions.map(({ type, how, place }) => [type, `${how} at ${place}`])),
    {
      sysfs: 'found at /sys',
      debugfs: 'missing at /sys/kernel/debug',
      tracefs: 'missing at /sys/kernel/tracing',
      securityfs: 'missing at /sys/kernel/security',
      bpf: 'missing at /sys/fs/bpf',
      cgroup2: 'found at /cgroups',
    },
  );
  t.match(
    remarksOn(provisions, true).find((remark) => remark.includes('bpf')),
    /^there is no bpf at \/sys\/fs\/bpf: this kernel has no such file system\. Without it nothing can be pinned\.$/,
  );
});

t.test('a kernel without types says so', async (t) => {
  t.same(remarksOn([], true), []);
  t.match(remarksOn([], false), [/^there are no types \(BTF\) at \/sys\/kernel\/btf\/vmlinux: /]);
});

t.test('who may not mount is told what would help', async (t) => {
  const script = `
    import { provideFileSystems, remarksOn } from ${JSON.stringify(agentModule)};
    const machine = { mounts: '', known: 'nodev\\ttracefs\\n', magicOf: () => undefined };
    console.log(remarksOn(provideFileSystems(machine), true).join('\\n'));`;
  const words = [
    '--bounding-set=-sys_admin',
    process.execPath,
    '--input-type=module',
    '-e',
    script,
  ];
  const { stdout, stderr } = spawnSync('setpriv', words, { encoding: 'utf8' });
  t.equal(stderr, '');
  t.match(stdout, /^there is no tracefs at .*: .* ends with EPERM, which needs CAP_SYS_ADMIN/m);
});

t.test('attaching to a tracepoint says that the guest has no tracefs', async (t) => {
  // Whatever this machine has there is covered for this process and its executors.
  t.equal(native.leaveMounts(), 0);
  t.equal(native.mount('tmpfs', '/sys/kernel/tracing'), 0);
  const local = await localAgent();
  t.teardown(() => local.close());
  const session = await Session.connect(local.address);
  t.teardown(() => session.close());
  const program = await session.loadProgram({
    type: enums.ProgType.BPF_PROG_TYPE_TRACEPOINT,
    instructions: insn.program(insn.mov('r0', 0), insn.exit()),
    license: 'GPL',
  });
  await t.rejects(program.attachTracepoint('sched/sched_switch'), {
    code: 'ERR_KERNEL_LACKS',
    message: `Linux ${session.kernel.release} of the guest has no tracefs`,
  });
});
