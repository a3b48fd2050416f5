import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { kernelNames } from '../../guest/agent/kernel-names.js';
import { preflight } from '../../src/kernel/index.js';
import { packageFolder } from '../../src/paths.js';
import { compile, profiles, readObject } from '../../src/policy/index.js';
import { Session } from '../../src/session.js';
import { executorDescriptors, localAgent } from '../agent/local-agent.js';

const main = join(packageFolder, 'dist/cli/main.js');

function waep(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], {
    encoding: 'utf8',
    env: { ...process.env, NO_COLOR: '1' },
  });
  return { status, stdout, stderr };
}

t.test('waep policy check', async (t) => {
  const folder = t.testdir({
    'good.yaml':
      'profile: observe\npin_paths: [/sys/fs/bpf/ours/]\nquotas: { maps: 7, events_per_second: 500 }\n',
    'bad.yaml': 'profile: observe\nhelpers: { allow: [bpf_send_signl] }\nhoks: any\n',
  });
  const good = join(folder, 'good.yaml');
  const { status, stdout } = waep('policy', 'check', '--json', good);
  t.equal(status, 0);
  const rules: { rule: string; allows: string; from: string }[] = JSON.parse(stdout);
  const find = (name: string) => rules.find(({ rule }) => rule === name);
  t.match(find('pin_paths'), { allows: '/sys/fs/bpf/ours/', from: `${good}:2` });
  t.match(find('quotas.maps'), { allows: '7', from: `${good}:3` });
  t.match(find('quotas.events_per_second'), { allows: '500', from: `${good}:3` });
  t.match(find('helpers'), { allows: /^all but .*bpf_send_signal/, from: 'profile observe' });
  t.match(waep('policy', 'check', good).stdout, /pin_paths.*\/sys\/fs\/bpf\/ours\//);
  const bad = waep('policy', 'check', join(folder, 'bad.yaml'));
  t.equal(bad.status, 1);
  t.match(bad.stderr, /bad\.yaml:2:20: found bpf_send_signl; .* Did you mean bpf_send_signal\?/);
  t.match(bad.stderr, /bad\.yaml:3:1: found hoks; .* Did you mean hooks\?/);
});

t.test('waep policy check warns of rules that undo others', async (t) => {
  const lines = {
    open: 'profile: full\npin_paths: [/sys/fs/bpf/ours/]\n',
    widened:
      'commands: { allow: [prog_test_run] }\nprogram_types: { allow: [syscall] }\nhelpers: any\n',
    helper: 'profile: full\nhelpers: { deny: [bpf_sys_bpf] }\n',
    type: 'profile: full\nprogram_types: { deny: [syscall] }\n',
    command: 'profile: full\ncommands: { deny: [prog_test_run] }\n',
    observe: 'profile: observe\n',
  };
  const folder = t.testdir(lines);
  const said = (name: keyof typeof lines) => waep('policy', 'check', '--json', join(folder, name));
  for (const [name, from] of [
    ['open', 'profile full'],
    ['widened', `${join(folder, 'widened')}:3`],
  ] as const) {
    const { status, stdout, stderr } = said(name);
    t.equal(status, 0, 'it is a policy all the same');
    t.match(stderr, `${from}: warning: programs of the type syscall may call bpf_sys_bpf`);
    t.ok(JSON.parse(stdout).length > 10, 'what is printed stays what programs can read');
  }
  for (const name of ['helper', 'type', 'command', 'observe'] as const) {
    t.equal(said(name).stderr, '', name);
  }
});

t.test('waep policy explain', async (t) => {
  const { status, stdout } = waep(
    ...['policy', 'explain', '--json', '--helper', 'bpf_send_signal', '--helper', 'bpf_loop'],
    ...[
      '--program',
      'xdp',
      '--call',
      'map_freeze',
      '--hook',
      'sys_enter',
      '--cgroup',
      '/sys/fs/cgroup/x',
      '--pin',
      '/sys/fs/bpf/x',
    ],
    ...['--read', '/proc/kallsyms', '--map', 'hash', '--perf', 'kprobe', '--kfunc', 'f'],
    ...['--attach', 'lsm_mac', '--interface', 'lo', '--uprobe', '/bin/sh:main'],
    ...['--perf', 'uprobe', '--netlink', 'read_sockets', '--netlink', 'attach_tc'],
  );
  t.equal(status, 1, 'something is refused');
  const verdicts: { what: string; allowed: boolean; rule: string }[] = JSON.parse(stdout);
  t.same(Object.fromEntries(verdicts.map(({ what, allowed }) => [what, allowed])), {
    'call map_freeze': true,
    'program type xdp': false,
    'attach type lsm_mac': false,
    'map type hash': true,
    'helper bpf_send_signal': false,
    'helper bpf_loop': true,
    'kernel function f': false,
    'hook sys_enter': true,
    'interface lo': false,
    'kind of netlink messages read_sockets': true,
    'kind of netlink messages attach_tc': false,
    'place to probe /bin/sh:main': false,
    'perf event type uprobe': false,
    'perf event type kprobe': true,
    'cgroup /sys/fs/cgroup/x': false,
    'pin /sys/fs/bpf/x': false,
    'file /proc/kallsyms': true,
  });
  t.equal(waep('policy', 'explain', '--helper', 'bpf_loop').status, 0);
  const folder = t.testdir({ 'rate.yaml': 'quotas: { events_per_second: 500 }\n' });
  const file = join(folder, 'rate.yaml');
  const rates = waep('policy', 'explain', file, '--json', '--rate', '500', '--rate', '501');
  t.match(JSON.parse(rates.stdout), [
    { what: 'events a second: 500', allowed: true },
    { allowed: false, rule: 'quotas.events_per_second', from: `${file}:1` },
  ]);
  t.match(waep('policy', 'explain', '--rate', 'many').stderr, /whole number of events a second/);
  t.match(waep('policy', 'explain', '--helper', 'loop').stderr, /did you mean bpf_loop\?/);
  t.match(waep('policy', 'explain').stderr, /something to ask about/);
});

t.test('programs of an object file', async (t) => {
  const folder = t.testdir();
  const source = join(folder, 'x.c');
  const object = join(folder, 'x.o');
  writeFileSync(
    source,
    `static long (*send)(unsigned) = (void *)109;
     static int (*now)(void) = (void *)5;
     extern void bpf_rcu_read_lock(void) __attribute__((section(".ksyms")));
     __attribute__((section("tp/sched/sched_switch"), used)) int a(void *c) { return now(); }
     __attribute__((section("raw_tp/sys_enter"), used)) int b(void *c) { bpf_rcu_read_lock(); return send(9); }
     __attribute__((section("xdp"), used)) int d(void *c) { return 2; }`,
  );
  const { error, status } = spawnSync('clang', [
    '-target',
    'bpf',
    '-O2',
    '-c',
    source,
    '-o',
    object,
  ]);
  if (error !== undefined || status !== 0) {
    t.pass('there is no compiler for objects here', { skip: 'try: apt-get install clang' });
    return;
  }
  const { stdout } = waep('policy', 'explain', '--json', '--object', object);
  t.match(JSON.parse(stdout), [
    { what: 'tp/sched/sched_switch: program type tracepoint', allowed: true },
    { what: 'tp/sched/sched_switch: hook sched_switch', allowed: true },
    { what: 'tp/sched/sched_switch: helper bpf_ktime_get_ns', allowed: true },
    { what: 'raw_tp/sys_enter: program type raw_tracepoint', allowed: true },
    { what: 'raw_tp/sys_enter: hook sys_enter', allowed: true },
    { what: 'raw_tp/sys_enter: helper bpf_send_signal', allowed: false, rule: 'helpers' },
    { what: 'raw_tp/sys_enter: kernel function bpf_rcu_read_lock', allowed: false },
    { what: 'xdp: program type xdp', allowed: false, rule: 'program_types' },
  ]);
});

t.test('files that are no objects', async (t) => {
  for (const bytes of [Buffer.alloc(0), Buffer.alloc(100), Buffer.from('\x7fELF\x02\x01')]) {
    t.throws(() => readObject(bytes, 'x'), { code: 'ERR_OPTION_INVALID' });
  }
  const cut = Buffer.alloc(64);
  cut.write('\x7fELF\x02\x01', 'latin1');
  cut.writeUInt16LE(247, 18);
  cut.writeBigUInt64LE(1000n, 40);
  cut.writeUInt16LE(64, 58);
  cut.writeUInt16LE(5, 60);
  t.throws(() => readObject(cut, 'x'), { code: 'ERR_OPTION_INVALID', message: /cut short/ });
});

t.test('preflight: what the kernel offers, and what the policy leaves of it', async (t) => {
  const quotas = { ...profiles.observe.quotas, events_per_second: 500 };
  const local = await localAgent({
    rules: compile({ ...profiles.observe, quotas }, kernelNames()),
    profile: 'observe',
  });
  t.teardown(() => local.close());
  const session = await Session.connect(local.address);
  t.teardown(() => session.close());
  const found = await preflight(session);
  const of = (kind: 'programTypes' | 'mapTypes' | 'helpers', name: string) =>
    found[kind].find((finding) => finding.name === name);
  t.match(of('programTypes', 'raw_tracepoint'), { offered: true, refusedBy: undefined });
  t.match(of('programTypes', 'xdp'), { offered: undefined, refusedBy: 'program_types' });
  t.match(of('mapTypes', 'hash'), { offered: true });
  t.match(of('mapTypes', 'devmap'), { refusedBy: 'map_types' });
  t.match(of('helpers', 'bpf_ktime_get_ns'), { refusedBy: undefined });
  t.match(of('helpers', 'bpf_send_signal'), { refusedBy: 'helpers' });
  t.equal(found.helpers.length, 211);
  t.match(found, { profile: 'observe', maxEventsPerSecond: 500 });
  t.match(of('mapTypes', 'array_of_maps'), { refusedBy: 'map_types' });
  t.match(of('mapTypes', 'sk_storage'), { offered: true });

  const all = await localAgent();
  t.teardown(() => all.close());
  const open = await Session.connect(all.address);
  t.teardown(() => open.close());
  const everything = await preflight(open);
  t.ok(everything.programTypes.every(({ refusedBy }) => refusedBy === undefined));
  t.equal(everything.maxEventsPerSecond, 0);
  const offered = (findings: readonly { name: string; offered: boolean | undefined }[]) =>
    findings.filter((one) => one.offered === true).map(({ name }) => name);
  // Since Linux 5.10 at the latest, whatever it was built for.
  for (const name of ['xdp', 'cgroup_sock_addr', 'cgroup_sockopt', 'sk_lookup', 'tracing']) {
    t.ok(offered(everything.programTypes).includes(name), name);
  }
  for (const name of ['array_of_maps', 'hash_of_maps', 'sk_storage', 'hash', 'ringbuf']) {
    t.ok(offered(everything.mapTypes).includes(name), name);
  }
  const unknown = [...everything.mapTypes, ...everything.programTypes, ...everything.helpers]
    .filter(({ offered }) => offered === undefined)
    .map(({ name, why }) => ({ name, why }));
  t.ok(
    unknown.every(({ why }) => why !== undefined),
    `what is not known is said with its reason: ${JSON.stringify(unknown)}`,
  );
  const before = executorDescriptors(all.agent);
  await preflight(open);
  t.same(executorDescriptors(all.agent), before, 'it leaves nothing behind');
});
