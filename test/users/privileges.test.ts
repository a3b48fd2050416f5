/* What the users of a guest, and its agent's own processes, may do there. */
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { boot, compileStatic, type Guest } from '../../guest/index.js';
import { rows } from '../../src/bpf/index.js';
import {
  decodeBody,
  FrameType,
  HEADER_BYTES,
  messageFrame,
  parseHeader,
} from '../../src/frame/index.js';
import { enums, insn, Session } from '../../src/index.js';
import { capabilities, profiles } from '../../src/policy/index.js';
import { debianKernels } from '../kernels.js';
import { patient, until } from '../until.js';

const NOBODY = 65_534;
const AGENT_PORT = 1024;

t.setTimeout(1_800_000);

/** What /proc says of a process, each of its threads, and the processes that it has started. */
interface Seen {
  pid: number;
  name: string;
  /** By thread. */
  threads: Record<string, string>[];
  /** Each with its options. */
  mounts: { place: string; options: string; type: string }[];
  children: Seen[];
}

async function look(guest: Guest, pid: number): Promise<Seen> {
  const script = `cat /proc/${pid}/comm; for t in /proc/${pid}/task/*; do echo -; cat $t/status; done
    echo =; cat /proc/${pid}/mountinfo; echo =; cat /proc/${pid}/task/*/children`;
  const [status = '', mounts = '', children = ''] = (await guest.sh(script)).split('=\n');
  const [name = '', ...threads] = status.split('-\n');
  return {
    pid,
    name: name.trim(),
    threads: threads.map((text) =>
      Object.fromEntries(text.split('\n').map((line) => line.split(/:\s*/, 2))),
    ),
    mounts: mounts
      .trim()
      .split('\n')
      .map((line) => {
        const [front = '', back = ''] = line.split(' - ');
        const [, , , , place = '', options = ''] = front.split(' ');
        return { place, options, type: back.split(' ')[0] ?? '' };
      }),
    children: await Promise.all(
      (children.match(/\d+/g) ?? []).map((child) => look(guest, Number(child))),
    ),
  };
}

/** What each thread of a process must show. */
function holds(t: Test, { name, threads }: Seen, names: readonly string[]): void {
  const bits = names.map((one) => capabilities.find((known) => known.name === one)?.number ?? -1);
  const mask = bits.reduce((sum, bit) => sum | (1n << BigInt(bit)), 0n);
  const expected = mask.toString(16).padStart(16, '0');
  for (const { CapEff, CapPrm, CapBnd, CapInh, CapAmb, NoNewPrivs, Seccomp } of threads) {
    t.same(
      { CapEff, CapPrm, CapBnd, CapInh, CapAmb, NoNewPrivs, Seccomp },
      {
        ...{ CapEff: expected, CapPrm: expected, CapBnd: expected },
        ...{ CapInh: '0'.repeat(16), CapAmb: '0'.repeat(16), NoNewPrivs: '1', Seccomp: '2' },
      },
      `${name}: ${names.join(', ') || 'no capability'}`,
    );
  }
}

const agentOf = async (guest: Guest, profile: string) =>
  Number(
    await guest.sh(
      `for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline | grep -q '^[^ ]*node .*[a]gent.cjs .*--profile ${profile}' && echo \${p#/proc/}; done; true`,
    ),
  );

/** The agent, its keeper, and the executors of its sessions and the next one. */
async function family(t: Test, guest: Guest, agent: number) {
  let seen: Seen | undefined;
  // A process has the name of its parent until it has its own program.
  const grown = async () => {
    seen = await look(guest, agent);
    const named = (name: string) => seen?.children.find((child) => child.name === name);
    const [keeper, reload] = [named('waep-keeper'), named('waep-reload')];
    if (keeper === undefined || reload === undefined) return undefined;
    const [executor] = keeper.children;
    if (executor === undefined) return undefined;
    const alike = keeper.children.every(({ name }) => name === 'waep-executor');
    return alike ? { agent: seen, keeper, reload, executor } : undefined;
  };
  const found = await until(() => `the processes of an agent: ${JSON.stringify(seen)}`, grown);
  t.match(found.agent.name, /^(node|MainThread)$/);
  t.ok(found.agent.threads.length > 4, `${found.agent.threads.length} threads of Node`);
  t.equal(found.agent.children.length, 2, 'an agent has two children');
  t.same(found.reload.children, [], 'one of them waits until the files are to be read again');
  return found;
}

const OBSERVE = ['CAP_BPF', 'CAP_PERFMON', 'CAP_SYS_ADMIN', 'CAP_SYSLOG', 'CAP_IPC_LOCK'];
const INERT = /^ro,nosuid,nodev/;

/** Calls that need one capability or another, and that `observe` allows. */
async function observes(t: Test, session: Session): Promise<void> {
  const { ProgType, MapType } = enums;
  const nothing = insn.program(insn.mov('r0', 0), insn.exit());
  const load = (type: number) =>
    session.loadProgram({ type, instructions: nothing, license: 'GPL' });
  await using probe = await load(ProgType.BPF_PROG_TYPE_KPROBE);
  await using kprobe = await probe.attachKprobe({ symbol: 'do_nanosleep' });
  await using tracepoint = await load(ProgType.BPF_PROG_TYPE_TRACEPOINT);
  await using attached = await tracepoint.attachTracepoint('sched/sched_switch');
  await using raw = await load(ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT);
  await using link = await raw.attachRawTracepoint('sys_enter');
  for (const { handle } of [kprobe, attached, link]) t.ok(handle > 0);
  await using map = await session.createMap({
    type: MapType.BPF_MAP_TYPE_HASH,
    ...{ keySize: 4, valueSize: 8, maxEntries: 16 },
  });
  const { id } = await map.info();
  const { result: again } = await session.bpf(rows.MAP_GET_FD_BY_ID, {
    ...{ map_id: id, open_flags: enums.ObjectFlag.BPF_F_RDONLY },
  });
  t.ok(again, 'a map by its id');
  let programs = 0;
  for await (const program of session.programs()) if (program.id > 0) programs++;
  t.ok(programs >= 3, 'programs by their ids');
  const { result: stats } = await session.bpf(rows.ENABLE_STATS, { type: 0 });
  t.ok(stats);
  const clock = { type: 1, config: 0, sampleFrequency: 100, cpu: 0 };
  t.ok((await session.openPerfEvent(clock)).handle > 0, 'samples of a processor');
  const text = async (path: string) => {
    const file = await session.open(path);
    const bytes = await session.read(file, 4096);
    await session.release([file]);
    return Buffer.from(bytes ?? []).toString('latin1');
  };
  t.match(await text('/proc/kallsyms'), /^0*[1-9a-f][0-9a-f]* /m, 'addresses of the kernel');
  t.match(await text('/sys/kernel/tracing/events/sched/sched_switch/format'), 'prev_comm');
  t.match(await text('/sys/bus/event_source/devices/kprobe/type'), /^\d+\n$/, 'through a link');
  t.match(await text('/proc/sys/net/core/bpf_jit_limit'), /^\d+\n$/);
}

/** Files of the guest's owner, for whom these modes have a meaning. */
const files = {
  '/boot/open': { text: 'for everybody\n', mode: 0o644 },
  '/boot/secret': { text: 'for root\n', mode: 0o600 },
  '/boot/closed/open': { text: 'in a folder for root\n', mode: 0o644 },
};

/** That opening files has no effect, and gives nothing away. */
async function onlyReads(t: Test, guest: Guest, session: Session): Promise<void> {
  await guest.sh(`cd /boot; chmod 700 closed; rm -f pipe trace
    mkfifo pipe; ln -s /sys/kernel/tracing/free_buffer trace`);
  const size = () => guest.sh('cat /sys/kernel/tracing/buffer_total_size_kb');
  const before = await size();
  const refused = { code: 'ERR_POLICY_REFUSED', message: /rule readable_paths / };
  for (const path of [
    ...['/sys/kernel/tracing/free_buffer', '/sys/kernel/debug/tracing/free_buffer', '/boot/trace'],
    ...['/sys/kernel/tracing/per_cpu/cpu0/trace_pipe_raw', '/sys/kernel/tracing/trace_marker'],
    ...['/boot/secret', '/boot/closed/open', '/boot/pipe'],
  ]) {
    await t.rejects(session.open(path), refused, path);
  }
  t.equal(await size(), before, 'the buffers are as large as they were');
  const open = await session.open('/boot/open');
  t.equal(Buffer.from((await session.read(open, 100)) ?? []).toString(), 'for everybody\n');
  for (const path of ['trace_pipe', 'trace', 'options/overwrite', 'kprobe_events']) {
    const file = await session.open(`/sys/kernel/tracing/${path}`);
    t.ok(file, path);
    // While one is open, others may be kept from theirs.
    await session.release([file]);
  }
}

for (const [version, kernel] of Object.entries(debianKernels)) {
  t.test(`what the agent's processes keep, on Linux ${version}`, async (t) => {
    const guest = await boot({
      ...{ exec: true, network: 'none', notice: () => {}, kernel, files },
      agent: { profile: 'observe', args: ['--any-source-port'] },
    });
    t.teardown(() => guest.stop());
    const session = await Session.connect(guest.vsock(), patient);
    t.teardown(() => session.close());
    await guest.sh('echo 512 >/sys/kernel/tracing/buffer_size_kb');
    await t.test('observe works with what it keeps', (t) => observes(t, session));

    await t.test('observe reads, and does nothing by that', (t) => onlyReads(t, guest, session));

    await t.test('observe', async (t) => {
      const { agent, keeper, executor } = await family(t, guest, await agentOf(guest, 'observe'));
      holds(t, agent, []);
      holds(t, keeper, OBSERVE);
      holds(t, executor, OBSERVE);
      const listed = profiles.observe.readable_paths.map((path) => path.replace(/\/$/, ''));
      const others = executor.mounts
        .map(({ place }) => place)
        .filter((place) => !listed.includes(place) && !place.startsWith('/sys/devices/'));
      t.same(
        others.sort(),
        ['/', '/.executor', '/.proc'],
        'nothing is there but what the policy lists, its program and the process itself',
      );
      t.same(
        executor.mounts.filter(({ options }) => !INERT.test(options)),
        [],
        'to read only',
      );
      const own = await guest.sh(`ls /proc/${executor.pid}/root/ /proc/${executor.pid}/root/proc`);
      t.notMatch(own, /^(etc|root|bin|\d+)$/m);
    });

    await t.test('full', async (t) => {
      const other = await guest.spawn(
        ['/bin/node', '/usr/lib/waep/agent.cjs', '--profile', 'full', '--listen', 'vsock:any:1100'],
        { env: { WAEP_NATIVE_DIR: '/usr/lib/waep', PATH: '/bin' } },
      );
      other.ended.catch(() => {});
      t.teardown(() => other.destroy());
      await once(other.stdout, 'data');
      const strong = await Session.connect(guest.vsock(1100), {
        ...patient,
        localPort: 'privileged',
      });
      t.teardown(() => strong.close());
      await onlyReads(t, guest, strong);
      await guest.sh(`
        mkdir -p /closed /hidden; chmod 700 /closed
        for file in /open /closed/open /hidden/secret; do echo $file > $file; done
        chmod 600 /hidden/secret`);
      for (const path of [
        '/proc/1/cwd/open',
        '/proc/1/root/closed/open',
        '/proc/1/root/hidden/secret',
        '/proc/1/root/sys/kernel/tracing/free_buffer',
        '/proc/1/root/proc/cmdline',
      ]) {
        await t.rejects(strong.open(path), { code: 'ERR_POLICY_REFUSED' }, path);
      }
      t.ok(await strong.open('/proc/1/root/open'), 'what every user may read');
      t.ok(await strong.open('/proc/1/exe'), "a process's program");
      t.ok(await strong.open('/proc/1/ns/net'), 'but to namespaces');
      t.ok(await strong.open('/proc/1/maps'), 'files of other processes');
      const { agent, keeper, executor } = await family(t, guest, await agentOf(guest, 'full'));
      holds(t, agent, []);
      const all = capabilities.map(({ name }) => name);
      holds(t, keeper, all);
      holds(t, executor, all);
      const writable = executor.mounts.filter(({ options }) => !INERT.test(options));
      t.same(
        writable.map(({ type }) => type).sort(),
        ['bpf', 'cgroup2'],
        'pins and cgroups are all that is written',
      );
    });
  });
}

t.test('the processes of a guest', async (t) => {
  const source = await compileStatic(
    fileURLToPath(new URL('../../../test/users/local-peer.c', import.meta.url)),
  );
  const guest = await boot({
    exec: true,
    network: 'none',
    notice: () => {},
    agent: { profile: 'full', args: ['--any-source-port'] },
    files: { '/local-peer': { source, mode: 0o755 } },
  });
  t.teardown(() => guest.stop());

  await t.test('an unprivileged user of the guest gets no session', async (t) => {
    const hello = messageFrame(FrameType.HELLO, 1, { protocol: 1, client: 'local', leaseMs: 0 });
    const greet = async (user: number, cid: number | 'own', from = 0) => {
      const words = [
        '/local-peer',
        user,
        cid,
        AGENT_PORT,
        from,
        Buffer.from(hello).toString('hex'),
      ];
      const { stdout } = await guest.exec(words.map(String));
      const bytes = Buffer.from(stdout, 'hex');
      if (bytes.length < HEADER_BYTES) return stdout.trim();
      const { type } = parseHeader(bytes);
      if (type === FrameType.WELCOME) return 'welcome';
      const [code, detail] = decodeBody(bytes.subarray(HEADER_BYTES)) as [string, { why: string }];
      return `${code}: ${detail.why}`;
    };
    const refused =
      /^ERR_PEER_REFUSED: rule accept\.source_ports .* only to peers of the agent's own machine/;
    t.match(await greet(NOBODY, 1), refused, 'by the loopback');
    t.match(await greet(NOBODY, 'own'), refused, "by the guest's own CID");
    t.equal(await greet(NOBODY, 1, 1000), 'bind: Permission denied', 'a port below 1024');
    t.match(await greet(0, 1), refused, 'root without a privileged port');
    t.equal(await greet(0, 1, 1000), 'welcome', 'root');
  });
});

/** Makes and closes maps, types and programs that hold maps, in an order that the seed decides. */
async function churn(
  session: Session,
  { seed, steps, largestBytes }: { seed: number; steps: number; largestBytes: number },
): Promise<void> {
  const { MapType, ProgType } = enums;
  let state = seed;
  const below = (bound: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state % bound;
  };
  const open: { close(): Promise<void> }[] = [];
  const types = [
    MapType.BPF_MAP_TYPE_ARRAY,
    MapType.BPF_MAP_TYPE_HASH,
    MapType.BPF_MAP_TYPE_LRU_HASH,
    MapType.BPF_MAP_TYPE_PERCPU_ARRAY,
  ];
  for (let step = 0; step < steps; step++) {
    if (open.length > 0 && below(3) === 0) {
      await open.splice(below(open.length), 1)[0]?.close();
      continue;
    }
    try {
      const map = await session.createMap({
        type: types[below(types.length)] ?? MapType.BPF_MAP_TYPE_ARRAY,
        ...{ keySize: 4, valueSize: 4096, maxEntries: 1 + below(largestBytes / 4096) },
      });
      open.push(map);
      if (below(2) === 0) continue;
      const program = await session.loadProgram({
        type: ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT,
        instructions: insn.program(insn.loadMap('r1', map), insn.mov('r0', 0), insn.exit()),
        license: 'GPL',
      });
      open.push(program);
    } catch (error) {
      const { code } = error as { code: string };
      if (code !== 'ERR_POLICY_REFUSED' && code !== 'ENOMEM') throw error;
    }
  }
}

t.test('the memory of a session is bounded by the kernel', async (t) => {
  await t.test('a tenth above a quota', (t) => testBound(t, 192));
  await t.test('a small quota, beside what the process keeps for itself', (t) => testBound(t, 24));
});

const MIB = 1024 * 1024;
/** What an executor keeps for calls under a small quota. */
const RESIDENT_BYTES = 8 * MIB;

async function testBound(t: Test, quotaMib: number): Promise<void> {
  const quota = quotaMib * MIB;
  const own = quotaMib < 160 ? RESIDENT_BYTES : 0;
  const policy = t.testdir({
    'policy.yaml': `profile: observe\nname: small\nquotas: { map_bytes: ${quotaMib} MiB }\n`,
  });
  const guest = await boot({
    ...{ exec: true, network: 'none', notice: () => {} },
    agent: { policy: join(policy, 'policy.yaml'), args: ['--any-source-port'] },
  });
  t.teardown(() => guest.stop());
  const session = await Session.connect(guest.vsock(), patient);
  await session.readClock(1);
  const pids = (await guest.sh('pidof waep-executor')).trim().split(' ');
  t.equal(pids.length, 1);
  const folder = (await guest.sh(`cat /proc/${pids[0]}/cgroup`)).trim().replace('0::', '');
  t.match(folder, /^\/waep-\d+\/1$/);
  const bytes = async (file: string) =>
    Number(await guest.sh(`cat /sys/fs/cgroup${folder}/memory.${file}`));
  const statistic = async (name: string) =>
    Number(await guest.sh(`sed -n 's/^${name} //p' /sys/fs/cgroup${folder}/memory.stat`));
  t.ok((await bytes('max')) <= quota * 1.1 + own);
  t.equal(await guest.sh(`cat /sys/fs/cgroup${folder}/pids.max`), '8\n');

  const before = await bytes('current');
  t.ok(before < 16 * 1024 * 1024, `the process takes ${before} bytes`);
  const third = quota / 3;
  const maxEntries = Math.ceil(third / 4096);
  const map = await session.createMap({ type: 2, keySize: 4, valueSize: 4096, maxEntries });
  const grown = (await bytes('current')) - before;
  t.ok(grown >= third, `a map of ${third} bytes takes ${grown} bytes`);
  await map.close();

  await churn(session, { seed: 1, steps: 120, largestBytes: 4096 * Math.floor(quota / 5 / 4096) });
  const peak = await bytes('peak');
  t.ok(peak <= quota * 1.1 + own, `${peak} bytes at most`);
  t.ok(peak > own + quota / 2, `the quota was in use: ${peak} bytes`);
  const anonymous = await statistic('anon');
  t.ok(anonymous >= own, `of which ${anonymous} are none that the kernel has for objects`);
  await session.readClock(1);
  session.close();
  await until('the end of its group', async () => {
    const left = await guest.sh(`ls -d /sys/fs/cgroup${folder} 2>/dev/null; true`);
    return left === '';
  });
}
