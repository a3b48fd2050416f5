/* Cases about attaching programs, by links and by descriptors, and about queries. */
import { type Case, type Layout, NOWHERE } from '../script.js';
import { AttachType, Cmd, MapType, ProgType } from '../uapi.js';
import type { World } from '../world.js';
import { type Add, collect, lengths, withWord } from './collect.js';
import { ask, hash, idOf, map, prog, returns, volatileInfo, words } from './objects.js';

const { LINK_CREATE, LINK_UPDATE, LINK_DETACH, ITER_CREATE, PROG_ATTACH, PROG_DETACH, PROG_QUERY } =
  Cmd;
const NO_DESCRIPTOR = 899;
const LOOPBACK = 1;
const CGROUP = '/sys/fs/cgroup/diff';
const REPLACE = 4;

const egress = (c: Case) =>
  prog(c, ProgType.CGROUP_SKB, returns(1), { 68: AttachType.CGROUP_INET_EGRESS });
const cgroup = (c: Case) => c.open(CGROUP);
const netns = (c: Case) => c.open('/proc/self/ns/net');
const xdp = (c: Case) => prog(c, ProgType.XDP, returns(2));
const dissector = (c: Case) => prog(c, ProgType.FLOW_DISSECTOR);
const lookup = (c: Case) => prog(c, ProgType.SK_LOOKUP, returns(1), { 68: AttachType.SK_LOOKUP });
const verdict = (c: Case) => prog(c, ProgType.SK_SKB, returns(1));
const sockmap = (c: Case) => map(c, { type: MapType.SOCKMAP, value: 4 });
const classifier = (c: Case) => prog(c, ProgType.SCHED_CLS);

/** A way to attach by link: the program, the target, and the rest of the attribute. */
interface Way {
  readonly name: string;
  readonly attachType: number;
  program(c: Case, world: World): number;
  target?(c: Case): number;
  more?(c: Case): Layout;
}

const tracing =
  (attachType: number, name: string, kind: 'func' | 'typedef' = 'func') =>
  (c: Case, world: World) =>
    prog(c, ProgType.TRACING, returns(0), { 68: attachType, 108: world.typeId(kind, name) });

const iterated = (name: string) => tracing(AttachType.TRACE_ITER, `bpf_iter_${name}`);

const ways: readonly Way[] = [
  { name: 'a cgroup', attachType: AttachType.CGROUP_INET_EGRESS, program: egress, target: cgroup },
  { name: 'a network namespace', attachType: AttachType.SK_LOOKUP, program: lookup, target: netns },
  {
    name: 'a network namespace’s packets',
    attachType: AttachType.FLOW_DISSECTOR,
    program: dissector,
    target: netns,
  },
  { name: 'an interface', attachType: AttachType.XDP, program: xdp, target: () => LOOPBACK },
  {
    name: 'an interface’s traffic control',
    attachType: AttachType.TCX_INGRESS,
    program: classifier,
    target: () => LOOPBACK,
    more: () => ({ 16: 0, 24: 0n }),
  },
  {
    name: 'a netkit',
    attachType: AttachType.NETKIT_PRIMARY,
    program: classifier,
    target: () => LOOPBACK,
  },
  {
    name: 'netfilter',
    attachType: AttachType.NETFILTER,
    program: (c) => prog(c, ProgType.NETFILTER, returns(1), { 68: AttachType.NETFILTER }),
    more: () => ({ 16: 2, 20: 1, 24: 128, 28: 0 }),
  },
  {
    name: 'a map of sockets',
    attachType: AttachType.SK_SKB_STREAM_VERDICT,
    program: verdict,
    target: sockmap,
  },
  {
    name: 'a function',
    attachType: AttachType.TRACE_FENTRY,
    program: tracing(AttachType.TRACE_FENTRY, 'vfs_read'),
    more: () => ({ 16: 0, 24: 77n }),
  },
  {
    name: 'a raw tracepoint',
    attachType: AttachType.TRACE_RAW_TP,
    program: tracing(AttachType.TRACE_RAW_TP, 'btf_trace_sys_enter', 'typedef'),
  },
  {
    name: 'an event that is a file',
    attachType: AttachType.PERF_EVENT,
    program: (c) => prog(c, ProgType.PERF_EVENT),
    target: (c) => c.open('/proc/version'),
    more: () => ({ 16: 5n }),
  },
  {
    name: 'functions by name',
    attachType: AttachType.TRACE_KPROBE_MULTI,
    program: (c) => prog(c, ProgType.KPROBE, returns(0), { 68: AttachType.TRACE_KPROBE_MULTI }),
    more: (c) => ({
      16: 0,
      20: 2,
      24: c.put({ 0: c.put('vfs_read'), 8: c.put('vfs_write') }),
      32: 0n,
      40: c.put({ 0: 1n, 8: 2n }),
    }),
  },
  {
    name: 'functions of which one is not there',
    attachType: AttachType.TRACE_KPROBE_MULTI,
    program: (c) => prog(c, ProgType.KPROBE, returns(0), { 68: AttachType.TRACE_KPROBE_MULTI }),
    more: (c) => ({ 20: 2, 24: c.put({ 0: c.put('vfs_read'), 8: c.put('no_such_function') }) }),
  },
  {
    name: 'functions whose names are not there',
    attachType: AttachType.TRACE_KPROBE_MULTI,
    program: (c) => prog(c, ProgType.KPROBE, returns(0), { 68: AttachType.TRACE_KPROBE_MULTI }),
    more: (c) => ({ 20: 2, 24: c.put({ 0: c.put('vfs_read'), 8: NOWHERE }) }),
  },
  {
    name: 'places of a file',
    attachType: AttachType.TRACE_UPROBE_MULTI,
    program: (c) => prog(c, ProgType.KPROBE, returns(0), { 68: AttachType.TRACE_UPROBE_MULTI }),
    more: (c) => ({
      16: c.put('/bin/busybox'),
      24: c.put({ 0: 4096n, 8: 8192n }),
      32: 0n,
      40: c.put({ 0: 1n, 8: 2n }),
      48: 2,
      52: 0,
      56: 0,
    }),
  },
  {
    name: 'places of a file that is not there',
    attachType: AttachType.TRACE_UPROBE_MULTI,
    program: (c) => prog(c, ProgType.KPROBE, returns(0), { 68: AttachType.TRACE_UPROBE_MULTI }),
    more: (c) => ({ 16: c.put('/no/such/file'), 24: c.put({ 0: 4096n }), 48: 1, 56: 0 }),
  },
  {
    name: 'a structure of functions',
    attachType: AttachType.STRUCT_OPS,
    program: (c) => hash(c),
  },
];

function iterators(): Way[] {
  const attachType = AttachType.TRACE_ITER;
  const info = (c: Case, layout: Layout) => {
    const place = c.put(layout);
    return { 16: place, 24: place.sizeBytes };
  };
  return [
    { name: 'all tasks', attachType, program: iterated('task') },
    {
      name: 'one task',
      attachType,
      program: iterated('task'),
      more: (c) => info(c, { 0: 1, 4: 0, 8: 0, 12: 0 }),
    },
    {
      name: 'a task by a descriptor that is none',
      attachType,
      program: iterated('task'),
      more: (c) => info(c, { 0: 0, 4: 0, 8: cgroup(c), 12: 0 }),
    },
    {
      name: 'a map’s elements',
      attachType,
      program: iterated('bpf_map_elem'),
      more: (c) => info(c, { 0: hash(c), 12: 0 }),
    },
    {
      name: 'the elements of no map',
      attachType,
      program: iterated('bpf_map_elem'),
      more: (c) => info(c, { 0: NO_DESCRIPTOR, 12: 0 }),
    },
    {
      name: 'the elements of a map that is not named',
      attachType,
      program: iterated('bpf_map_elem'),
    },
    {
      name: 'a cgroup and what is below it',
      attachType,
      program: iterated('cgroup'),
      more: (c) => info(c, { 0: 1, 4: 2, 8: 0n }),
    },
    {
      name: 'a cgroup by its descriptor',
      attachType,
      program: iterated('cgroup'),
      more: (c) => info(c, { 0: 1, 4: cgroup(c), 8: 0n }),
    },
    { name: 'all maps', attachType, program: iterated('bpf_map') },
    {
      name: 'info that is not there',
      attachType,
      program: iterated('bpf_map'),
      more: () => ({ 16: NOWHERE, 24: 16 }),
    },
    {
      name: 'info without a length',
      attachType,
      program: iterated('bpf_map'),
      more: (c) => ({ 16: c.put(words(0, 0, 0, 0)), 24: 0 }),
    },
    {
      name: 'info that is longer than the kernel’s',
      attachType,
      program: iterated('bpf_map'),
      more: (c) => info(c, { 0: 0, 60: 1 }),
    },
  ];
}

function attached(c: Case, way: Way, world: World): number {
  return c.bpf(LINK_CREATE, {
    0: way.program(c, world),
    4: way.target?.(c) ?? 0,
    8: way.attachType,
    12: 0,
    ...way.more?.(c),
  }).fd;
}

function told(c: Case, fd: number): void {
  const { info } = ask(c, fd, 64);
  for (const [name, offset, length] of volatileInfo.link) c.differs(name, info, offset, length);
  // Ids of cgroups, namespaces, maps and types differ.
  c.differs('id', info, 16, 24);
}

function creating(add: Add, world: World): void {
  for (const way of [...ways, ...iterators()]) {
    add(LINK_CREATE, way.name, (c) => {
      const fd = attached(c, way, world);
      told(c, fd);
      attached(c, way, world);
    });
    add(LINK_DETACH, way.name, (c) => {
      const fd = attached(c, way, world);
      c.bpf(LINK_DETACH, { 0: fd });
      c.bpf(LINK_DETACH, { 0: fd });
      told(c, fd);
    });
    add(LINK_UPDATE, way.name, (c) => {
      const fd = attached(c, way, world);
      const [next, last] = [way.program(c, world), way.program(c, world)];
      c.bpf(LINK_UPDATE, { 0: fd, 4: next, 8: 0, 12: 0 });
      c.bpf(LINK_UPDATE, { 0: fd, 4: last, 8: REPLACE, 12: last });
      c.bpf(LINK_UPDATE, { 0: fd, 4: last, 8: REPLACE, 12: next });
      c.bpf(LINK_UPDATE, { 0: fd, 4: hash(c), 8: 0, 12: 0 });
    });
  }
  const first = ways[0] as Way;
  for (const [name, change] of Object.entries<(c: Case) => Layout>({
    'a program that is not open': () => ({ 0: NO_DESCRIPTOR }),
    'a map for a program': (c) => ({ 0: hash(c) }),
    'a program of another type': (c) => ({ 0: xdp(c) }),
    'a target that is not open': () => ({ 4: NO_DESCRIPTOR }),
    'target −1': () => ({ 4: -1 }),
    'a file for a target': (c) => ({ 4: c.open('/proc/version') }),
    'an unknown attach type': () => ({ 8: 200 }),
    'another attach type': () => ({ 8: AttachType.CGROUP_INET_INGRESS }),
    'unknown flags': () => ({ 12: 0x4000_0000 }),
    'a program before which none is': () => ({ 12: 8, 16: NO_DESCRIPTOR, 24: 0n }),
    'a program by an id that none has': () => ({ 12: 8 | 32, 16: 0x7fff_fff0, 24: 0n }),
    'a revision that is not the cgroup’s': () => ({ 24: 77n }),
    'something behind its last field': () => ({ 64: 1 }),
  })) {
    add(LINK_CREATE, name, (c) => {
      const layout = { 0: egress(c), 4: cgroup(c), 8: first.attachType, 12: 0 };
      c.bpf(LINK_CREATE, { ...layout, ...change(c) });
    });
  }
  for (const sizeBytes of lengths.filter((length) => length < 65)) {
    add(LINK_CREATE, `an attribute of ${sizeBytes} bytes`, (c) =>
      c.bpf(LINK_CREATE, { 0: egress(c), 4: cgroup(c), 8: first.attachType, 60: 0 }, { sizeBytes }),
    );
  }
  for (const command of [LINK_UPDATE, LINK_DETACH]) {
    for (const [name, fd] of [
      ['a descriptor that is not open', () => NO_DESCRIPTOR],
      ['a program', (c: Case) => prog(c)],
      ['a file', (c: Case) => c.open('/proc/version')],
    ] as const) {
      add(command, name, (c) => {
        c.bpf(command, command === LINK_UPDATE ? { 0: fd(c), 4: egress(c), 8: 0 } : { 0: fd(c) });
      });
    }
    add(command, 'something behind its last field', (c) =>
      c.bpf(command, { 0: attached(c, first, world), 16: 1 }),
    );
  }
  add(LINK_UPDATE, 'unknown flags, and an old program without its flag', (c) => {
    const fd = attached(c, first, world);
    c.bpf(LINK_UPDATE, { 0: fd, 4: egress(c), 8: 0x80 });
    c.bpf(LINK_UPDATE, { 0: fd, 4: egress(c), 8: 0, 12: egress(c) });
    c.bpf(LINK_UPDATE, { 0: fd, 4: egress(c), 8: REPLACE, 12: NO_DESCRIPTOR });
    c.bpf(LINK_UPDATE, { 0: fd, 4: NO_DESCRIPTOR, 8: 0 });
    c.bpf(LINK_UPDATE, { 0: fd, 4: xdp(c), 8: 0 });
  });
}

function iterating(add: Add, world: World): void {
  add(ITER_CREATE, 'of a link, and read', (c) => {
    const way = iterators().find(({ name }) => name === 'all tasks') as Way;
    const link = attached(c, way, world);
    const { fd } = c.bpf(ITER_CREATE, { 0: link, 4: 0 });
    c.read(fd, 64);
    c.read(fd, 64);
    c.bpf(ITER_CREATE, { 0: link, 4: 1 });
    c.bpf(ITER_CREATE, { 0: link });
    c.bpf(ITER_CREATE, { 0: link, 8: 1 });
  });
  for (const [name, fd] of [
    ['of a descriptor that is not open', () => NO_DESCRIPTOR],
    ['of a program', (c: Case) => prog(c)],
    ['of another link', (c: Case) => attached(c, ways[0] as Way, world)],
  ] as const) {
    add(ITER_CREATE, name, (c) => c.bpf(ITER_CREATE, { 0: fd(c), 4: 0 }));
  }
  for (const sizeBytes of [0, 3, 4, 8, 12]) {
    add(ITER_CREATE, `an attribute of ${sizeBytes} bytes`, (c) =>
      c.bpf(ITER_CREATE, { 0: prog(c), 4: 0, 8: 0 }, { sizeBytes }),
    );
  }
  for (const [name, bpffs] of [
    ['of a folder', (c: Case) => c.open('/sys/fs/bpf')],
    ['of a folder of another file system', (c: Case) => c.open('/proc/sys')],
    ['of a descriptor that is not open', () => NO_DESCRIPTOR],
    ['of a program', (c: Case) => prog(c)],
  ] as const) {
    add(Cmd.TOKEN_CREATE, name, (c) => {
      c.bpf(Cmd.TOKEN_CREATE, { 0: 0, 4: bpffs(c) });
      c.bpf(Cmd.TOKEN_CREATE, { 0: 1, 4: bpffs(c) });
      c.bpf(Cmd.TOKEN_CREATE, { 0: 0, 4: bpffs(c), 8: 1 });
      c.bpf(Cmd.TOKEN_CREATE, { 0: 0, 4: bpffs(c) }, { sizeBytes: 4 });
    });
  }
}

/** A place to which programs are attached without links. */
interface Hook {
  readonly name: string;
  readonly attachType: number;
  program(c: Case): number;
  target(c: Case): number;
}

const hooks: readonly Hook[] = [
  { name: 'a cgroup', attachType: AttachType.CGROUP_INET_EGRESS, program: egress, target: cgroup },
  {
    name: 'a cgroup’s devices',
    attachType: AttachType.CGROUP_DEVICE,
    program: (c) => prog(c, ProgType.CGROUP_DEVICE, returns(1)),
    target: cgroup,
  },
  {
    name: 'this network namespace',
    attachType: AttachType.FLOW_DISSECTOR,
    program: dissector,
    target: () => 0,
  },
  { name: 'a network namespace', attachType: AttachType.SK_LOOKUP, program: lookup, target: netns },
  {
    name: 'a map of sockets',
    attachType: AttachType.SK_SKB_STREAM_VERDICT,
    program: verdict,
    target: sockmap,
  },
  {
    name: 'an interface',
    attachType: AttachType.TCX_INGRESS,
    program: classifier,
    target: () => LOOPBACK,
  },
  {
    name: 'an infrared receiver',
    attachType: AttachType.LIRC_MODE2,
    program: (c) => prog(c, ProgType.LIRC_MODE2),
    target: cgroup,
  },
  {
    name: 'a netkit',
    attachType: AttachType.NETKIT_PRIMARY,
    program: classifier,
    target: () => LOOPBACK,
  },
  {
    name: 'what takes links only',
    attachType: AttachType.TRACE_FENTRY,
    program: (c) => prog(c),
    target: () => 0,
  },
];

function query(c: Case, target: number, attachType: number, given: Layout = {}): void {
  const ids = c.room(16);
  c.differs('program id', ids, 0, 16);
  const attribute = { 0: target, 4: attachType, 8: 0, 12: 0, 16: ids, 24: 4, 28: 0, ...given };
  const made = c.bpf(PROG_QUERY, { 32: 0n, 40: 0n, 48: 0n, 56: 0n, ...attribute });
  c.differs('revision', made.attribute, 56, 8);
}

function hooking(add: Add): void {
  for (const { name, attachType, program, target } of hooks) {
    add(PROG_ATTACH, name, (c) => {
      const at = target(c);
      const fd = program(c);
      const layout = { 0: at, 4: fd, 8: attachType, 12: 0 };
      c.bpf(PROG_ATTACH, layout);
      c.bpf(PROG_ATTACH, layout);
      c.bpf(PROG_ATTACH, { ...layout, 4: program(c), 12: 2 });
      c.bpf(PROG_ATTACH, { ...layout, 4: program(c), 12: REPLACE, 16: fd });
      query(c, at, attachType);
      for (let left = 0; left < 4; left++) c.bpf(PROG_DETACH, { 0: at, 4: 0, 8: attachType });
      c.bpf(PROG_DETACH, { 0: at, 4: fd, 8: attachType });
    });
    add(PROG_DETACH, `${name}: what is not attached`, (c) => {
      const at = target(c);
      c.bpf(PROG_DETACH, { 0: at, 4: program(c), 8: attachType });
      c.bpf(PROG_DETACH, { 0: at, 4: 0, 8: attachType });
      c.bpf(PROG_DETACH, { 0: NO_DESCRIPTOR, 4: program(c), 8: attachType });
      c.bpf(PROG_DETACH, { 0: at, 4: NO_DESCRIPTOR, 8: attachType });
    });
    add(PROG_QUERY, `${name}: nothing, and one`, (c) => {
      const at = target(c);
      query(c, at, attachType);
      const fd = program(c);
      c.bpf(PROG_ATTACH, { 0: at, 4: fd, 8: attachType, 12: 0 });
      query(c, at, attachType);
      query(c, at, attachType, { 24: 0 });
      query(c, at, attachType, { 16: 0n });
      query(c, at, attachType, { 16: NOWHERE });
      query(c, at, attachType, { 8: 1 });
      query(c, at, attachType, { 8: 0x80 });
      const id = idOf(c, fd, 'prog');
      const list = c.room(16);
      c.differs('program id', list, 0, 16);
      const made = c.bpf(PROG_QUERY, { 0: at, 4: attachType, 16: list, 24: 4, 28: 0 });
      c.differs('revision', made.attribute, 56, 8);
      c.same(list, 0, id, 0);
      c.bpf(PROG_DETACH, { 0: at, 4: fd, 8: attachType });
    });
  }
  const hook = hooks[0] as Hook;
  for (const [name, change] of Object.entries<(c: Case) => Layout>({
    'a program that is not open': () => ({ 4: NO_DESCRIPTOR }),
    'a map for a program': (c) => ({ 4: hash(c) }),
    'a target that is not open': () => ({ 0: NO_DESCRIPTOR }),
    'target −1': () => ({ 0: -1 }),
    'a file for a target': (c) => ({ 0: c.open('/proc/version') }),
    'a program of another type': (c) => ({ 4: xdp(c) }),
    'an unknown attach type': () => ({ 8: 200 }),
    'unknown flags': () => ({ 12: 0x4000 }),
    'two flags that exclude each other': () => ({ 12: 3 }),
    'a program to replace without its flag': (c) => ({ 16: egress(c) }),
    'a program to replace that is not attached': (c) => ({ 12: 2 | REPLACE, 16: egress(c) }),
    'a program to replace that is not open': () => ({ 12: 2 | REPLACE, 16: NO_DESCRIPTOR }),
    'something behind its last field': () => ({ 32: 1 }),
  })) {
    for (const command of [PROG_ATTACH, PROG_DETACH]) {
      add(command, name, (c) => {
        const layout = { 0: cgroup(c), 4: egress(c), 8: hook.attachType, 12: 0 };
        c.bpf(command, { ...layout, ...change(c) });
        c.bpf(PROG_DETACH, { 0: layout[0], 4: layout[4], 8: hook.attachType });
      });
    }
  }
  for (const [name, change] of Object.entries<(c: Case) => Layout>({
    'a target that is not open': () => ({ 0: NO_DESCRIPTOR }),
    'a file for a target': (c) => ({ 0: c.open('/proc/version') }),
    'an interface that is not there': () => ({ 0: 77, 4: AttachType.TCX_INGRESS }),
    'an unknown attach type': () => ({ 4: 200 }),
    'effective programs': () => ({ 8: 1 }),
    'unknown flags': () => ({ 8: 2 }),
    'something behind its last field': () => ({ 64: 1 }),
  })) {
    add(PROG_QUERY, name, (c) => query(c, cgroup(c), hook.attachType, change(c)));
  }
  for (const sizeBytes of [0, 8, 16, 20, 28, 32, 40, 56, 64]) {
    add(PROG_QUERY, `an attribute of ${sizeBytes} bytes`, (c) => {
      const layout = { 0: cgroup(c), 4: hook.attachType, 60: 0 };
      c.differs('revision', c.bpf(PROG_QUERY, layout, { sizeBytes }).attribute, 56, 8);
    });
    add(PROG_ATTACH, `an attribute of ${sizeBytes} bytes`, (c) => {
      const [at, fd] = [cgroup(c), egress(c)];
      c.bpf(PROG_ATTACH, { 0: at, 4: fd, 8: hook.attachType, 60: 0 }, { sizeBytes });
      for (const attachType of [hook.attachType, 0])
        c.bpf(PROG_DETACH, { 0: at, 4: fd, 8: attachType });
    });
  }
  add(PROG_QUERY, 'several, of which each has its flags', (c) => {
    const at = cgroup(c);
    const fds = [egress(c), egress(c)];
    for (const fd of fds) c.bpf(PROG_ATTACH, { 0: at, 4: fd, 8: hook.attachType, 12: 2 });
    const flags = c.room(16);
    query(c, at, hook.attachType, { 32: flags });
    query(c, at, hook.attachType, { 24: 1 });
    query(c, at, hook.attachType, { 8: 1 });
    query(c, at, hook.attachType, { 32: NOWHERE });
    for (const fd of fds) c.bpf(PROG_DETACH, { 0: at, 4: fd, 8: hook.attachType });
  });
  add(PROG_QUERY, 'an interface’s, with links and flags', (c) => {
    const attachType = AttachType.TCX_INGRESS;
    const fd = classifier(c);
    c.bpf(LINK_CREATE, { 0: fd, 4: LOOPBACK, 8: attachType, 12: 0, 16: 0, 24: 0n });
    const [links, flags] = [c.room(16), c.room(16)];
    c.differs('id', links, 0, 16);
    query(c, LOOPBACK, attachType, { 32: flags, 40: links, 48: c.room(16) });
    query(c, LOOPBACK, attachType, { 24: 0 });
  });
  add(PROG_ATTACH, 'an interface: before and after each other', (c) => {
    const attachType = AttachType.TCX_EGRESS;
    const [one, two, three] = [classifier(c), classifier(c), classifier(c)];
    c.bpf(PROG_ATTACH, { 0: LOOPBACK, 4: one, 8: attachType });
    c.bpf(PROG_ATTACH, { 0: LOOPBACK, 4: two, 8: attachType, 12: 8, 20: one });
    const id = idOf(c, one, 'prog');
    withWord(c, PROG_ATTACH, { 0: LOOPBACK, 4: three, 8: attachType, 12: 16 | 32, 24: 0n }, id, 20);
    query(c, LOOPBACK, attachType);
    c.bpf(PROG_ATTACH, { 0: LOOPBACK, 4: two, 8: attachType, 12: 8, 20: NO_DESCRIPTOR });
    c.bpf(PROG_ATTACH, { 0: LOOPBACK, 4: classifier(c), 8: attachType, 24: 77n });
    for (const fd of [one, two, three]) c.bpf(PROG_DETACH, { 0: LOOPBACK, 4: fd, 8: attachType });
  });
}

/** Links and other attachments, and iterators. */
export function linkCases(world: World): Case[] {
  return collect((add) => {
    creating(add, world);
    iterating(add, world);
    hooking(add);
  });
}
