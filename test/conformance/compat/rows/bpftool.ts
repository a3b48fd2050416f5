import type { Row } from '../row.js';

/** The beginning of most rows about programs: pins the programs and maps of the object file. */
const LOADED =
  'bpftool prog loadall $COMPAT/counts.bpf.o /sys/fs/bpf/progs pinmaps /sys/fs/bpf/maps 2>&1';
const MAP =
  'bpftool map create /sys/fs/bpf/m type hash key 4 value 8 entries 16 name m && bpftool map update pinned /sys/fs/bpf/m key 1 0 0 0 value 7 0 0 0 0 0 0 0';
const MAPS = `${MAP} && bpftool map create /sys/fs/bpf/outer type array_of_maps key 4 value 4 entries 2 name outer inner_map pinned /sys/fs/bpf/m`;
const GROUP = `${LOADED} && mkdir -p /sys/fs/cgroup/compat`;
const UNGROUP = 'rmdir /sys/fs/cgroup/compat; rm -rf /sys/fs/bpf/*';

const row = (command: string, more: Omit<Row, 'tool' | 'command'> = {}): Row => ({
  tool: 'bpftool',
  command: `bpftool ${command}`,
  ...more,
});

/** Rows for several invocations one after the other, where a single one shows nothing. */
const rows = (commands: readonly string[], more: Omit<Row, 'tool' | 'command'> = {}): Row => ({
  tool: 'bpftool',
  command: commands.map((command) => `bpftool ${command}`).join(' && '),
  ...more,
});

const created = (type: string, rest: string): Row =>
  rows(
    [
      `map create /sys/fs/bpf/x type ${type} ${rest} name x`,
      'map show pinned /sys/fs/bpf/x',
      'map dump pinned /sys/fs/bpf/x',
    ],
    { volatile: ['id', 'memlock'] },
  );

const prog: readonly Row[] = [
  row('prog show'),
  row('prog list', { setup: LOADED, volatile: ['id', 'loaded at', 'memlock'] }),
  row('-j prog show', { setup: LOADED, volatile: ['id', 'loaded at', 'memlock'] }),
  row('-jp prog show name pass_all', { setup: LOADED, volatile: ['id', 'loaded at', 'memlock'] }),
  row('prog show pinned /sys/fs/bpf/progs/count_calls', {
    setup: LOADED,
    volatile: ['id', 'loaded at', 'memlock'],
  }),
  row('-f prog show name pass_all', {
    setup: LOADED,
    volatile: ['id', 'loaded at', 'memlock'],
  }),
  row('prog dump xlated name first_byte', { setup: LOADED }),
  row('prog dump xlated pinned /sys/fs/bpf/progs/count_calls', {
    setup: LOADED,
    volatile: ['id', 'address'],
  }),
  row('prog dump xlated name pass_all opcodes', { setup: LOADED }),
  row('prog dump xlated name count_getppid linum', { setup: LOADED, volatile: ['id', 'address'] }),
  row('prog dump xlated name first_byte visual', { setup: LOADED }),
  row('-j prog dump xlated name first_byte', { setup: LOADED }),
  row('prog dump jited name pass_all', { setup: LOADED, volatile: ['address'] }),
  row('prog load $COMPAT/counts.bpf.o /sys/fs/bpf/p type socket', { timeoutS: 30 }),
  rows(
    [
      'prog load $COMPAT/counts.bpf.o /sys/fs/bpf/p type raw_tracepoint',
      'prog show pinned /sys/fs/bpf/p',
    ],
    { volatile: ['id', 'loaded at', 'memlock'] },
  ),
  rows(
    [
      'prog loadall $COMPAT/counts.bpf.o /sys/fs/bpf/progs pinmaps /sys/fs/bpf/maps',
      '-f prog list',
      'map list',
    ],
    { volatile: ['id', 'loaded at', 'memlock'] },
  ),
  rows(['prog pin name pass_all /sys/fs/bpf/again', 'prog show pinned /sys/fs/bpf/again'], {
    setup: LOADED,
    volatile: ['id', 'loaded at', 'memlock'],
  }),
  row('prog run pinned /sys/fs/bpf/progs/pass_all data_in $COMPAT/packet repeat 3', {
    setup: LOADED,
    volatile: ['number'],
  }),
  row('-j prog run pinned /sys/fs/bpf/progs/first_byte data_in $COMPAT/packet', {
    setup: LOADED,
    volatile: ['number'],
  }),
  row('prog show id 4000000000'),
  row('prog show name no_such_program'),
  row('prog load $COMPAT/stimulus.o /sys/fs/bpf/none'),
  row('prog profile name pass_all duration 1 cycles', { setup: LOADED }),
  row('-d prog load $COMPAT/counts.bpf.o /sys/fs/bpf/p type xdp', {
    volatile: ['id', 'address', 'number'],
  }),
];

const map: readonly Row[] = [
  row('map show'),
  row('map list', { setup: MAP, volatile: ['id', 'memlock'] }),
  row('-j map list', { setup: LOADED, volatile: ['id', 'memlock'] }),
  row('map show name m', { setup: MAP, volatile: ['id', 'memlock'] }),
  row('map dump pinned /sys/fs/bpf/m', { setup: MAP }),
  row('-jp map dump name counts', { setup: LOADED }),
  row('map dump name per_cpu', { setup: LOADED }),
  row('map dump name counts.rodata', { setup: LOADED }),
  row('map lookup pinned /sys/fs/bpf/m key 1 0 0 0', { setup: MAP }),
  row('map lookup pinned /sys/fs/bpf/m key 2 0 0 0', { setup: MAP }),
  row('-j map lookup pinned /sys/fs/bpf/m key 0x01 0x00 0x00 0x00', { setup: MAP }),
  row('map getnext pinned /sys/fs/bpf/m', { setup: MAP }),
  rows(
    [
      'map update pinned /sys/fs/bpf/m key 9 0 0 0 value 1 2 3 4 5 6 7 8',
      'map dump pinned /sys/fs/bpf/m',
      'map delete pinned /sys/fs/bpf/m key 9 0 0 0',
      'map dump pinned /sys/fs/bpf/m',
    ],
    { setup: MAP, compares: 'set' },
  ),
  row('map update pinned /sys/fs/bpf/m key 1 0 0 0 value 1 0 0 0 0 0 0 0 noexist', { setup: MAP }),
  row('map delete pinned /sys/fs/bpf/m key 5 0 0 0', { setup: MAP }),
  rows(['map pin name m /sys/fs/bpf/second', 'map show pinned /sys/fs/bpf/second'], {
    setup: MAP,
    volatile: ['id', 'memlock'],
  }),
  rows(['map freeze pinned /sys/fs/bpf/m', 'map show pinned /sys/fs/bpf/m'], {
    setup: MAP,
    volatile: ['id', 'memlock'],
  }),
  created('array', 'key 4 value 16 entries 3'),
  created('percpu_hash', 'key 8 value 4 entries 3'),
  created('percpu_array', 'key 4 value 4 entries 2'),
  created('lru_hash', 'key 4 value 4 entries 5'),
  created('lpm_trie', 'key 8 value 4 entries 5 flags 1'),
  created('prog_array', 'key 4 value 4 entries 2'),
  created('perf_event_array', 'key 4 value 4 entries 2'),
  created('stack_trace', 'key 4 value 80 entries 4'),
  created('ringbuf', 'key 0 value 0 entries 4096'),
  created('bloom_filter', 'key 0 value 4 entries 10'),
  rows([
    'map create /sys/fs/bpf/q type queue key 0 value 4 entries 4 name q',
    'map enqueue pinned /sys/fs/bpf/q value 1 0 0 0',
    'map enqueue pinned /sys/fs/bpf/q value 2 0 0 0',
    'map peek pinned /sys/fs/bpf/q',
    'map dequeue pinned /sys/fs/bpf/q',
    'map dequeue pinned /sys/fs/bpf/q',
  ]),
  rows([
    'map create /sys/fs/bpf/s type stack key 0 value 4 entries 4 name s',
    'map push pinned /sys/fs/bpf/s value 1 0 0 0',
    'map push pinned /sys/fs/bpf/s value 2 0 0 0',
    'map pop pinned /sys/fs/bpf/s',
  ]),
  rows(
    [
      'map update pinned /sys/fs/bpf/outer key 0 0 0 0 value pinned /sys/fs/bpf/m',
      'map dump pinned /sys/fs/bpf/outer',
    ],
    { setup: MAPS, volatile: ['id', 'inner map', 'pid'] },
  ),
  rows(
    [
      'map create /sys/fs/bpf/pa type prog_array key 4 value 4 entries 2 name pa',
      'map update pinned /sys/fs/bpf/pa key 0 0 0 0 value pinned /sys/fs/bpf/progs/pass_all',
      'map show pinned /sys/fs/bpf/pa',
    ],
    { setup: LOADED, volatile: ['id', 'memlock'] },
  ),
  row('map create /tmp/nowhere/x type hash key 4 value 4 entries 4 name x'),
  row('map create /sys/fs/bpf/x type hash key 4 value 4 entries 0 name x'),
  row('map event_pipe pinned /sys/fs/bpf/maps/counts', { setup: LOADED }),
];

const ATTACHED = `${LOADED} && $COMPAT/events-1.1.2 $COMPAT/events.bpf.o ring >/dev/null & sleep 2`;

const link: readonly Row[] = [
  row('link show'),
  row('link list', {
    setup: ATTACHED,
    teardown: 'killall events-1.1.2; rm -rf /sys/fs/bpf/*',
    volatile: ['id'],
  }),
  row('-j link list', {
    setup: ATTACHED,
    teardown: 'killall events-1.1.2; rm -rf /sys/fs/bpf/*',
    volatile: ['id'],
  }),
  {
    tool: 'bpftool',
    // Version 7.8 ends with an error after it has shown a pinned link.
    command: `bpftool link pin id $(bpftool link list | cut -d : -f 1 | head -n 1) /sys/fs/bpf/l && { bpftool link show pinned /sys/fs/bpf/l; ls /sys/fs/bpf/l; }`,
    setup: ATTACHED,
    teardown: 'killall events-1.1.2; rm -rf /sys/fs/bpf/*',
    volatile: ['id'],
    mustWork: true,
  },
  row('link show id 4000000000'),
  row('link detach id 4000000000'),
  row('link pin id 4000000000 /sys/fs/bpf/l'),
];

const btf: readonly Row[] = [
  row('btf list', { volatile: ['id'] }),
  row('-j btf list', { volatile: ['id'] }),
  row('btf show id 1'),
  row('btf dump id 1 format raw | wc -l', { timeoutS: 120 }),
  row('btf dump file /sys/kernel/btf/vmlinux format c | wc -l', { timeoutS: 180 }),
  row('btf dump file $COMPAT/counts.bpf.o'),
  row('btf dump file $COMPAT/counts.bpf.o format c'),
  row('btf dump prog name count_calls format c', { setup: LOADED }),
  row('btf dump map name counts', { setup: LOADED }),
  row('btf dump map name counts kv', { setup: LOADED }),
  row('btf dump id 4000000000'),
];

const feature: readonly Row[] = [
  row('feature probe kernel', { timeoutS: 240 }),
  row('feature list_builtins prog_types'),
  row('feature list_builtins map_types'),
  row('feature list_builtins helpers'),
];

/** The congestion controls that there are. */
const CONTROLS = 'cat /proc/sys/net/ipv4/tcp_available_congestion_control';

const others: readonly Row[] = [
  row('perf show', {
    volatile: ['pid', 'id'],
  }),
  row('-j perf show', {
    setup: ATTACHED,
    teardown: 'killall events-1.1.2; rm -rf /sys/fs/bpf/*',
    volatile: ['pid', 'id'],
  }),
  row('cgroup show /sys/fs/cgroup/compat', { setup: GROUP, teardown: UNGROUP }),
  rows(
    [
      'cgroup attach /sys/fs/cgroup/compat egress pinned /sys/fs/bpf/progs/allow_all',
      'cgroup show /sys/fs/cgroup/compat',
      'cgroup detach /sys/fs/cgroup/compat egress pinned /sys/fs/bpf/progs/allow_all',
    ],
    { setup: GROUP, teardown: UNGROUP, volatile: ['id', 'pid', 'spaces'] },
  ),
  row('cgroup tree', {
    volatile: ['id', 'spaces'],
  }),
  row('net show'),
  row('net show dev lo'),
  row('struct_ops show'),
  row('struct_ops dump'),
  {
    tool: 'bpftool',
    command: `bpftool struct_ops register $COMPAT/control.bpf.o && ${CONTROLS} && bpftool struct_ops show && bpftool struct_ops dump name steady && bpftool struct_ops unregister name steady && ${CONTROLS}`,
    volatile: ['id', 'address'],
    mustWork: true,
  },
  row('struct_ops unregister name no_such_name'),
  row(
    'iter pin $COMPAT/elements.bpf.o /sys/fs/bpf/it map pinned /sys/fs/bpf/m && cat /sys/fs/bpf/it',
    { setup: MAP },
  ),
  // The maps with which libbpf asks for features are gone a moment after that.
  row('iter pin $COMPAT/iterator.bpf.o /sys/fs/bpf/it && sleep 1 && cat /sys/fs/bpf/it', {
    volatile: ['pid'],
  }),
  row('gen skeleton $COMPAT/counts.bpf.o | wc -l'),
  row(
    'gen min_core_btf /sys/kernel/btf/vmlinux /tmp/least.btf $COMPAT/counts.bpf.o && wc -c < /tmp/least.btf',
  ),
  row('version'),
  row('-V'),
  row('help'),
  row('batch file $COMPAT/batch', { volatile: ['id', 'memlock'] }),
  row('no_such_object show'),
];

/** Invocations of bpftool, by its subcommands. */
export const bpftool: readonly Row[] = [...prog, ...map, ...link, ...btf, ...feature, ...others];
