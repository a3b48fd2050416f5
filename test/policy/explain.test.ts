import t from 'tap';
import { netlink } from '../../src/bpf/index.js';
import { failure } from '../../src/errors.js';
import {
  explain,
  explainObject,
  type Question,
  questionNames,
  readPolicyFile,
} from '../../src/policy/index.js';

/* Each answer is the one of the checker that agents use. The command is tested in test/cli. */

const observe = readPolicyFile('profile: observe', 'observe');
const full = readPolicyFile('profile: full', 'full');
/** The policy of a file whose second line is the one given. */
const ruled = (line: string, profile = 'full') =>
  readPolicyFile(`profile: ${profile}\n${line}\n`, 'p.yaml');

/** For each question: the words for the thing, the rule, and lines of policies with names. */
const questions: Readonly<
  Record<
    Exclude<Question, 'rate'>,
    readonly [what: string, rule: string, ...answers: (readonly [line: string, Answers])[]]
  >
> = {
  call: [
    'call',
    'commands',
    ['commands: { deny: [map_freeze] }', { map_freeze: false, BPF_MAP_FREEZE: false, 22: false }],
    ['commands: { only: [prog_load, 60] }', { prog_load: true, 60: true, 61: false }],
  ],
  program: [
    'program type',
    'program_types',
    ['program_types: { deny: [xdp] }', { xdp: false, tracing: true, 4000: true }],
    ['program_types: { only: [xdp] }', { xdp: true, tracing: false, 4000: false }],
  ],
  attach: [
    'attach type',
    'attach_types',
    ['attach_types: { deny: [lsm_mac] }', { lsm_mac: false, trace_fentry: true, xdp: true }],
    ['attach_types: { only: [lsm_mac] }', { lsm_mac: true, trace_fentry: false, xdp: false }],
  ],
  map: [
    'map type',
    'map_types',
    ['map_types: { deny: [hash] }', { hash: false, array: true, ringbuf: true }],
    ['map_types: { only: [hash] }', { hash: true, array: false, ringbuf: false }],
  ],
  helper: [
    'helper',
    'helpers',
    ['helpers: { deny: [bpf_loop] }', { bpf_loop: false, bpf_send_signal: true, 4000: true }],
    ['helpers: { only: [bpf_loop] }', { bpf_loop: true, bpf_send_signal: false, 4000: false }],
  ],
  kfunc: [
    'kernel function',
    'kfuncs',
    ['kfuncs: [bpf_one]', { bpf_one: true, bpf_two: false, bpf_on: false }],
    ['kfuncs: none', { bpf_one: false }],
    ['kfuncs: any', { bpf_one: true }],
  ],
  hook: [
    'hook',
    'hooks',
    ['hooks: ["vfs_*", "!vfs_write"]', { vfs_read: true, vfs_write: false, sys_enter: false }],
    ['hooks: none', { vfs_read: false }],
    ['hooks: any', { vfs_read: true }],
  ],
  uprobe: [
    'place to probe',
    'uprobes',
    [
      'uprobes: ["/bin/sh:main", "/lib/y:a:b", "/bin/z:x*"]',
      {
        '/bin/sh:main': true,
        '/bin/sh:other': false,
        '/bin/sh2:main': false,
        '/bin/bash:main': false,
        '/bin/sh': false,
        '/lib/y:a:b': true,
        '/lib/y:a:c': false,
        '/bin/z:xyz': true,
      },
    ],
    ['uprobes: none', { '/bin/sh:main': false }],
    ['uprobes: any', { '/bin/sh:main': true }],
  ],
  interface: [
    'interface',
    'interfaces',
    ['interfaces: [lo, eth1]', { lo: true, eth1: true, eth0: false, '/1': false }],
    ['interfaces: none', { lo: false }],
    ['interfaces: any', { lo: true }],
  ],
  netlink: [
    'kind of netlink messages',
    'netlink',
    ...netlink.netlinkKinds.map(
      (one) =>
        [
          `netlink: [${one}]`,
          Object.fromEntries(netlink.netlinkKinds.map((kind) => [kind, kind === one])),
        ] as const,
    ),
    ['netlink: any', { attach_tc: true }],
  ],
  perf: [
    'perf event type',
    'perf_types',
    ['perf_types: [software, kprobe, 9]', { software: true, kprobe: true, 9: true }],
    ['perf_types: [software, kprobe, 9]', { hardware: false, raw: false, power: false, 8: false }],
    ['perf_types: [uprobe]', { uprobe: true, kprobe: false }],
    ['perf_types: any', { power: true }],
  ],
  pin: [
    'pin',
    'pin_paths',
    [
      'pin_paths: [/sys/fs/bpf/ours/]',
      {
        '/sys/fs/bpf/ours/x': true,
        '/sys/fs/bpf/ours/x/y': true,
        '/sys/fs/bpf/x': false,
        '/sys/fs/bpf/ours/../x': false,
      },
    ],
    ['pin_paths: none', { '/sys/fs/bpf/ours/x': false }],
    ['pin_paths: any', { '/sys/fs/bpf/x': true }],
  ],
  cgroup: [
    'cgroup',
    'cgroup_paths',
    [
      'cgroup_paths: [/sys/fs/cgroup/ours/]',
      { '/sys/fs/cgroup/ours/x': true, '/sys/fs/cgroup/x': false },
    ],
    ['cgroup_paths: any', { '/sys/fs/cgroup/x': true, x: false }],
  ],
  read: [
    'file',
    'readable_paths',
    [
      'readable_paths: { only: [/proc/kallsyms, /sys/kernel/] }',
      {
        '/proc/kallsyms': true,
        '/proc/kallsyms2': false,
        '/sys/kernel/btf/vmlinux': true,
        '/sys/kernel/../x': false,
        '/etc/passwd': false,
      },
    ],
  ],
};
type Answers = Readonly<Record<string, boolean>>;

for (const [question, [what, rule, ...lines]] of Object.entries(questions)) {
  t.test(`${question}: the rule says what is allowed, and where it was written`, async (t) => {
    for (const [line, answers] of lines) {
      for (const [name, allowed] of Object.entries(answers)) {
        t.same(
          explain(ruled(line), question as Question, name),
          { what: `${what} ${name}`, allowed, rule, from: 'p.yaml:2' },
          `${line}: ${name}`,
        );
      }
    }
  });
}

t.test('what a file does not say is the profile’s', async (t) => {
  const answers: Readonly<Record<string, readonly [Question, string, boolean]>> = {
    commands: ['call', 'link_detach', false],
    program_types: ['program', 'xdp', false],
    attach_types: ['attach', 'lsm_mac', false],
    map_types: ['map', 'devmap', false],
    helpers: ['helper', 'bpf_send_signal', false],
    kfuncs: ['kfunc', 'bpf_rcu_read_lock', false],
    hooks: ['hook', 'sys_enter', true],
    uprobes: ['uprobe', '/bin/sh:main', false],
    interfaces: ['interface', 'lo', false],
    netlink: ['netlink', 'read_sockets', true],
    perf_types: ['perf', 'kprobe', true],
    pin_paths: ['pin', '/sys/fs/bpf/x', false],
    cgroup_paths: ['cgroup', '/sys/fs/cgroup/x', false],
    readable_paths: ['read', '/proc/kallsyms', true],
  };
  for (const [rule, [question, name, allowed]] of Object.entries(answers)) {
    const verdict = explain(observe, question, name);
    t.match(verdict, { allowed, rule, from: 'profile observe' }, `${question} ${name}`);
    t.match(explain(full, question, name), { allowed: true, rule, from: 'profile full' });
  }
});

t.test('one question is about one rule: what others refuse is not', async (t) => {
  const policy = ruled('interfaces: none');
  t.match(explain(policy, 'netlink', 'attach_xdp'), { allowed: true, rule: 'netlink' });
  t.match(explain(policy, 'attach', 'xdp'), { allowed: true, rule: 'attach_types' });
  t.match(explain(ruled('commands: { only: [] }'), 'map', 'hash'), { allowed: true });
});

t.test('perf events of probes in files need a place, too', async (t) => {
  const refused = { allowed: false, rule: 'uprobes', from: 'p.yaml:2' };
  t.match(explain(ruled('uprobes: none'), 'perf', 'uprobe'), refused);
  t.match(explain(ruled('uprobes: none'), 'perf', 'kprobe'), { allowed: true, rule: 'perf_types' });
  t.match(explain(observe, 'perf', 'uprobe'), { ...refused, from: 'profile observe' });
});

t.test('a path of any length is refused by its rule, and not repeated in full', async (t) => {
  for (const [question, rule] of [
    ['read', 'readable_paths'],
    ['cgroup', 'cgroup_paths'],
  ] as const) {
    for (const path of ['/'.padEnd(1_000_000, 'é'), '//'.padEnd(1_000_000, 'é')]) {
      t.match(explain(observe, question, path), { allowed: false, rule }, question);
    }
  }
});

t.test('rates', async (t) => {
  const rule = 'quotas.events_per_second';
  const bounded = ruled('quotas: { events_per_second: 500 }');
  const verdict = (name: string, allowed: boolean, from: string) => ({
    ...{ what: `events a second: ${name}`, allowed, rule, from },
  });
  t.same(explain(bounded, 'rate', '499'), verdict('499', true, 'p.yaml:2'));
  t.same(explain(bounded, 'rate', '500'), verdict('500', true, 'p.yaml:2'));
  t.same(explain(bounded, 'rate', '501'), verdict('501', false, 'p.yaml:2'));
  const most = '9'.repeat(15);
  t.same(explain(observe, 'rate', most), verdict(most, true, 'profile observe'));
  for (const rate of ['', 'many', '5x', 'x5', '-1', '1.5', `${most}9`]) {
    const expected = 'a whole number of events a second';
    t.throws(() => explain(observe, 'rate', rate), wrong('rate', rate, expected), rate);
  }
});

/** The error for a name, word for word. */
function wrong(option: string, value: string, expected: string) {
  const { message } = failure('ERR_OPTION_INVALID', { option, value, expected });
  return { code: 'ERR_OPTION_INVALID', message };
}

t.test('a name that the kernel’s interface does not have', async (t) => {
  const cases: [Question, string, string, string | undefined][] = [
    ['call', 'map_freze', 'command', 'map_freeze'],
    ['program', 'xpd', 'program type', 'xdp'],
    ['attach', 'lsm_mack', 'attach type', 'lsm_mac'],
    ['map', 'hsh', 'map type', 'hash'],
    ['helper', 'loop', 'helper', 'bpf_loop'],
    ['helper', 'zzzzzzzzzzzz', 'helper', undefined],
    ['map', '', 'map type', undefined],
  ];
  for (const [question, name, one, meant] of cases) {
    const guess = meant === undefined ? '' : ` (did you mean ${meant}?)`;
    const error = wrong(one, name, `the name or the number of a ${one}${guess}`);
    t.throws(() => explain(full, question, name), error, `${question} ${name}`);
  }
  const kinds = 'one of read_network, read_sockets, attach_xdp, attach_tc';
  t.throws(() => explain(full, 'netlink', 'all'), wrong('netlink', 'all', kinds));
});

t.test('every question has an answer here', async (t) => {
  t.same(questionNames, [...Object.keys(questions), 'rate']);
});

t.test(
  'programs of an object file: their types, hooks, helpers and kernel functions',
  async (t) => {
    const verdicts = explainObject(observe, [
      {
        ...{ section: 'raw_tp/sys_enter', type: 'raw_tracepoint', hook: 'sys_enter' },
        ...{ helpers: ['bpf_loop', '109'], kfuncs: ['bpf_rcu_read_lock'] },
      },
      { section: 'xdp', type: 'xdp', hook: undefined, helpers: [], kfuncs: [] },
    ]);
    const from = 'profile observe';
    t.same(verdicts, [
      ...[
        { what: 'program type raw_tracepoint', allowed: true, rule: 'program_types', from },
        { what: 'hook sys_enter', allowed: true, rule: 'hooks', from },
        { what: 'helper bpf_loop', allowed: true, rule: 'helpers', from },
        { what: 'helper 109', allowed: false, rule: 'helpers', from },
        { what: 'kernel function bpf_rcu_read_lock', allowed: false, rule: 'kfuncs', from },
      ].map((verdict) => ({ ...verdict, what: `raw_tp/sys_enter: ${verdict.what}` })),
      { what: 'xdp: program type xdp', allowed: false, rule: 'program_types', from },
    ]);
  },
);
