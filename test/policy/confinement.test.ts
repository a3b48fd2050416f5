import { decode } from 'cbor-x/decode';
import t from 'tap';
import {
  capabilities,
  confinementOf,
  encodeConfinement,
  largestCall,
} from '../../src/policy/confinement.js';
import { type Policy, parsePolicy, profiles } from '../../src/policy/index.js';

const MIB = 1024 * 1024;
/** A policy that needs as little as can be. */
const least = `profile: observe
commands: { only: [map_create] }
map_types: { only: [hash] }
program_types: { only: [kprobe] }
helpers: { only: [] }
perf_types: none
readable_paths: [/proc/version]
`;
const policy = (more = '', text = least) => {
  const [key = ''] = more.split(':');
  const rest = text.split('\n').filter((line) => more === '' || !line.startsWith(`${key}:`));
  return parsePolicy(`${rest.join('\n')}${more}\n`, 'test');
};
const needed = (policy: Policy) =>
  capabilities.filter((one) => one.needed(policy)).map(({ name }) => name.slice(4));

t.test('each capability has the number of the kernel', async (t) => {
  t.same(Object.fromEntries(capabilities.map(({ name, number }) => [name.slice(4), number])), {
    ...{ BPF: 39, PERFMON: 38, SYS_ADMIN: 21, NET_ADMIN: 12, SYSLOG: 34, IPC_LOCK: 14 },
    ...{ SYS_PTRACE: 19, DAC_READ_SEARCH: 2, DAC_OVERRIDE: 1, KILL: 5 },
  });
});

t.test('each rule that needs a capability brings it, and no other rule does', async (t) => {
  const always = ['BPF', 'PERFMON'];
  t.same(needed(policy()), always);
  const more: Readonly<Record<string, string[]>> = {
    'helpers: { only: [bpf_probe_write_user] }': ['SYS_ADMIN'],
    'helpers: { only: [bpf_ktime_get_ns] }': [],
    'commands: { only: [obj_get_info_by_fd] }': ['SYSLOG'],
    'commands: { only: [prog_query] }': ['NET_ADMIN'],
    'readable_paths: [/proc/kallsyms]': ['SYSLOG'],
    'readable_paths: [/proc/]': ['SYSLOG', 'SYS_PTRACE', 'DAC_READ_SEARCH'],
    'readable_paths: [/]': ['SYSLOG', 'SYS_PTRACE', 'DAC_READ_SEARCH'],
    'readable_paths: [/sys/]': [],
    'perf_types: [software]': ['IPC_LOCK'],
    'uprobes: ["/bin/bash:x"]': ['IPC_LOCK'],
    'pin_paths: [/sys/fs/bpf/x/]': ['DAC_OVERRIDE'],
    'cgroup_paths: [/sys/fs/cgroup/x/]': ['DAC_OVERRIDE'],
    'perf_signals: true': ['KILL'],
  };
  for (const [rule, names] of Object.entries(more)) {
    t.same(needed(policy(rule)), [...always, ...names], rule);
  }
  const byId = ['prog', 'map', 'btf', 'link'].flatMap((kind) => [
    `${kind}_get_next_id`,
    `${kind}_get_fd_by_id`,
  ]);
  for (const command of [...byId, 'task_fd_query', 'enable_stats']) {
    t.same(needed(policy(`commands: { only: [${command}] }`)), [...always, 'SYS_ADMIN'], command);
  }
  for (const type of ['devmap', 'devmap_hash', 'cpumap', 'xskmap', 'sockmap', 'sockhash']) {
    t.same(needed(policy(`map_types: { only: [${type}] }`)), [...always, 'NET_ADMIN'], type);
  }
  const tracing = ['kprobe', 'tracepoint', 'perf_event', 'raw_tracepoint', 'tracing', 'lsm'];
  for (const type of [
    ...tracing,
    'unspec',
    'socket_filter',
    'raw_tracepoint_writable',
    'syscall',
  ]) {
    t.same(needed(policy(`program_types: { only: [${type}] }`)), always, type);
  }
  for (const type of ['xdp', 'sched_cls', 'cgroup_skb', '4000']) {
    t.same(needed(policy(`program_types: { only: [${type}] }`)), [...always, 'NET_ADMIN'], type);
  }
});

t.test('memory for maps brings some for the process itself', async (t) => {
  const of = (mib: number | string) => policy(`quotas: { map_bytes: ${mib} MiB }`);
  t.equal(confinementOf(of(160)).memoryBytes, Math.floor(1.1 * 160 * MIB));
  t.equal(confinementOf(of(159)).memoryBytes, Math.floor(1.1 * 159 * MIB) + 8 * MIB);
  t.equal(confinementOf(policy('quotas: { map_bytes: any }')).memoryBytes, 0);
  t.equal(largestCall(of(159)), 4 * MIB);
  t.equal(largestCall(of(160)), undefined);
  t.equal(largestCall(policy('quotas: { map_bytes: any }')), undefined);
});

t.test('the root is whole for whom it may be read or probed, and for nobody else', async (t) => {
  const whole = (rule: string) => confinementOf(policy(rule)).wholeRoot;
  t.equal(whole(''), false);
  t.equal(whole('uprobes: any'), true);
  t.equal(whole('pin_paths: any'), true);
  t.equal(whole('cgroup_paths: any'), false);
  t.same(confinementOf(policy('cgroup_paths: any')).cgroups, ['/sys/fs/cgroup/']);
  t.equal(whole('readable_paths: [/]'), true);
  t.equal(whole('readable_paths: [/proc/]'), false);
  const confinement = confinementOf(
    parsePolicy(
      'uprobes: ["/bin/a:x", "/bin/b:y*"]\npin_paths: [/sys/fs/bpf/p/]\ncgroup_paths: [/c/]\n',
      'test',
    ),
  );
  t.same(confinement.probed, ['/bin/a', '/bin/b']);
  t.same(confinement.pins, ['/sys/fs/bpf/p/']);
  t.same(confinement.cgroups, ['/c/']);
  t.same(confinement.readable, profiles.observe.readable_paths);
  t.same(decode(encodeConfinement(confinement)), [
    ...[Number(confinement.capabilities), false, confinement.readable, confinement.probed],
    ...[confinement.pins, confinement.cgroups, confinement.memoryBytes],
  ]);
  t.equal(confinementOf(policy()).capabilities, (1n << 39n) | (1n << 38n));
});
