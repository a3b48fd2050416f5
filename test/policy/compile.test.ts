/* What rules come to for a kernel that is made up here, so that every name and number is known. */
import t from 'tap';
import { enums } from '../../src/bpf/index.js';
import {
  type Check,
  compile,
  globMatcher,
  type Policy,
  parsePolicy,
  profiles,
} from '../../src/policy/index.js';
import {
  contains,
  MAX_VALUE,
  NETLINK,
  PERF_EVENT_OPEN,
  type Range,
} from '../../src/policy/rules.js';
import { madeUpKernel as kernel } from './made-up-kernel.js';

const { Cmd, MapType, PerfIoctl, ProgType } = enums;
const MIB = 2 ** 20;
const policyOf = (text: string) => parsePolicy(`profile: full\n${text}\n`, 'test');
const rulesOf = (text: string, of = kernel) => compile(policyOf(text), of);
/** Those of messages of netlink are the matter of netlink.test.ts. */
const checksOf = (text: string, rule: string, of = kernel) =>
  rulesOf(text, of).checks.filter((check) => check.rule === rule && check.command < NETLINK);
type Values = { kind: string; offset: number; values: readonly Range[] };

t.test('the full profile checks no names', async (t) => {
  const { checks, perfEvents, foreign, pinPaths, cgroupPaths, readablePaths } = compile(
    profiles.full,
    kernel,
  );
  // Of messages of netlink, only what is known is allowed.
  const rules = new Set(checks.filter(({ command }) => command < NETLINK).map(({ rule }) => rule));
  for (const rule of Object.keys(profiles.full)) t.notOk(rules.has(rule), rule);
  t.equal(perfEvents, true);
  t.same(foreign, []);
  t.same(pinPaths, ['/sys/fs/bpf/']);
  t.same(cgroupPaths, ['/sys/fs/cgroup/']);
  t.equal(readablePaths, profiles.full.readable_paths);
});

t.test('globs', async (t) => {
  const matching = (globs: string[], ...names: string[]) => names.filter(globMatcher(globs));
  t.same(matching(['a*c'], 'ac', 'abc', 'abcd', 'xabc', 'a\nc'), ['ac', 'abc', 'a\nc']);
  t.same(matching(['a?c'], 'ac', 'abc', 'abbc'), ['abc']);
  t.same(matching(['a.c', 'x'], 'abc', 'a.c', 'x', 'xx'), ['a.c', 'x']);
  t.same(matching(['*', '!a*', '!b'], 'a', 'ab', 'b', 'bc'), ['bc']);
  t.same(matching(['!a'], 'a', 'b'), [], 'nothing is allowed but what is named');
  t.same(matching([], 'a'), []);
  for (const character of '\\^$.+()[]{}|') {
    t.same(matching([`a${character}`], `a${character}`, 'a', 'aa'), [`a${character}`], character);
  }
});

t.test('limits follow from the quotas', async (t) => {
  const usual = {
    maxFrameBytes: 64 * MIB,
    maxCallBytes: 128 * MIB,
    maxBuffers: 256,
    maxRelocations: 2 ** 20,
    maxHandles: 4096,
    maxStreams: 64,
    maxEventsPerSecond: 0,
  };
  t.same(rulesOf('quotas: { map_bytes: any, events_per_second: any }').limits, usual);
  t.same(rulesOf('quotas: { map_bytes: 160 MiB, events_per_second: 9 }').limits, {
    ...usual,
    maxEventsPerSecond: 9,
  });
  t.same(rulesOf('quotas: { map_bytes: 159 MiB, events_per_second: any }').limits, {
    ...usual,
    ...{ maxFrameBytes: 4 * MIB, maxCallBytes: 4 * MIB, maxRelocations: 2 ** 14 },
  });
  t.equal(rulesOf('quotas: { map_bytes: any }').ringBytes, 0);
  t.equal(rulesOf('quotas: { map_bytes: 8 MiB }').ringBytes, 8 * MIB);
});

/** What a call of a size comes to by a check of a quota: the words are those of the attribute. */
function amount(check: Extract<Check, { kind: 'quota' }>, words: Readonly<Record<number, number>>) {
  const { constant, terms = [], factor } = check;
  const sum = terms.reduce((all, { offset, round = 1, multiplier = 1 }) => {
    return all + Math.ceil((words[offset] ?? 0) / round) * round * multiplier;
  }, constant);
  return factor === undefined ? sum : sum * (words[factor] ?? 0);
}

t.test('each object counts, and maps by their sizes', async (t) => {
  const quotas = (name: string) =>
    checksOf(
      'quotas: { programs: 1, maps: 2, links: 3, map_bytes: 5 MiB }',
      `quotas.${name}`,
    ) as Extract<Check, { kind: 'quota' }>[];
  const counted = (name: string) =>
    quotas(name).map(({ command, maximum, constant, counter }) => [
      command,
      maximum,
      constant,
      counter,
    ]);
  t.same(counted('programs'), [[Cmd.BPF_PROG_LOAD, 1, 1, 0]]);
  t.same(counted('maps'), [[Cmd.BPF_MAP_CREATE, 2, 1, 1]]);
  t.same(counted('links'), [
    [Cmd.BPF_LINK_CREATE, 3, 1, 2],
    [Cmd.BPF_RAW_TRACEPOINT_OPEN, 3, 1, 2],
  ]);
  // The offsets of map_type, key_size, value_size and max_entries.
  const bytesOf = (type: number, key: number, value: number, entries: number) => {
    const words = { 0: type, 4: key, 8: value, 12: entries };
    const matching = quotas('map_bytes').filter(
      ({ command, when = [] }) =>
        command === Cmd.BPF_MAP_CREATE &&
        when.every(({ values }) => values.some(([first, last]) => first <= type && type <= last)),
    );
    t.equal(matching.length, 1, `one check is about maps of type ${type}`);
    return amount(matching[0] as Extract<Check, { kind: 'quota' }>, words);
  };
  t.equal(bytesOf(MapType.BPF_MAP_TYPE_HASH, 5, 9, 10), (64 + 8 + 16) * 10);
  t.equal(bytesOf(4000, 8, 8, 2), (64 + 16) * 2, 'a later type');
  for (const name of ['PERCPU_HASH', 'PERCPU_ARRAY', 'LRU_PERCPU_HASH'] as const) {
    t.equal(bytesOf(MapType[`BPF_MAP_TYPE_${name}`], 4, 12, 10), (64 + 8 + 16 * 3) * 10, name);
  }
  for (const name of ['RINGBUF', 'USER_RINGBUF'] as const) {
    t.equal(bytesOf(MapType[`BPF_MAP_TYPE_${name}`], 0, 0, 4097), 8192, name);
  }
  t.equal(bytesOf(MapType.BPF_MAP_TYPE_ARENA, 0, 0, 3), 3 * 4096);
  for (const name of [
    ...['SK_STORAGE', 'INODE_STORAGE', 'TASK_STORAGE', 'CGRP_STORAGE'],
    ...['CGROUP_STORAGE', 'PERCPU_CGROUP_STORAGE'],
  ]) {
    const type = MapType[`BPF_MAP_TYPE_${name}` as keyof typeof MapType];
    t.equal(bytesOf(type, 4, 9, 0), 4096 * (64 + 16), name);
  }
  const [load, btf] = quotas('map_bytes').filter(({ command }) => command !== Cmd.BPF_MAP_CREATE);
  t.equal(load?.command, Cmd.BPF_PROG_LOAD);
  // The offsets of insn_cnt, func_info_cnt and line_info_cnt.
  t.equal(load && amount(load, { 4: 10, 88: 2, 104: 3 }), 16_384 + 400 + 5 * 24);
  t.equal(btf?.command, Cmd.BPF_BTF_LOAD);
  t.equal(btf && amount(btf, { 16: 100 }), 16_384 + 200);
  t.ok(quotas('map_bytes').every(({ maximum, counter }) => maximum === 5 * MIB && counter === 3));
  t.same(checksOf('quotas: { programs: any }', 'quotas.programs'), []);
});

t.test('kinds of perf events have the numbers of the kernel', async (t) => {
  const values = (text: string, of = kernel) =>
    (checksOf(text, 'perf_types', of) as unknown as Values[]).map((check) => check.values);
  t.same(
    values('perf_types: [software, cpu]'),
    [
      [
        [1, 1],
        [4, 4],
        [9, 9],
      ],
    ],
    'and probes in files',
  );
  t.same(values('perf_types: [tracepoint, 33, nonsense]'), [
    [
      [2, 2],
      [9, 9],
      [33, 33],
    ],
  ]);
  t.same(values('perf_types: none'), [[[9, 9]]]);
  t.same(values('perf_types: any'), []);
  const silent = { ...kernel, perfType: () => undefined };
  t.same(values('perf_types: any', silent), []);
  t.same(values('perf_types: any\nhooks: [x]', silent), [[[0, 5]]], 'any other may be a probe');
  t.same(values('perf_types: any\nuprobes: ["/a:b"]', silent), [[[0, 5]]]);
  t.same(values('perf_types: none', silent), [[]]);
  const events = (text: string) => rulesOf(text).perfEvents;
  t.equal(events('perf_types: none\nuprobes: none'), false);
  t.equal(events('perf_types: [cpu]\nuprobes: none'), true);
  t.equal(events('perf_types: none\nuprobes: ["/a:b"]'), true);
  const modifies = (text: string) =>
    rulesOf(text).ioctls.some(
      ({ request }) => request === PerfIoctl.PERF_EVENT_IOC_MODIFY_ATTRIBUTES,
    );
  t.equal(modifies('perf_types: any'), true);
  t.equal(modifies('perf_types: [cpu]'), false);
});

t.test('requests of perf events have an argument of their own kind', async (t) => {
  const { ioctls } = compile(profiles.full, kernel);
  t.same(
    Object.fromEntries(
      ioctls.map(({ name, argument }) => [name.replace('PERF_EVENT_IOC_', ''), argument]),
    ),
    {
      ...{ ENABLE: 'number', DISABLE: 'number', REFRESH: 'number', RESET: 'number' },
      ...{ PERIOD: 'buffer', SET_OUTPUT: 'handle', SET_FILTER: 'buffer', ID: 'buffer' },
      ...{ SET_BPF: 'handle', PAUSE_OUTPUT: 'number', QUERY_BPF: 'buffer' },
      MODIFY_ATTRIBUTES: 'buffer',
    },
  );
});

t.test(
  'words of a link are descriptors by the type of its program, then by the attach type',
  async (t) => {
    const checks = checksOf('', 'descriptors');
    /** Where a link of attach type 0 has descriptors, if its program has this type. */
    const descriptors = (programType: number) => {
      const offsets = checks.flatMap((check) => {
        if (check.command !== Cmd.BPF_LINK_CREATE || check.kind !== 'descriptor') return [];
        const applies = (check.when ?? []).every(({ type = false, values }) =>
          contains(values, type ? programType : 0),
        );
        return applies ? [check.offset] : [];
      });
      return [...new Set(offsets)].sort((a, b) => a - b);
    };
    // The word at 16 is a descriptor for a link of a cgroup, and the id of a type for this one.
    t.same(descriptors(ProgType.BPF_PROG_TYPE_EXT), [0, 4]);
    t.same(descriptors(ProgType.BPF_PROG_TYPE_CGROUP_SKB), [0, 4, 16]);
  },
);

t.test('hooks are names, or numbers that names have on this kernel', async (t) => {
  const checks = checksOf('hooks: [vfs_*, sched_switch]', 'hooks');
  const ofCommand = (command: number) => checks.filter((check) => check.command === command);
  const patterns = ['vfs_*', 'sched_switch'];
  t.match(ofCommand(Cmd.BPF_RAW_TRACEPOINT_OPEN), [{ kind: 'text', paths: false, patterns }]);
  const [kprobes, addresses, multi] = ofCommand(Cmd.BPF_LINK_CREATE);
  t.match(kprobes, {
    kind: 'text',
    patterns,
    when: [
      {
        values: [
          [42, 42],
          [56, 56],
        ],
      },
    ],
  });
  t.match(addresses, { kind: 'word', values: [[0, 0]] });
  t.match(multi, { kind: 'words', values: [[1, 2]] });
  const [target, program] = ofCommand(Cmd.BPF_PROG_LOAD);
  const when = [
    {
      offset: 0,
      values: [
        [26, 26],
        [28, 29],
      ],
    },
  ];
  t.match(target, { kind: 'word', values: [[1, 2]], when });
  t.match(program, { kind: 'word', values: [[0, 0]], when });
  const events = ofCommand(PERF_EVENT_OPEN) as unknown as (Values & {
    when: { values: Range[] }[];
  })[];
  t.match(events[0], { kind: 'word', values: [[300, 300]], when: [{ values: [[2, 2]] }] });
  t.match(events[1], { values: [[1, Number.MAX_SAFE_INTEGER]], when: [{ values: [[8, 8]] }] });
  t.match(events[2], { kind: 'text', patterns, when: [{ values: [[8, 8]] }] });
  t.match(events[3], { values: [[0, 0]], when: [{ values: [[8, 8]] }] });
  t.same(
    events[4]?.values,
    [
      [0, 4],
      [6, MAX_VALUE],
    ],
    'no breakpoints',
  );
  t.equal(events.length, 5);
});

t.test('functions of the kernel are numbers of its own types', async (t) => {
  const values = (text: string) =>
    (checksOf(text, 'kfuncs') as unknown as Values[]).map((check) => check.values);
  t.same(values('kfuncs: [bpf_one, bpf_two]'), [[[0, 0]], [[77, 77]]]);
  t.same(values('kfuncs: none'), [[[0, 0]], []]);
  t.same(values('kfuncs: any'), []);
});

t.test('probes are places in files, with what tells a file from another', async (t) => {
  const text = 'uprobes: ["/bin/a:main", "/bin/a:libc:x", "/b:y"]';
  const checks = checksOf(text, 'uprobes');
  const files = [
    ['/bin/a', 'identity of /bin/a', [{ offset: 6, counter: 0 }]],
    ['/b', 'identity of /b', [{ offset: 1, counter: 2 }]],
  ];
  t.match(checks, [
    { command: PERF_EVENT_OPEN, kind: 'probes', files, shift: 32, when: [{ values: [[9, 9]] }] },
    { command: Cmd.BPF_LINK_CREATE, kind: 'word', values: [[0, 1]] },
    { command: Cmd.BPF_LINK_CREATE, kind: 'probes', files, shift: 0 },
  ]);
  const { fileIdentity: _, ...plain } = { ...kernel, perfType: () => undefined };
  const without = checksOf(text, 'uprobes', plain);
  t.equal(without.length, 2, 'the kernel has no perf events for them');
  t.match(without[1], {
    files: [
      ['/bin/a', ''],
      ['/b', ''],
    ],
  });
  t.same(checksOf('uprobes: any', 'uprobes'), []);
});

t.test('what is unknown is refused unless every command is allowed', async (t) => {
  const rest = (text: string) => checksOf(text, 'commands').map(({ command }) => command);
  t.same(rest('commands: any'), []);
  const some = rest('commands: [map_create]');
  for (const command of [Cmd.BPF_MAP_CREATE, Cmd.BPF_PROG_LOAD, Cmd.BPF_LINK_CREATE]) {
    t.equal(some.filter((one) => one === command).length, 1, 'one check for each command');
  }
  t.same(rulesOf('commands: any').known, { flags: MAX_VALUE, secondBytes: MAX_VALUE });
  const { known } = rulesOf('commands: [map_create]');
  t.same(known, { flags: 2 ** 16, secondBytes: known.secondBytes });
  t.ok(known.secondBytes >= 16 && known.secondBytes < 64, `${known.secondBytes}`);
});

t.test('objects of others, pins and interfaces', async (t) => {
  const foreign = (policy: Policy) =>
    compile(policy, kernel).checks.filter(
      ({ rule, kind, command }) =>
        rule === 'foreign_objects' && kind === 'word' && command < NETLINK,
    );
  t.same(foreign(profiles.full), []);
  t.match(foreign({ ...profiles.full, foreign_objects: 'inspect' }), [
    { command: Cmd.BPF_MAP_GET_FD_BY_ID, values: [[8, 8]] },
    { command: Cmd.BPF_PROG_DETACH, values: [[1, MAX_VALUE]] },
  ]);
  t.match(checksOf('pin_paths: [/sys/fs/bpf/x/]', 'pin_paths'), [
    { command: Cmd.BPF_OBJ_PIN, paths: true, patterns: ['/sys/fs/bpf/x/'] },
    { command: Cmd.BPF_OBJ_GET, paths: true, patterns: ['/sys/fs/bpf/x/'] },
  ]);
  t.same(rulesOf('pin_paths: [/sys/fs/bpf/x/]').pinPaths, ['/sys/fs/bpf/x/']);
  t.same(rulesOf('cgroup_paths: [/c/]').cgroupPaths, ['/c/']);
  const interfaces = checksOf('interfaces: [lo]', 'interfaces');
  t.match(
    interfaces.map(({ command }) => command),
    [Cmd.BPF_LINK_CREATE, Cmd.BPF_PROG_ATTACH, Cmd.BPF_PROG_DETACH],
  );
  for (const check of interfaces) {
    t.match(check, {
      names: ['lo'],
      when: [
        {
          values: [
            [37, 37],
            [46, 47],
            [54, 55],
          ],
        },
      ],
    });
  }
  t.same(checksOf('interfaces: any', 'interfaces'), []);
  const signals = checksOf('perf_signals: false', 'perf_signals') as unknown as Values[];
  t.match(signals, [{ kind: 'word', width: 4, values: [[0, 31]] }]);
});
