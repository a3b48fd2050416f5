import t from 'tap';
import { parsePolicy, profiles, readPolicyFile } from '../../src/policy/index.js';
import { contains, type Range } from '../../src/policy/rules.js';
import { numberOf, type VocabularyName } from '../../src/policy/vocabulary.js';

const has = (ranges: readonly Range[], kind: VocabularyName, name: string) =>
  contains(ranges, numberOf(kind, name) ?? -1);

t.test('a file narrows and widens a profile', async (t) => {
  const policy = parsePolicy(
    `# Ours.
profile: observe
name: web servers
program_types: { allow: [xdp, BPF_PROG_TYPE_CGROUP_SKB, 99], deny: [kprobe] }
map_types:
  only: [hash, ringbuf]
commands:
  deny: [map_freeze]
  allow: [prog_attach]
helpers: any
kfuncs: [bpf_rcu_read_lock]
perf_types: none
hooks:
  allow: []
  deny: [sys_exit]
interfaces: [eth0]
netlink: { allow: [attach_xdp] }
pin_paths: [/sys/fs/bpf/web/]
cgroup_paths: [/sys/fs/cgroup/web/]
readable_paths:
  allow: [/sys/fs/cgroup/]
foreign_objects: use
quotas:
  map_bytes: 64 MiB
  programs: any
  events_per_second: 5000
leases: { max_seconds: 5 }
accept:
  cids: [2]
  source_ports: any
`,
    'ours.yaml',
  );
  t.match(policy, {
    name: 'web servers',
    kfuncs: ['bpf_rcu_read_lock'],
    perf_types: [],
    hooks: ['*', '!sys_exit'],
    interfaces: ['eth0'],
    netlink: ['read_network', 'read_sockets', 'attach_xdp'],
    pin_paths: ['/sys/fs/bpf/web/'],
    cgroup_paths: ['/sys/fs/cgroup/web/'],
    foreign_objects: 'use',
    quotas: {
      map_bytes: 64 * 2 ** 20,
      programs: undefined,
      maps: profiles.observe.quotas.maps,
      events_per_second: 5000,
    },
    leases: { max_seconds: 5 },
    accept: { cids: [2], source_ports: 'any' },
  });
  t.ok(has(policy.program_types, 'program_types', 'xdp'));
  t.ok(has(policy.program_types, 'program_types', 'cgroup_skb'));
  t.ok(has(policy.program_types, 'program_types', 'tracing'), 'as in the profile');
  t.ok(contains(policy.program_types, 99), 'a number that has no name yet');
  t.notOk(has(policy.program_types, 'program_types', 'kprobe'));
  t.notOk(has(policy.map_types, 'map_types', 'array'));
  t.ok(has(policy.commands, 'commands', 'prog_attach'));
  t.notOk(has(policy.commands, 'commands', 'map_freeze'));
  t.ok(has(policy.helpers, 'helpers', 'bpf_send_signal'));
  t.ok(policy.readable_paths.includes('/sys/fs/cgroup/'));
  t.ok(policy.readable_paths.includes('/proc/kallsyms'));
});

t.test('a command that no rule can be about by itself is refused', async (t) => {
  const why =
    'found 64; expected a number of 63 at most for a command. Larger numbers are allowed all together, by the word any, or not at all.';
  const refused = (list: string) => () => parsePolicy(`commands: { ${list}: [63, 64] }`, 'p');
  t.throws(refused('allow'), { message: `p:1:25: ${why}` });
  t.throws(refused('deny'), { message: `p:1:24: ${why}` });
});

t.test('full, but for one thing', async (t) => {
  const policy = parsePolicy('profile: full\nprogram_types:\n  deny: [lsm]\n', 'p');
  t.notOk(has(policy.program_types, 'program_types', 'lsm'));
  t.ok(contains(policy.program_types, 4000), 'what nobody knows yet is still allowed');
});

const wrong: readonly (readonly [name: string, text: string, message: string])[] = [
  [
    'a program type that is misspelt',
    'profile: observe\nprogram_types:\n  allow: [kprobe, tracepont]\n',
    'p.yaml:3:19: found tracepont; expected the name or the number of a program type. Did you mean tracepoint?',
  ],
  [
    'a helper without its prefix',
    'helpers:\n  deny: [probe_write_user]\n',
    'p.yaml:2:10: found probe_write_user; expected the name or the number of a helper. Did you mean bpf_probe_write_user?',
  ],
  [
    'a key that is misspelt',
    'profile: observe\npin_path: [/sys/fs/bpf/]\n',
    'p.yaml:2:1: found pin_path; expected one of the keys profile, name, commands, map_types, program_types, attach_types, helpers, kfuncs, perf_types, hooks, uprobes, interfaces, netlink, pin_paths, cgroup_paths, readable_paths, foreign_objects, perf_signals, quotas, leases, accept. Did you mean pin_paths?',
  ],
  [
    'a profile that does not exist',
    'profile: obsreve',
    'p.yaml:1:10: found obsreve; expected one of observe, full. Did you mean observe?',
  ],
  [
    'a name where a list belongs',
    'hooks:\n  allow: sched_*\n',
    'p.yaml:2:10: found sched_*; expected a list of hooks. Write it as [sched_*].',
  ],
  [
    'a path that climbs',
    'readable_paths:\n  allow:\n    - /proc/../etc/\n',
    'p.yaml:3:7: found /proc/../etc/; expected an absolute path without . and ... Write a path from the root, with a / at its end for a folder.',
  ],
  [
    'a pin folder without its slash',
    'pin_paths: [/sys/fs/bpf/x]\n',
    'p.yaml:1:13: found /sys/fs/bpf/x; expected a folder for pins. Write a path from the root, with a / at its end for a folder.',
  ],
  [
    'an amount without a number',
    'quotas:\n  map_bytes: plenty\n',
    'p.yaml:2:14: found plenty; expected a number of bytes such as 64 MiB, or any. Write digits, and KiB, MiB or GiB after bytes.',
  ],
  [
    'less memory than a session takes',
    'quotas:\n  map_bytes: 1 MiB\n',
    'p.yaml:2:14: found 1048576; expected at least 4 MiB, or any. The process that serves a session takes part of it. To have no maps, allow no map types.',
  ],
  [
    'an amount with a unit that it cannot have',
    'quotas: { programs: 3 KiB }\n',
    'p.yaml:1:21: found 3 KiB; expected a whole number of programs, or any. Write digits, and KiB, MiB or GiB after bytes.',
  ],
  [
    'a rate of bytes',
    'quotas: { events_per_second: 1 MiB }\n',
    'p.yaml:1:30: found 1 MiB; expected a whole number of events a second, or any. Write digits, and KiB, MiB or GiB after bytes.',
  ],
  [
    'a rate of nothing',
    'quotas:\n  events_per_second: 0\n',
    'p.yaml:2:22: found 0; expected a number from 1 to 1073741824 of events a second, or any. To have no events at all, deny the map types ringbuf and perf_event_array.',
  ],
  [
    'a rate beyond all that could be',
    'quotas:\n  events_per_second: 2000000000\n',
    'p.yaml:2:22: found 2000000000; expected a number from 1 to 1073741824 of events a second, or any. To have no events at all, deny the map types ringbuf and perf_event_array.',
  ],
  [
    'a quota that there is not',
    'quotas: { events: 5 }\n',
    'p.yaml:1:11: found events; expected one of the keys programs, maps, links, map_bytes, events_per_second. Choose one of them.',
  ],
  [
    'a choice that there is not',
    'accept:\n  source_ports: privilegd\n',
    'p.yaml:2:17: found privilegd; expected one of privileged, any. Did you mean privileged?',
  ],
  [
    'a list for the whole',
    '- observe\n',
    'p.yaml:1:1: found a list; expected a mapping for the policy. Write profile: ….',
  ],
  [
    'an empty file',
    '# nothing yet\n',
    'p.yaml:1:1: found an empty file; expected a policy. Write "profile: observe" at least.',
  ],
];

t.test('what is wrong is said, with its place and a cure', async (t) => {
  for (const [name, text, message] of wrong) {
    t.throws(() => parsePolicy(text, 'p.yaml'), { code: 'ERR_POLICY_FILE', message }, name);
  }
});

t.test('bad syntax and hostile files', async (t) => {
  const [syntax] = readPolicyFile('profile: [observe\nhooks: x', 'p.yaml').problems;
  t.match(syntax?.message, /^p\.yaml:2:\d+: found .*; expected YAML\. Mend the syntax\.$/s);
  const [twice] = readPolicyFile('profile: full\nprofile: observe\n', 'p.yaml').problems;
  t.match(twice?.message, /^p\.yaml:2:1: found .*unique/);
  t.match(readPolicyFile('x'.repeat(2 ** 20 + 1), 'p').problems, { length: 1 });
  const aliases = readPolicyFile('hooks: &a [x]\ninterfaces: *a\n', 'p.yaml').problems;
  t.same(
    aliases.map(({ message }) => message),
    ['p.yaml:2:13: found the alias *a; expected no alias of YAML. Write there what it stands for.'],
  );
  const all = readPolicyFile('helpers: [a]\nhooks: [" "]\nquotas: 3\n', 'p.yaml').problems;
  t.same(
    all.map(({ detail }) => detail.line),
    [1, 2, 3],
    'all of it at once',
  );
});

t.test('a category before a hook would match nothing, and is named', async (t) => {
  for (const [written, cure] of [
    ['syscalls:sys_enter_*', 'sys_enter_*'],
    ['!sched:sched_switch', '!sched_switch'],
  ] as const) {
    t.throws(() => parsePolicy(`hooks: ["${written}"]\n`, 'p.yaml'), {
      code: 'ERR_POLICY_FILE',
      message: `p.yaml:1:9: found ${written}; expected the name of a hook without the category of tracepoints before it. Write "${cure}", which means that name in every category.`,
    });
  }
});
