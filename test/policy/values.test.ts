/* The values that each key of a policy takes and refuses, and sets of numbers. */
import t from 'tap';
import { type Policy, parsePolicy, profiles, readPolicyFile } from '../../src/policy/index.js';
import { contains, MAX_VALUE, type Range, rangesOf, subtract } from '../../src/policy/rules.js';

const of = (text: string) => parsePolicy(`${text}\n`, 'p.yaml');
const messages = (text: string) =>
  readPolicyFile(text, 'p.yaml').problems.map(({ message }) => message);

t.test('numbers and ranges of numbers', async (t) => {
  const ranges: Range[] = [
    [2, 4],
    [8, 8],
  ];
  t.same(
    [0, 1, 2, 3, 4, 5, 7, 8, 9].filter((value) => contains(ranges, value)),
    [2, 3, 4, 8],
  );
  t.same(rangesOf([9, 2, 4, 3, 2, 7]), [
    [2, 4],
    [7, 7],
    [9, 9],
  ]);
  t.same(rangesOf([]), []);
  t.same(subtract([[0, 10]], [[3, 5]]), [
    [0, 2],
    [6, 10],
  ]);
  t.same(
    subtract(
      [[0, 10]],
      [
        [0, 0],
        [10, 10],
      ],
    ),
    [[1, 9]],
  );
  t.same(subtract([[3, 5]], [[3, 5]]), []);
  t.same(subtract([[3, 5]], [[0, 9]]), []);
  t.same(
    subtract(
      [[3, 5]],
      [
        [0, 2],
        [6, 9],
      ],
    ),
    [[3, 5]],
  );
  t.same(
    subtract(
      [
        [3, 5],
        [7, 9],
      ],
      [[5, 7]],
    ),
    [
      [3, 4],
      [8, 9],
    ],
  );
  t.equal(MAX_VALUE, 0xffffffff);
});

/** What each key with texts takes, and what it does not. */
const texts: Readonly<Record<string, readonly [takes: string[], refuses: string[]]>> = {
  kfuncs: [
    ['bpf_x', 'X9'],
    ['bpf-x', 'a b', '*'],
  ],
  perf_types: [
    ['software', 'cpu-clock', 'a.b', '8'],
    ['a b', '*', 'a/b'],
  ],
  hooks: [
    ['sys_*', '!sys_?', 'a.b', 'kernel/module', 'a-b', '*'],
    ['a b', 'sys_[a]', '!!x', 'x!', 'sched:x', 'a:b:c'],
  ],
  uprobes: [
    ['/bin/bash:readline', '/lib/c.so:libc:setjmp', '/x:a*', '/x:a$b@c?', '/a..b:x', '/.a/b:x'],
    [
      'bash:x',
      '/bin/bash',
      '/bin/bash:',
      '/a/../b:x',
      '/a/./b:x',
      '/x:a:b:c',
      '/x:a b',
      '/..:x',
      '/../a:x',
      '/a/.:x',
    ],
  ],
  interfaces: [
    ['eth0', 'a.5', 'x'.repeat(15)],
    ['a b', 'a/b', 'x'.repeat(16), ''],
  ],
  netlink: [
    ['read_network', 'read_sockets', 'attach_xdp', 'attach_tc'],
    ['read', 'attach_xdp_', ' read_network', ''],
  ],
  pin_paths: [
    ['/sys/fs/bpf/', '/a/..b/'],
    ['/sys/fs/bpf', 'x/', '/a/../', '/a/./', '/../', '/./x/', '/'],
  ],
  cgroup_paths: [['/sys/fs/cgroup/x/'], ['/sys/fs/cgroup/x', '/../x/']],
  readable_paths: [
    ['/proc/', '/proc/version', '/', '/a..b'],
    ['proc', '/a/..', '/a/./b', '/.', '/../a', 'a\n/../b', '/a\n/../b'],
  ],
};

for (const [key, [takes, refuses]] of Object.entries(texts)) {
  t.test(`${key} takes what can be such a name, and nothing else`, async (t) => {
    for (const text of takes) {
      t.same(of(`${key}: [${JSON.stringify(text)}]`)[key as keyof Policy], [text], text);
    }
    for (const text of refuses) {
      const [message = '', ...more] = messages(`${key}: [${JSON.stringify(text)}]`);
      t.match(message, `p.yaml:1:${key.length + 4}: found ${text}; expected `, text);
      t.match(message, / Write .+/, 'and the cure');
      t.same(more, []);
    }
  });
}

/** What each key is a list of, what it expects of one, and the cure. */
const words: Readonly<Record<string, readonly [one: string, expected: string, cure: string]>> = {
  kfuncs: [
    'kernel function',
    'the name of a kernel function',
    'Write its name as the C source has it.',
  ],
  perf_types: [
    'perf event type',
    'a type of perf events, a device of /sys/bus/event_source/devices, or a number',
    'Write a name such as software, tracepoint or kprobe.',
  ],
  hooks: ['hook', 'a name with the wildcards * and ?', 'Write a glob such as "sched_*".'],
  uprobes: [
    'place to probe',
    'a file and a symbol of it, such as /usr/bin/bash:readline, or /lib/libc.so.6:libc:setjmp',
    'Write FILE:SYMBOL, or FILE:PROVIDER:NAME for a probe of USDT.',
  ],
  interfaces: ['interface', "an interface's name", 'Write a name as ip(8) lists it.'],
  netlink: [
    'kind of netlink messages',
    'one of read_network, read_sockets, attach_xdp, attach_tc',
    'Write one of these names.',
  ],
  pin_paths: [
    'folder',
    'a folder for pins',
    'Write a path from the root, with a / at its end for a folder.',
  ],
  cgroup_paths: [
    'folder',
    'a folder of cgroups',
    'Write a path from the root, with a / at its end for a folder.',
  ],
  readable_paths: [
    'path',
    'an absolute path without . and ..',
    'Write a path from the root, with a / at its end for a folder.',
  ],
};

t.test('what is wrong with a name is said in the words of its key', async (t) => {
  for (const [key, [one, expected, cure]] of Object.entries(words)) {
    t.same(messages(`${key}: ["a b"]\n`), [
      `p.yaml:1:${key.length + 4}: found a b; expected ${expected}. ${cure}`,
    ]);
    t.same(messages(`${key}: { only: x }\n`), [
      `p.yaml:1:${key.length + 11}: found x; expected a list of ${one}s. Write it as [x].`,
    ]);
  }
  t.equal(messages('readable_paths: ["/a\\0b"]\n').length, 1, 'no path has a NUL');
  t.match(messages('accept: { cids: 2 }'), [/expected a list of CIDs\. Write it as \[2\]\./]);
  t.match(messages('accept: { subjects: x }'), [/a list of common name of a certificates\./]);
  t.match(messages('accept: 5'), [/expected a mapping for who may connect\. Write cids: …\./]);
  t.match(messages('quotas: 5'), [/expected a mapping for quotas\. Write programs: …\./]);
  t.match(messages('leases: { max_seconds: x }'), [/a whole number of seconds, or any\./]);
  t.match(messages('quotas: { maps: x, links: y }'), [
    /a whole number of maps, or any\. Write digits, and KiB, MiB or GiB after bytes\./,
    /a whole number of links, or any\./,
  ]);
});

t.test('problems come in the order of the file', async (t) => {
  const found = (text: string) => messages(text).map((message) => /found (\w+)/.exec(message)?.[1]);
  t.same(found('hooks: ["a b"]\nnonsense: 1\n'), ['a', 'nonsense'], 'by line');
  t.same(found('{ hooks: ["a b"], nonsense: 1 }\n'), ['a', 'nonsense'], 'and by column');
  t.same(found('{ nonsense: 1, hooks: ["a b"] }\n'), ['nonsense', 'a']);
});

t.test('sets of texts', async (t) => {
  const paths = (text: string) => of(`readable_paths: ${text}`).readable_paths;
  const usual = profiles.observe.readable_paths;
  t.same(paths('any'), ['*']);
  t.same(paths('none'), []);
  t.same(paths('[/a, /b, /a]'), ['/a', '/b']);
  t.same(paths('{ only: [/a], allow: [/b, /a], deny: [/a] }'), ['/b']);
  t.same(paths('{ allow: [/b] }'), [...usual, '/b']);
  t.same(paths(`{ deny: [${usual[0]}] }`), usual.slice(1));
  t.same(
    of('profile: full\nreadable_paths: { allow: [/b, /proc/] }').readable_paths,
    [...new Set([...profiles.full.readable_paths, '/b'])],
    'each of them once',
  );
  const kfuncs = (text: string) => of(`profile: full\nkfuncs: ${text}`).kfuncs;
  t.same(profiles.full.kfuncs, ['*']);
  t.same(kfuncs('{ allow: [bpf_x] }'), ['*'], 'all are allowed already');
  t.same(kfuncs('{ deny: [bpf_x] }'), [], 'what is left has no names');
  const hooks = (text: string) => of(`hooks: ${text}`).hooks;
  t.same(hooks('{ only: [sched_*], deny: ["sched_switch"] }'), ['sched_*', '!sched_switch']);
  t.same(hooks('{ only: ["*"], allow: [x] }'), ['*', 'x']);
});

t.test('sets of numbers', async (t) => {
  const types = (text: string) => of(`map_types: ${text}`).map_types;
  t.same(types('any'), [[0, MAX_VALUE]]);
  t.same(types('none'), []);
  t.same(types('[array, hash, 3, 9]'), [
    [1, 3],
    [9, 9],
  ]);
  t.same(types('{ only: [hash], allow: [7, 6, 7] }'), [
    [1, 1],
    [6, 7],
  ]);
  t.same(types('{ only: [1, 2, 3], deny: [2] }'), [
    [1, 1],
    [3, 3],
  ]);
  t.equal(messages('map_types: [4294967295]').length, 1, 'ten digits are no number');
});

t.test('amounts have units where they are bytes', async (t) => {
  const bytes = (text: string) => of(`quotas: { map_bytes: ${text} }`).quotas.map_bytes;
  t.equal(bytes('any'), undefined);
  t.equal(bytes('8388608'), 8 * 2 ** 20);
  t.equal(bytes('5000 KiB'), 5000 * 2 ** 10);
  t.equal(bytes('5MiB'), 5 * 2 ** 20);
  t.equal(bytes('2 GiB'), 2 * 2 ** 30);
  t.equal(bytes('4 MiB'), 4 * 2 ** 20, 'the least');
  for (const text of [
    '5 TiB',
    '5  MiB',
    '5 MB',
    'x5 MiB',
    '5 MiB x',
    '-5',
    '[1]',
    '1234567890123456',
  ]) {
    t.equal(messages(`quotas: { map_bytes: ${text} }`).length, 1, text);
  }
  const rate = (text: string) => of(`quotas: { events_per_second: ${text} }`).quotas;
  for (const value of [1, 2 ** 30]) t.match(rate(`${value}`), { events_per_second: value });
  t.match(
    messages('quotas: { events_per_second: 1073741825 }')[0],
    /from 1 to 1073741824 of events/,
  );
  t.match(of('quotas: { programs: 0, links: 7 }').quotas, {
    programs: 0,
    links: 7,
    maps: profiles.observe.quotas.maps,
  });
});

t.test('leases, signals and objects of others', async (t) => {
  const lease = (text: string) => of(`leases: ${text}`).leases.max_seconds;
  t.equal(lease('{ max_seconds: 0 }'), 0);
  t.equal(lease('{ max_seconds: 4000001 }'), 4_000_000);
  t.equal(lease('{ max_seconds: any }'), 4_000_000);
  t.equal(lease('{}'), profiles.observe.leases.max_seconds);
  t.equal(of('perf_signals: true').perf_signals, true);
  t.equal(of('profile: full\nperf_signals: false').perf_signals, false);
  t.equal(of('foreign_objects: inspect').foreign_objects, 'inspect');
  t.equal(messages('perf_signals: 1').length, 1);
  t.match(messages('leases: 5'), [/a mapping for leases\. Write max_seconds: …\./]);
});

t.test('who may connect', async (t) => {
  const { accept } = profiles.observe;
  const who = (text: string) => of(`accept: ${text}`).accept;
  t.same(who('{ cids: [2, 4294967295] }'), { ...accept, cids: [2, 4294967295] });
  t.same(who('{ source_ports: any }'), { ...accept, source_ports: 'any' });
  t.same(who('{ subjects: [ops] }'), { ...accept, subjects: ['ops'] });
  for (const cid of ['4294967296', '12345678901', 'x2', '2x', '-1']) {
    t.match(messages(`accept: { cids: [${cid}] }`), [
      `p.yaml:1:18: found ${cid}; expected the number of a vsock context. The host is 2.`,
    ]);
  }
  t.match(messages('accept: { port: 1 }'), [/one of the keys cids, source_ports, subjects\./]);
});

t.test(
  'a file says where each of its rules is, and all that is wrong with it, in order',
  async (t) => {
    const file = readPolicyFile('profile: full\nname: ours\n\nhooks: any\n', 'p.yaml');
    t.same(Object.fromEntries(file.places), {
      profile: { line: 1, column: 10 },
      name: { line: 2, column: 7 },
      hooks: { line: 4, column: 8 },
    });
    t.match(file, { file: 'p.yaml', base: 'full', policy: { name: 'ours' }, problems: [] });
    t.match(readPolicyFile('hooks: any\n', 'p'), {
      base: 'observe',
      policy: { name: 'observe with changes' },
    });
    t.match(messages('nonsense: 1\nhooks: [a b, "c d"]\nkfuncs: { deny: [a-b] }\n'), [
      /^p\.yaml:1:1: found nonsense/,
      /^p\.yaml:2:9: found a b/,
      /^p\.yaml:2:14: found c d/,
      /^p\.yaml:3:18: found a-b/,
    ]);
    t.match(messages('hooks: [null, [x], {a: 1}]\n'), [
      /found nothing; expected the name of a hook\. Write a name\./,
      /found a list; expected the name of a hook/,
      /found a mapping; expected the name of a hook/,
    ]);
    t.match(messages('hooks:\n'), [/found null; expected one of any, none/]);
    t.match(messages('hooks: { deny: x }\n'), [
      /found x; expected a list of hooks\. Write it as \[x\]\./,
    ]);
    t.match(messages('hooks: { except: [x] }\n'), [
      /found except; expected one of the keys only, allow, deny/,
    ]);
    t.match(messages('{ 1: 2 }\n'), [/found 1; expected one of the keys profile/]);
  },
);

t.test('a file that is no policy at all', async (t) => {
  const large = `# ${'x'.repeat(2 ** 20)}`;
  t.match(messages(large), [/found a file of 1048578 bytes; expected at most 1048576\./]);
  t.same(messages(`profile: full #${'x'.repeat(2 ** 20 - 15)}`), [], 'the largest');
  t.match(messages('hooks: [a\n'), [
    /^p\.yaml:\d+:\d+: found .+; expected YAML\. Mend the syntax\./,
  ]);
  t.match(messages('hooks: &a [x]\nkfuncs: *a\n'), [
    /^p\.yaml:2:9: found the alias \*a; expected no alias of YAML\. Write there what it stands for\./,
  ]);
  t.match(messages(''), [/^p\.yaml:1:1: found an empty file; expected a policy/]);
  t.throws(() => of('hooks: [a b]'), { code: 'ERR_POLICY_FILE' });
});
