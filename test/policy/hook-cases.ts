import { enums } from '../../src/bpf/index.js';
import { profiles } from '../../src/policy/index.js';
import type { Session } from '../../src/session/index.js';
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

const uprobes = (path: string, flags = 0) => ({
  16: text(path),
  24: new Uint8Array(8),
  48: 1,
  52: flags,
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
  {
    name: 'places in a program file',
    rule: 'hooks',
    policy: { hooks: ['/usr/bin/*'] },
    refused: (session) => link(session, AttachType.BPF_TRACE_UPROBE_MULTI, uprobes('/bin/login')),
    value: /^\/bin\/login$/,
    allowed: (session) => link(session, AttachType.BPF_TRACE_UPROBE_MULTI, uprobes('/usr/bin/env')),
  },
  {
    name: 'places in a program file, in a session of entry and return',
    rule: 'hooks',
    policy: { hooks: ['/usr/bin/*', '!/usr/bin/passwd'] },
    refused: (session) =>
      link(session, AttachType.BPF_TRACE_UPROBE_SESSION, uprobes('/usr/bin/passwd')),
    value: /^\/usr\/bin\/passwd$/,
    allowed: (session) =>
      link(session, AttachType.BPF_TRACE_UPROBE_SESSION, uprobes('/usr/bin/env', 1)),
  },
  {
    name: 'places in a program file that only a descriptor stands for',
    rule: 'hooks',
    policy: { hooks: ['/usr/bin/*'] },
    refused: (session) =>
      link(
        session,
        AttachType.BPF_TRACE_UPROBE_MULTI,
        uprobes('/usr/bin/env', UprobeFlag.BPF_F_UPROBE_MULTI_PATH_FD),
      ),
    value: /^2$/,
    allowed: (session) =>
      link(session, AttachType.BPF_TRACE_UPROBE_MULTI, uprobes('/usr/bin/env', 1)),
  },
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
    name: 'a place in a program file, by a perf event',
    rule: 'hooks',
    policy: { hooks: ['/usr/bin/*'] },
    refused: (session) =>
      session.openPerfEvent({ type: perfType('uprobe'), config1: '/bin/login', pid: 0 }),
    value: /^\/bin\/login$/,
    allowed: (session) =>
      session.openPerfEvent({ type: perfType('uprobe'), config1: '/usr/bin/env', pid: 0 }),
  },
  {
    name: 'an attachment without a link',
    rule: 'attach_types',
    policy: { commands: profiles.full.commands },
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
    name: 'an arena of too many pages',
    rule: 'quotas.map_bytes',
    policy: { ...profiles.full, quotas: { ...profiles.observe.quotas, map_bytes: 1 << 20 } },
    refused: (session) => arena(session, 257),
    value: /^1052672 more/,
    allowed: (session) => arena(session, 256),
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

const arena = (session: Session, pages: number) =>
  session.createMap({
    type: MapType.BPF_MAP_TYPE_ARENA,
    maxEntries: pages,
    flags: enums.ObjectFlag.BPF_F_MMAPABLE,
  });
