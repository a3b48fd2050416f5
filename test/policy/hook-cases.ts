import { enums } from '../../src/bpf/index.js';
import { profiles } from '../../src/policy/index.js';
import type { Session } from '../../src/session.js';
import { type Case, end, load, map, names, RAW_TRACEPOINT, raw, TRACING } from './case.js';

const { AttachType, Cmd, MapType, UprobeFlag } = enums;
const vfs = { hooks: ['vfs_*'] };
const hook = (name: string) => names.hooks((one) => one === name)[0] ?? 0;
const text = (value: string) => Buffer.from(`${value}\0`);
const words = (...values: number[]) => new Uint8Array(Uint32Array.from(values).buffer);
const perfType = (device: string) => names.perfType(device) ?? 0;

/** A link of a program that cannot be attached so: what gets past the rules leaves nothing behind. */
async function link(session: Session, attachType: number, arm: Parameters<typeof raw>[3]) {
  return raw(session, Cmd.BPF_LINK_CREATE, 64, { 0: await load(session), 8: attachType, ...arm });
}

const uprobes = (path: string, offset: number, flags = 0, counter = 0) => ({
  16: text(path),
  24: words(offset, 0),
  32: words(counter, 0),
  48: 1,
  52: flags,
});

/** Node's own binary, which has symbols; where one of its functions is, by its own table. */
const FILE = process.execPath;
const place = names.probes(FILE, (name) => name === 'uv_run')[0]?.offset ?? 0;
const probed = { uprobes: [`${FILE}:uv_run`] };
/** A probe by a perf event, with a counter in the upper half of `config`. */
const probe = (session: Session, path: string, offset: number, counter = 0) =>
  session.openPerfEvent({
    type: perfType('uprobe'),
    config: BigInt(counter) << 32n,
    config1: path,
    config2: offset,
    pid: 0,
  });

/** A tracing program for what has an id in the types of the kernel, or of the object `of`. */
const traces = (
  session: Session,
  id: number,
  attachType: number,
  of: { readonly handle: number } | 0 = 0,
) =>
  raw(session, Cmd.BPF_PROG_LOAD, 128, {
    0: TRACING,
    4: end.byteLength / 8,
    8: end,
    16: text('GPL'),
    68: attachType,
    108: id,
    112: of,
  });

/** Cases about what programs are attached to by name, beyond the commonest. */
export const hookCases: readonly Case[] = [
  {
    name: 'a function by its address, in a session of entry and return',
    rule: 'hooks',
    policy: vfs,
    refused: (session) =>
      link(session, AttachType.BPF_TRACE_KPROBE_SESSION, { 20: 1, 32: new Uint8Array(8) }),
    value: /^\d+$/,
    allowed: (session) => link(session, AttachType.BPF_TRACE_KPROBE_SESSION, {}),
  },
  ...(
    [
      ['places in a program file', AttachType.BPF_TRACE_UPROBE_MULTI],
      ['places in it, in a session of entry and return', AttachType.BPF_TRACE_UPROBE_SESSION],
    ] as const
  ).flatMap(([what, attachType]): Case[] => [
    {
      name: `${what}: another file`,
      rule: 'uprobes',
      policy: probed,
      refused: (session) => link(session, attachType, uprobes('/bin/login', place)),
      value: /^\/bin\/login\+\d+$/,
      allowed: (session) => link(session, attachType, uprobes(FILE, place)),
    },
    {
      name: `${what}: inside of an instruction`,
      rule: 'uprobes',
      policy: probed,
      refused: (session) => link(session, attachType, uprobes(FILE, place + 1)),
      value: new RegExp(`\\+${place + 1}$`),
      allowed: (session) => link(session, attachType, uprobes(FILE, place, 1)),
    },
    {
      name: `${what}: with a counter`,
      rule: 'uprobes',
      policy: probed,
      refused: (session) => link(session, attachType, uprobes(FILE, place, 0, 4096)),
      value: / with a counter at 4096$/,
      allowed: (session) => link(session, attachType, uprobes(FILE, place)),
    },
    {
      name: `${what}: without a path`,
      rule: 'uprobes',
      policy: probed,
      refused: (session) =>
        link(session, attachType, uprobes(FILE, place, UprobeFlag.BPF_F_UPROBE_MULTI_PATH_FD)),
      value: /^2$/,
      allowed: (session) => link(session, attachType, uprobes(FILE, place, 1)),
    },
    {
      name: `${what}: at all`,
      rule: 'uprobes',
      refused: (session) => link(session, attachType, uprobes(FILE, place)),
      value: new RegExp(`\\+${place}$`),
      allowed: (session) => load(session),
    },
  ]),
  ...(
    [
      ['entries', AttachType.BPF_TRACE_FENTRY_MULTI],
      ['returns', AttachType.BPF_TRACE_FEXIT_MULTI],
      ['entries and returns', AttachType.BPF_TRACE_FSESSION_MULTI],
    ] as const
  ).map(
    ([what, attachType]): Case => ({
      name: `${what} of several functions, one of them outside of the globs`,
      rule: 'hooks',
      policy: vfs,
      refused: (session) =>
        link(session, attachType, { 16: words(hook('vfs_read'), hook('commit_creds')), 32: 2 }),
      value: new RegExp(`^${hook('commit_creds')}$`),
      allowed: (session) =>
        link(session, attachType, { 16: words(hook('vfs_read'), hook('vfs_write')), 32: 2 }),
    }),
  ),
  {
    name: 'a tracepoint that a tracing program is for',
    rule: 'hooks',
    policy: { hooks: ['sched_*'] },
    refused: (session) =>
      session.loadProgram({
        type: TRACING,
        expectedAttachType: AttachType.BPF_TRACE_RAW_TP,
        attachTo: 'sys_enter',
        instructions: end,
        license: 'GPL',
      }),
    value: /^\d+$/,
    allowed: (session) =>
      session.loadProgram({
        type: TRACING,
        expectedAttachType: AttachType.BPF_TRACE_RAW_TP,
        attachTo: 'sched_switch',
        instructions: end,
        license: 'GPL',
      }),
  },
  {
    name: 'a function of a module, or of another program, under the number of an allowed one',
    rule: 'hooks',
    policy: vfs,
    refused: async (session) =>
      traces(session, hook('vfs_read'), AttachType.BPF_TRACE_FENTRY, await load(session)),
    value: /^\d+$/,
    allowed: (session) => traces(session, hook('vfs_read'), AttachType.BPF_TRACE_FENTRY),
  },
  {
    name: 'a function, by a perf event',
    rule: 'hooks',
    policy: vfs,
    refused: (session) =>
      session.openPerfEvent({ type: perfType('kprobe'), config1: 'commit_creds', pid: 0 }),
    value: /^commit_creds$/,
    allowed: (session) =>
      session.openPerfEvent({ type: perfType('kprobe'), config1: 'vfs_read', pid: 0 }),
  },
  {
    name: 'an address of the kernel, by a perf event',
    rule: 'hooks',
    policy: vfs,
    refused: (session) =>
      session.openPerfEvent({ type: perfType('kprobe'), config2: 0xffffffff81000000n, pid: 0 }),
    value: /^0$/,
    allowed: (session) =>
      session.openPerfEvent({ type: perfType('kprobe'), config1: 'vfs_write', pid: 0 }),
  },
  {
    name: 'a function beyond its start, by a perf event',
    rule: 'hooks',
    policy: vfs,
    refused: (session) =>
      session.openPerfEvent({
        type: perfType('kprobe'),
        config1: 'vfs_read',
        config2: 0x10000,
        pid: 0,
      }),
    value: /^65536$/,
    allowed: (session) =>
      session.openPerfEvent({ type: perfType('kprobe'), config1: 'vfs_read', pid: 0 }),
  },
  {
    name: 'a breakpoint',
    rule: 'hooks',
    policy: vfs,
    refused: (session) => session.openPerfEvent({ type: 5, config1: 4096, pid: 0 }),
    value: /^breakpoint \(5\)$/,
    allowed: (session) => session.openPerfEvent({ type: 1, pid: 0 }),
  },
  {
    name: 'a place in another program file, by a perf event',
    rule: 'uprobes',
    policy: probed,
    refused: (session) => probe(session, '/bin/login', place),
    value: /^\/bin\/login\+\d+$/,
    allowed: (session) => probe(session, FILE, place),
  },
  {
    name: 'the inside of an instruction, by a perf event',
    rule: 'uprobes',
    policy: probed,
    refused: (session) => probe(session, FILE, place + 1),
    value: new RegExp(`\\+${place + 1}$`),
    allowed: (session) => probe(session, FILE, place),
  },
  {
    name: 'a counter, by a perf event',
    rule: 'uprobes',
    policy: probed,
    refused: (session) => probe(session, FILE, place, 4096),
    value: / with a counter at 4096$/,
    allowed: (session) => probe(session, FILE, place),
  },
  {
    name: 'a place in a program file, by a perf event, under the profile',
    rule: 'uprobes',
    refused: (session) => probe(session, FILE, place),
    value: new RegExp(`\\+${place}$`),
    allowed: (session) => load(session),
  },
  {
    name: 'an attachment without a link',
    rule: 'attach_types',
    policy: { commands: profiles.full.commands, foreign_objects: 'use' },
    refused: async (session) =>
      raw(session, Cmd.BPF_PROG_ATTACH, 16, {
        4: await load(session),
        8: AttachType.BPF_CGROUP_INET_INGRESS,
      }),
    value: /^cgroup_inet_ingress \(0\)$/,
    allowed: async (session) =>
      raw(session, Cmd.BPF_PROG_ATTACH, 16, {
        4: await load(session),
        8: AttachType.BPF_TRACE_FENTRY,
      }),
  },
  {
    name: 'packets of an interface, by a link',
    rule: 'interfaces',
    policy: { ...profiles.full, interfaces: ['lo'] },
    refused: (session) => link(session, AttachType.BPF_TCX_INGRESS, { 4: 4000 }),
    value: /^4000$/,
    allowed: (session) => link(session, AttachType.BPF_TCX_INGRESS, { 4: 1 }),
  },
  {
    name: 'packets of an interface, without a link',
    rule: 'interfaces',
    policy: { ...profiles.full, interfaces: ['lo'] },
    refused: async (session) =>
      raw(session, Cmd.BPF_PROG_ATTACH, 16, {
        0: 4000,
        4: await load(session),
        8: AttachType.BPF_NETKIT_PRIMARY,
      }),
    value: /^4000$/,
    allowed: async (session) =>
      raw(session, Cmd.BPF_PROG_ATTACH, 16, {
        0: 1,
        4: await load(session),
        8: AttachType.BPF_NETKIT_PRIMARY,
      }),
  },
  {
    name: 'taking a program off an interface',
    rule: 'interfaces',
    policy: { ...profiles.full, interfaces: ['lo'] },
    refused: async (session) => detach(session, await load(session), 4000),
    value: /^4000$/,
    allowed: async (session) => detach(session, await load(session), 1),
  },
  {
    name: 'a token',
    rule: 'commands',
    refused: (session) => raw(session, Cmd.BPF_TOKEN_CREATE, 8, {}),
    value: /^token_create \(36\)$/,
    allowed: (session) => load(session),
  },
  {
    name: 'perf events at all',
    rule: 'perf_types',
    policy: { perf_types: [] },
    refused: (session) => session.openPerfEvent({ type: 1, pid: 0 }),
    value: /^any$/,
    allowed: (session) => load(session, end, RAW_TRACEPOINT),
  },
  {
    name: 'turning a perf event into another than the one that was checked',
    rule: 'ioctls',
    refused: async (session) => {
      const event = await session.openPerfEvent({ type: 1, pid: 0 });
      const buffers = [new Uint8Array(112)];
      return session.ioctl({
        handle: event.handle,
        request: 0x4008240b,
        buffers,
        relocations: [],
      });
    },
    value: /^request 1074275339$/,
    allowed: async (session) => (await session.openPerfEvent({ type: 1, pid: 0 })).disable(),
  },
  {
    name: 'a program of too many instructions',
    rule: 'quotas.map_bytes',
    policy: { quotas: { ...profiles.observe.quotas, map_bytes: 100_000 } },
    refused: (session) =>
      raw(session, Cmd.BPF_PROG_LOAD, 128, { 0: RAW_TRACEPOINT, 4: 4096, 8: new Uint8Array(8) }),
    value: /^180224 more/,
    allowed: (session) => load(session),
  },
  {
    name: 'types of too many bytes',
    rule: 'quotas.map_bytes',
    policy: { quotas: { ...profiles.observe.quotas, map_bytes: 100_000 } },
    refused: (session) => raw(session, Cmd.BPF_BTF_LOAD, 32, { 0: new Uint8Array(8), 16: 50_000 }),
    value: /^116384 more/,
    allowed: (session) => raw(session, Cmd.BPF_BTF_LOAD, 32, { 0: new Uint8Array(8), 16: 100 }),
  },
  {
    name: 'storage for as many as there may be',
    rule: 'quotas.map_bytes',
    policy: { quotas: { ...profiles.observe.quotas, map_bytes: 1 << 20 } },
    refused: (session) =>
      raw(session, Cmd.BPF_MAP_CREATE, 72, {
        0: MapType.BPF_MAP_TYPE_TASK_STORAGE,
        4: 4,
        8: 1024,
        16: 1,
      }),
    value: /^4456448 more/,
    allowed: (session) =>
      raw(session, Cmd.BPF_MAP_CREATE, 72, {
        0: MapType.BPF_MAP_TYPE_TASK_STORAGE,
        4: 4,
        8: 8,
        16: 1,
      }),
  },
  {
    name: 'an arena of too many pages',
    rule: 'quotas.map_bytes',
    policy: { ...profiles.full, quotas: { ...profiles.observe.quotas, map_bytes: 1 << 20 } },
    refused: (session) => arena(session, 257),
    value: /^1052672 more/,
    allowed: (session) => arena(session, 256),
  },
  {
    name: 'maps that a batch keeps alive which fails half way',
    rule: 'quotas.map_bytes',
    policy: { ...profiles.full, quotas: { ...profiles.observe.quotas, map_bytes: 4 << 20 } },
    refused: keepByHalfBatches,
    value: /of 4194304$/,
    allowed: (session) => map(session, MapType.BPF_MAP_TYPE_ARRAY),
  },
  {
    name: 'one link too many, by a command of its own',
    rule: 'quotas.links',
    policy: { quotas: { ...profiles.observe.quotas, links: 0 } },
    refused: (session) => link(session, AttachType.BPF_TRACE_FENTRY, {}),
    value: /^1 more beside the 0 there are, of 0$/,
    allowed: (session) => map(session, MapType.BPF_MAP_TYPE_ARRAY),
  },
];

/** Has maps of a mebibyte each put into another one by batches whose second value is not there. */
async function keepByHalfBatches(session: Session) {
  const inner = () =>
    session.createMap({
      type: MapType.BPF_MAP_TYPE_ARRAY,
      keySize: 4,
      valueSize: 8,
      maxEntries: 1 << 13,
    });
  const type = MapType.BPF_MAP_TYPE_HASH_OF_MAPS;
  const sizes = { keySize: 4, valueSize: 4, maxEntries: 64 };
  const outer = await session.createMap({ type, ...sizes, innerMap: await inner() });
  for (let made = 0; made < 16; made++) {
    const map = await inner();
    const keys = Buffer.alloc(8);
    keys.writeUInt32LE(made);
    keys.writeUInt32LE(made + 64, 4);
    await raw(session, Cmd.BPF_MAP_UPDATE_BATCH, 56, {
      16: keys,
      24: [map],
      32: 2,
      36: outer,
    });
    await map.close();
  }
}

const detach = (session: Session, program: { readonly handle: number }, interfaceIndex: number) =>
  raw(session, Cmd.BPF_PROG_DETACH, 16, {
    0: interfaceIndex,
    4: program,
    8: AttachType.BPF_TCX_INGRESS,
  });

const arena = (session: Session, pages: number) =>
  session.createMap({
    type: MapType.BPF_MAP_TYPE_ARENA,
    maxEntries: pages,
    flags: enums.ObjectFlag.BPF_F_MMAPABLE,
  });
