import { existsSync, readFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { enums, insn, rows } from '../../src/bpf/index.js';
import { BtfTypes, functionOffsets } from '../../src/btf/index.js';
import type { Call } from '../../src/call.js';
import { type Check, compile, nameOf, type Policy, profiles } from '../../src/policy/index.js';
import { IOCTLS, NETLINK, PERF_EVENT_OPEN } from '../../src/policy/rules.js';
import { Session } from '../../src/session.js';
import { localAgent } from '../agent/local-agent.js';
import { int, writeBtf } from '../btf/writer.js';
import {
  type Case,
  end,
  foreignMap,
  load,
  map,
  names,
  observe,
  others,
  RAW_TRACEPOINT,
  raw,
  TRACING,
} from './case.js';
import { foreignCases } from './foreign-cases.js';
import { hookCases } from './hook-cases.js';

const { ProgType, MapType, AttachType, Helper, Cmd, CallFlag } = enums;
/** A call of a kernel function, as a compiler writes it. */
const kfunc = (id: number, fdIndex = 0): Uint8Array => {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt8(0x85, 0);
  bytes.writeUInt8(0x20, 1);
  bytes.writeInt16LE(fdIndex, 2);
  bytes.writeInt32LE(id, 4);
  return bytes;
};

const tracepoint = (name: string) => names.tracepoints((one) => one === name)[0] ?? 0;

const helper = (number: number) =>
  insn.program(
    insn.mov('r1', 0),
    insn.mov('r2', 0),
    insn.mov('r3', 0),
    insn.call(number),
    insn.mov('r0', 0),
    insn.exit(),
  );
/** A kprobe_multi link to named functions, or to an address. */
function kprobes(symbols: readonly string[], address = 0n): Call {
  const attribute = Buffer.alloc(48);
  attribute.writeUInt32LE(AttachType.BPF_TRACE_KPROBE_MULTI, 8);
  attribute.writeUInt32LE(address === 0n ? symbols.length : 1, 20);
  const buffers = symbols.map((name) => Buffer.from(`${name}\0`));
  const addresses = Buffer.alloc(8);
  addresses.writeBigUInt64LE(address);
  return {
    command: Cmd.BPF_LINK_CREATE,
    args: 1,
    result: 0,
    buffers: [attribute, Buffer.alloc(8 * symbols.length), addresses, ...buffers],
    relocations: [
      ...(symbols.length === 0 ? [] : [0, 24, 0, 1]),
      ...(address === 0n ? [] : [0, 32, 0, 2]),
      ...symbols.flatMap((_, i) => [1, 8 * i, 0, 3 + i]),
    ],
  };
}

const ownCases: readonly Case[] = [
  {
    name: 'a command',
    rule: 'commands',
    refused: async (session) => {
      const link = await (await load(session)).attachRawTracepoint('sys_enter');
      return link.detach();
    },
    value: /^link_detach \(34\)$/,
    allowed: (session) => session.tryBpf(rows.PROG_GET_NEXT_ID, { start_id: 0 }),
  },
  {
    name: 'an XDP program',
    rule: 'program_types',
    refused: (session) => load(session, end, ProgType.BPF_PROG_TYPE_XDP),
    value: /^xdp \(6\)$/,
    allowed: (session) => load(session),
  },
  {
    name: 'an LSM program',
    rule: 'program_types',
    refused: (session) => load(session, end, ProgType.BPF_PROG_TYPE_LSM),
    value: /^lsm \(29\)$/,
    allowed: (session) => load(session, end, ProgType.BPF_PROG_TYPE_TRACEPOINT),
  },
  {
    name: 'a program that changes what a function returns',
    rule: 'attach_types',
    refused: (session) =>
      session.tryBpf(rows.PROG_LOAD, {
        prog_type: TRACING,
        expected_attach_type: AttachType.BPF_MODIFY_RETURN,
        insns: end,
        license: 'GPL',
      }),
    value: /^modify_return \(26\)$/,
    allowed: (session) =>
      session.tryBpf(rows.PROG_LOAD, {
        prog_type: TRACING,
        expected_attach_type: AttachType.BPF_TRACE_FENTRY,
        insns: end,
        license: 'GPL',
      }),
  },
  {
    name: 'an attachment to an interface',
    rule: 'attach_types',
    refused: async (session) =>
      session.tryBpf(rows.LINK_CREATE_XDP, {
        prog_fd: await load(session),
        target_ifindex: 1,
        attach_type: AttachType.BPF_XDP,
      }),
    value: /^xdp \(37\)$/,
    allowed: async (session) =>
      session.tryBpf(rows.LINK_CREATE_TRACING, {
        prog_fd: await load(session),
        attach_type: AttachType.BPF_TRACE_RAW_TP,
      }),
  },
  {
    name: 'a map that steers packets',
    rule: 'map_types',
    refused: (session) => map(session, MapType.BPF_MAP_TYPE_DEVMAP),
    value: /^devmap \(14\)$/,
    allowed: (session) => map(session, MapType.BPF_MAP_TYPE_HASH),
  },
  ...(
    [
      ['bpf_probe_write_user', Helper.BPF_FUNC_probe_write_user],
      ['bpf_override_return', Helper.BPF_FUNC_override_return],
      ['bpf_send_signal', Helper.BPF_FUNC_send_signal],
      ['bpf_send_signal_thread', Helper.BPF_FUNC_send_signal_thread],
    ] as const
  ).map(
    ([name, number]): Case => ({
      name: `the helper ${name}`,
      rule: 'helpers',
      refused: (session) => load(session, helper(number)),
      value: new RegExp(`^${name} \\(${number}\\)$`),
      allowed: (session) => load(session, helper(Helper.BPF_FUNC_get_current_pid_tgid)),
    }),
  ),
  {
    name: 'a helper, among the last of many instructions',
    rule: 'helpers',
    refused: (session) =>
      load(
        session,
        Buffer.concat([
          ...Array<Uint8Array>(3000).fill(insn.mov('r0', 0) as Uint8Array),
          helper(Helper.BPF_FUNC_send_signal),
        ]),
      ),
    value: /^bpf_send_signal \(109\)$/,
    allowed: (session) =>
      load(
        session,
        Buffer.concat([...Array<Uint8Array>(3000).fill(insn.mov('r0', 0) as Uint8Array), end]),
      ),
  },
  {
    name: 'a number that no helper has',
    rule: 'helpers',
    refused: (session) => load(session, helper(5000)),
    value: /^5000$/,
    allowed: (session) => load(session, helper(Helper.BPF_FUNC_ktime_get_ns)),
  },
  {
    name: 'instructions behind a pointer that is no relocation',
    rule: 'helpers',
    refused: (session) => {
      const attribute = Buffer.alloc(64);
      attribute.writeUInt32LE(RAW_TRACEPOINT, 0);
      attribute.writeUInt32LE(2, 4);
      attribute.writeBigUInt64LE(0x12345678n, 8);
      const buffers = [attribute];
      return session.call({
        command: Cmd.BPF_PROG_LOAD,
        args: 1,
        result: 0,
        buffers,
        relocations: [],
      });
    },
    value: /^a pointer that is no relocation$/,
    allowed: (session) => load(session),
  },
  {
    name: 'a kernel function',
    rule: 'kfuncs',
    policy: { kfuncs: ['bpf_rcu_read_lock', 'bpf_rcu_read_unlock'] },
    refused: (session) => load(session, insn.program(kfunc(1), insn.mov('r0', 0), insn.exit())),
    value: /^1$/,
    allowed: (session) => {
      const id = (name: string) => names.functions((one) => one === name)[0] ?? 0;
      return load(
        session,
        insn.program(
          kfunc(id('bpf_rcu_read_lock')),
          kfunc(id('bpf_rcu_read_unlock')),
          insn.mov('r0', 0),
          insn.exit(),
        ),
        ProgType.BPF_PROG_TYPE_TRACEPOINT,
      );
    },
  },
  {
    name: "a module's function",
    rule: 'kfuncs',
    policy: { kfuncs: ['bpf_rcu_read_lock'] },
    refused: (session) =>
      session.call({
        command: Cmd.BPF_PROG_LOAD,
        args: 1,
        result: 0,
        buffers: [
          (() => {
            const attribute = Buffer.alloc(144);
            attribute.writeUInt32LE(RAW_TRACEPOINT, 0);
            attribute.writeUInt32LE(1, 4);
            return attribute;
          })(),
          kfunc(names.functions((name) => name === 'bpf_rcu_read_lock')[0] ?? 0, 1),
        ],
        relocations: [0, 8, 0, 1],
      }),
    value: /^1$/,
    allowed: (session) => load(session),
  },
  {
    name: 'a raw tracepoint by its name',
    rule: 'hooks',
    policy: { hooks: ['sched_*', '!sched_switch'] },
    refused: async (session) => (await load(session)).attachRawTracepoint('sched_switch'),
    value: /^sched_switch$/,
    allowed: async (session) => (await load(session)).attachRawTracepoint('sched_process_exec'),
  },
  {
    name: 'a raw tracepoint outside of the globs',
    rule: 'hooks',
    policy: { hooks: ['sched_*'] },
    refused: async (session) => (await load(session)).attachRawTracepoint('sys_enter'),
    value: /^sys_enter$/,
    allowed: async (session) => (await load(session)).attachRawTracepoint('sched_wakeup'),
  },
  {
    name: 'one of several functions',
    rule: 'hooks',
    policy: { hooks: ['vfs_*'] },
    refused: (session) => session.call(kprobes(['vfs_read', 'commit_creds'])),
    value: /^commit_creds$/,
    allowed: (session) => session.call(kprobes(['vfs_read', 'vfs_write'])),
  },
  {
    name: 'a function by its address',
    rule: 'hooks',
    policy: { hooks: ['vfs_*'] },
    refused: (session) => session.call(kprobes([], 0xffffffff81000000n)),
    value: /^\d+$/,
    allowed: (session) => session.call(kprobes(['vfs_read'])),
  },
  {
    name: 'a function that a tracing program is for',
    rule: 'hooks',
    policy: { hooks: ['vfs_*'] },
    refused: (session) =>
      session.loadProgram({
        type: TRACING,
        expectedAttachType: AttachType.BPF_TRACE_FENTRY,
        attachTo: 'commit_creds',
        instructions: end,
        license: 'GPL',
      }),
    value: /^\d+$/,
    allowed: (session) =>
      session.loadProgram({
        type: TRACING,
        expectedAttachType: AttachType.BPF_TRACE_FENTRY,
        attachTo: 'vfs_read',
        instructions: end,
        license: 'GPL',
      }),
  },
  {
    name: 'an interface',
    rule: 'interfaces',
    policy: { ...profiles.full, interfaces: ['lo'], hooks: ['*'] },
    refused: async (session) =>
      session.tryBpf(rows.LINK_CREATE_XDP, {
        prog_fd: await load(session, end, ProgType.BPF_PROG_TYPE_XDP),
        target_ifindex: 4000,
        attach_type: AttachType.BPF_XDP,
      }),
    value: /^4000$/,
    // A program that is no XDP program, so that nothing is attached to this machine.
    allowed: async (session) =>
      session.tryBpf(rows.LINK_CREATE_XDP, {
        prog_fd: await load(session),
        target_ifindex: 1,
        attach_type: AttachType.BPF_XDP,
      }),
  },
  {
    name: 'a pin, anywhere',
    rule: 'pin_paths',
    refused: async (session) => (await load(session)).pin('/sys/fs/bpf/mine'),
    value: /^\/sys\/fs\/bpf\/mine$/,
    allowed: (session) => load(session),
  },
  {
    name: 'a pin outside of the allowed folder',
    rule: 'pin_paths',
    policy: { pin_paths: ['/sys/fs/bpf/ours/'] },
    refused: async (session) => (await load(session)).pin('/sys/fs/bpf/ours/../theirs'),
    value: /^\/sys\/fs\/bpf\/ours\/\.\.\/theirs$/,
    allowed: async (session) => (await load(session)).pin('/sys/fs/bpf/ours/mine'),
  },
  {
    name: 'finding what is pinned elsewhere',
    rule: 'pin_paths',
    policy: { pin_paths: ['/sys/fs/bpf/ours/'] },
    refused: (session) => session.tryBpf(rows.OBJ_GET, { pathname: '/sys/fs/bpf/theirs' }),
    value: /^\/sys\/fs\/bpf\/theirs$/,
    allowed: (session) => session.tryBpf(rows.OBJ_GET, { pathname: '/sys/fs/bpf/ours/mine' }),
  },
  {
    name: 'a type of perf events',
    rule: 'perf_types',
    refused: (session) => session.openPerfEvent({ type: 40 }),
    value: /^40$/,
    allowed: (session) => session.openPerfEvent({ type: 1, pid: 0 }),
  },
  {
    name: 'a perf event that interrupts',
    rule: 'perf_signals',
    refused: (session) => session.openPerfEvent({ type: 1, pid: 0, flags: 1n << 37n }),
    value: /^32$/,
    allowed: (session) => session.openPerfEvent({ type: 1, pid: 0 }),
  },
  {
    name: 'a tracepoint by its id',
    rule: 'hooks',
    policy: { hooks: ['sched_*'] },
    refused: (session) =>
      session.openPerfEvent({ type: 2, config: tracepoint('sys_enter'), pid: 0 }),
    value: /^\d+$/,
    allowed: (session) =>
      session.openPerfEvent({ type: 2, config: tracepoint('sched_switch'), pid: 0 }),
  },
  {
    name: 'a file',
    rule: 'readable_paths',
    refused: (session) => session.open('/etc/shadow'),
    value: /^\/etc\/shadow$/,
    allowed: (session) => session.open('/proc/version'),
  },
  {
    name: "writing to another's map",
    rule: 'foreign_objects',
    refused: (session) => foreignMap(session, 0),
    value: /^0$/,
    allowed: (session) => foreignMap(session),
  },
  {
    name: "a program that uses another's map",
    rule: 'foreign_objects',
    refused: async (session) => {
      const { handle } = await foreignMap(session);
      return load(
        session,
        insn.program(insn.loadMap('r1', { handle }), insn.mov('r0', 0), insn.exit()),
      );
    },
    value: /^an object from map_get_fd_by_id \(14\), to be changed$/,
    allowed: async (session) => {
      const own = await map(session, MapType.BPF_MAP_TYPE_ARRAY);
      return load(session, insn.program(insn.loadMap('r1', own), insn.mov('r0', 0), insn.exit()));
    },
  },
  {
    name: "a program that uses another's map by a number that it guesses",
    rule: 'descriptors',
    apart: true,
    refused: async (session) => {
      const guess = insn.program(insn.loadMap('r1', { handle: 0 }), insn.mov('r0', 0), insn.exit());
      Buffer.from(guess.buffer, guess.byteOffset).writeInt32LE(3, 4);
      const attribute = Buffer.alloc(128);
      attribute.writeUInt32LE(RAW_TRACEPOINT, 0);
      attribute.writeUInt32LE(guess.byteLength / 8, 4);
      // Whatever it is that the session's first descriptor stands for.
      await raw(session, Cmd.BPF_MAP_CREATE, 64, { 0: 2, 4: 4, 8: 8, 12: 1 });
      return session.call({
        command: Cmd.BPF_PROG_LOAD,
        args: 1,
        result: 0,
        buffers: [attribute, guess],
        relocations: [0, 8, 0, 1],
      });
    },
    value: /^the number 3, which names no handle$/,
    allowed: (session) => load(session),
  },
  {
    name: "attaching another's program",
    rule: 'foreign_objects',
    refused: async (session) => {
      const { handle } = await session.bpf(rows.PROG_GET_FD_BY_ID, { prog_id: others.program });
      return session.bpf(rows.RAW_TRACEPOINT_OPEN, { name: 'sys_enter', prog_fd: { handle } });
    },
    value: /^an object from prog_get_fd_by_id \(13\), to be attached$/,
    allowed: async (session) => {
      const { handle } = await session.bpf(rows.PROG_GET_FD_BY_ID, { prog_id: others.program });
      return session.bpf(rows.OBJ_GET_INFO_BY_FD_PROG, { bpf_fd: { handle } });
    },
  },
  {
    name: 'one program too many',
    rule: 'quotas.programs',
    policy: { quotas: { ...observe.quotas, programs: 2 } },
    refused: async (session) => {
      await load(session);
      await load(session);
      return load(session);
    },
    value: /^1 more beside the 2 there are, of 2$/,
    allowed: async (session) => {
      for (let i = 0; i < 5; i++) await (await load(session)).close();
    },
  },
  {
    name: 'one map too many',
    rule: 'quotas.maps',
    policy: { quotas: { ...observe.quotas, maps: 1 } },
    refused: async (session) => {
      await map(session, MapType.BPF_MAP_TYPE_ARRAY);
      return map(session, MapType.BPF_MAP_TYPE_ARRAY);
    },
    value: /^1 more beside the 1 there are, of 1$/,
    allowed: (session) => map(session, MapType.BPF_MAP_TYPE_ARRAY),
  },
  {
    name: 'a map that a program keeps alive, and another',
    rule: 'quotas.maps',
    policy: { quotas: { ...observe.quotas, maps: 1 } },
    refused: async (session) => {
      const first = await map(session, MapType.BPF_MAP_TYPE_ARRAY);
      await load(session, insn.program(insn.loadMap('r1', first), insn.mov('r0', 0), insn.exit()));
      await first.close();
      return map(session, MapType.BPF_MAP_TYPE_ARRAY);
    },
    value: /^1 more beside the 1 there are, of 1$/,
    allowed: async (session) => {
      const first = await map(session, MapType.BPF_MAP_TYPE_ARRAY);
      const program = await load(
        session,
        insn.program(insn.loadMap('r1', first), insn.mov('r0', 0), insn.exit()),
      );
      await first.close();
      await program.close();
      return map(session, MapType.BPF_MAP_TYPE_ARRAY);
    },
  },
  {
    name: 'one link too many',
    rule: 'quotas.links',
    policy: { quotas: { ...observe.quotas, links: 1 } },
    refused: async (session) => {
      const program = await load(session);
      await program.attachRawTracepoint('sys_enter');
      return program.attachRawTracepoint('sys_exit');
    },
    value: /^1 more beside the 1 there are, of 1$/,
    allowed: async (session) => (await load(session)).attachRawTracepoint('sys_enter'),
  },
  {
    name: 'too much memory for entries',
    rule: 'quotas.map_bytes',
    policy: { quotas: { ...observe.quotas, map_bytes: 1_000_000 } },
    refused: (session) => map(session, MapType.BPF_MAP_TYPE_HASH, 20_000),
    value: /^1600000 more beside the 0 there are, of 1000000$/,
    allowed: (session) => map(session, MapType.BPF_MAP_TYPE_HASH, 10_000),
  },
  {
    name: 'too much memory for the entries of each CPU',
    rule: 'quotas.map_bytes',
    policy: { quotas: { ...observe.quotas, map_bytes: 1_000_000 } },
    refused: (session) =>
      map(
        session,
        MapType.BPF_MAP_TYPE_PERCPU_ARRAY,
        Math.ceil(1_000_001 / (72 + 8 * names.possibleCpus)),
      ),
    value: /more beside/,
    allowed: (session) => map(session, MapType.BPF_MAP_TYPE_PERCPU_ARRAY, 10),
  },
  {
    name: 'too large a ring buffer',
    rule: 'quotas.map_bytes',
    policy: { quotas: { ...observe.quotas, map_bytes: 1 << 20 } },
    refused: (session) =>
      session.createMap({
        type: MapType.BPF_MAP_TYPE_RINGBUF,
        keySize: 0,
        valueSize: 0,
        maxEntries: 2 << 20,
      }),
    value: /^2097152 more/,
    allowed: (session) =>
      session.createMap({
        type: MapType.BPF_MAP_TYPE_RINGBUF,
        keySize: 0,
        valueSize: 0,
        maxEntries: 1 << 20,
      }),
  },
];

const cases: readonly Case[] = [...ownCases, ...hookCases, ...foreignCases];

/** What a refusal calls the command of a check. */
function operation({ command }: Check): string {
  if (command === PERF_EVENT_OPEN) return 'perf_event_open';
  if (command >= IOCTLS) return 'PERF_EVENT_IOC_SET_BPF';
  return `${nameOf('commands', command)} (${command})`;
}

/** The code of the error that something rejects with, or nothing. */
function codeOf(outcome: Promise<unknown>): Promise<string> {
  return outcome.then(
    () => '',
    (error: Error & { code?: string }) => error.code ?? error.message,
  );
}

/** Sessions under a policy, from one agent. */
async function sessionsUnder(t: Test, policy: Policy): Promise<() => Promise<Session>> {
  const local = await localAgent({ rules: compile(policy, names), profile: policy.name });
  t.teardown(() => local.close());
  return async () => {
    const session = await Session.connect(local.address);
    t.teardown(() => session.close());
    return session;
  };
}

/** A number that no session has a descriptor of, and which no handle stands for in these calls. */
const NUMBER = 77;
const bytesOf = (...numbers: number[]) => new Uint8Array(Uint32Array.from(numbers).buffer);

/** A call in which a check finds a number in the place of a descriptor. */
async function numbered(session: Session, check: Check, number = NUMBER): Promise<unknown> {
  const words: Record<number, number | Uint8Array | { handle: number }> = {};
  for (const { type, offset, values } of check.when ?? []) {
    if (type === true) return undefined;
    words[offset] = values[0]?.[0] ?? 0;
  }
  const call = () => raw(session, check.command, 168, words);
  const record = (pattern: number) => bytesOf(pattern, 0, 0, 0);
  switch (check.kind) {
    case 'descriptor': {
      const { presence, offset, pointer } = check;
      if (pointer !== undefined || check.command >= IOCTLS) return undefined;
      if (presence.kind === 'flag') words[presence.offset] = presence.mask;
      words[offset] = number;
      return call();
    }
    case 'descriptors':
      Object.assign(words, { [check.pointer]: bytesOf(number), [check.count]: 1 });
      return call();
    case 'references': {
      const { records, at } = check;
      const code = record(records.pattern);
      code[at] = number;
      Object.assign(words, { [records.pointer]: code, [records.count]: 2 });
      return call();
    }
    case 'indices': {
      const { records, array } = check;
      const code = record(records.pattern);
      code[check.shift / 8] = 1;
      const refused = { [records.pointer]: code, [records.count]: 2 };
      Object.assign(words, refused, { [array]: bytesOf(0xffffffff, number) });
      return call();
    }
    case 'elements': {
      const type = check.types[0]?.[0] ?? 0;
      const valueSize = check.keys ? 8 : check.at + 4;
      const made = await session
        .createMap({ type, keySize: 4, valueSize, maxEntries: 1 })
        .catch(() => undefined);
      if (made === undefined) return undefined;
      const element = new Uint8Array(8);
      element[check.at] = number;
      Object.assign(words, { [check.map]: made, [check.pointer]: element });
      if (check.count !== undefined) words[check.count] = 1;
      return call();
    }
    default:
      return undefined;
  }
}

t.test('a flag or a byte of a call that is not known', async (t) => {
  const session = await (await sessionsUnder(t, observe))();
  const common = (command: number, second: Uint8Array) => {
    const buffers = [new Uint8Array(16), second];
    return session.call({ command, args: 2, result: 0, buffers, relocations: [] });
  };
  const next = Cmd.BPF_MAP_GET_NEXT_ID;
  const refused = (value: string) => ({
    code: 'ERR_POLICY_REFUSED',
    detail: { rule: 'commands', value },
  });
  await t.rejects(raw(session, next | 0x40000, 16, {}), refused('the unknown flags 262144'));
  const tail = Uint8Array.of(...new Uint8Array(23), 1);
  await t.rejects(
    common(next | CallFlag.BPF_COMMON_ATTRS, tail),
    refused('byte 23 of the second argument, of which 20 are known here'),
  );
  t.type((await common(next | CallFlag.BPF_COMMON_ATTRS, new Uint8Array(24))).result, 'number');
});

const TYPES = '/sys/kernel/btf/vmlinux';
const lacksTypes = !existsSync(TYPES) && `no ${TYPES}: boot a kernel with CONFIG_DEBUG_INFO_BTF`;

t.test(
  "another's program by its number in functions for the kernel",
  { skip: lacksTypes },
  async (t) => {
    const policy: Policy = { ...profiles.full, foreign_objects: 'inspect' };
    const sessions = await sessionsUnder(t, policy);
    const session = await sessions();
    const types = new BtfTypes(readFileSync(TYPES));
    const value = types.find('struct', 'bpf_struct_ops_tcp_congestion_ops') ?? 0;
    const functions = await session.bpf(rows.MAP_CREATE, {
      map_type: MapType.BPF_MAP_TYPE_STRUCT_OPS,
      key_size: 4,
      value_size: types.sizeOf(value),
      max_entries: 1,
      btf_vmlinux_value_type_id: value,
      btf_fd: await session.bpf(rows.BTF_LOAD, { btf: writeBtf([int('int', 4)]) }),
    });
    const write = (number: number) => {
      const element = new Uint8Array(types.sizeOf(value));
      for (const at of functionOffsets(types, value)) element[at] = number;
      const words = { 0: functions, 8: new Uint8Array(4), 16: element };
      return raw(session, Cmd.BPF_MAP_UPDATE_ELEM, 32, words).then(
        () => 'written',
        (error: Error & { detail?: object }) => error.detail,
      );
    };
    const numbers = Array.from({ length: 100 }, (_, number) => number);
    const refused = async () => {
      const outcomes = await Promise.all(numbers.map(write));
      return numbers.filter((number) => (outcomes[number] as { rule?: string }).rule !== undefined);
    };
    t.same(await refused(), []);
    const { id } = await (await load(await sessions())).info();
    await session.bpf(rows.PROG_GET_FD_BY_ID, { prog_id: id });
    const [number, ...more] = await refused();
    t.same(more, []);
    t.match(await write(number ?? 0), {
      rule: 'descriptors',
      value: `the number ${number}, which names no handle`,
    });
  },
);

t.test('a number is no name of an object', async (t) => {
  const policy: Policy = { ...profiles.full, foreign_objects: 'inspect' };
  const session = await (await sessionsUnder(t, policy))();
  const checks = compile(policy, names).checks.filter(({ rule }) => rule === 'descriptors');
  const met = new Set<string>();
  for (const check of checks) {
    const what = `${check.kind} of ${operation(check)}`;
    const made = numbered(session, check).catch((error: Error) => error);
    const error = await made;
    if (error === undefined) continue;
    met.add(check.kind);
    const value = `the number ${NUMBER}, which names no handle`;
    const refusal = { code: 'ERR_POLICY_REFUSED', detail: { rule: 'descriptors', value } };
    // Another rule may come first.
    const late = [
      Cmd.BPF_PROG_ATTACH,
      Cmd.BPF_PROG_DETACH,
      Cmd.BPF_OBJ_GET,
      Cmd.BPF_MAP_GET_FD_BY_ID,
      Cmd.BPF_PROG_GET_FD_BY_ID,
    ] as readonly number[];
    t.match(error, late.includes(check.command) ? { code: refusal.code } : refusal, what);
    // One of an executor's standard descriptors is a socket, which an element may be.
    for (const standard of [0, 1, 2]) {
      const outcome = await numbered(session, check, standard).catch((error: Error) => error);
      const refused = { detail: { rule: 'descriptors' } };
      const of = `${standard} as a ${what}`;
      const always = 'presence' in check && check.presence.kind === 'always';
      if (check.kind !== 'elements') t.notMatch(outcome, refused, `the kernel answers ${of}`);
      else if (always || standard !== 0) t.match(outcome, refused, of);
    }
  }
  t.same([...met].sort(), ['descriptor', 'descriptors', 'elements', 'indices', 'references']);

  for (const code of [0x18, 0x85]) {
    const unknown = raw(session, Cmd.BPF_PROG_LOAD, 48, {
      4: 1,
      8: bytesOf(code | (15 << 12), 0),
    }).catch((error: Error) => error);
    t.match(await unknown, { detail: { rule: 'descriptors', value: '15' } });
  }
  for (const [code, index] of [
    [0x5018, -1],
    [0x6018, -0x80000000],
    [0x2085 | (0xffff << 16), 0],
    // Over the inaccessible page, into the memory of another buffer.
    [0x5018, 0x402],
    [0x6018, 0x7fffffff],
  ] as const) {
    const refused = raw(session, Cmd.BPF_PROG_LOAD, 128, {
      4: 1,
      8: bytesOf(code, index),
      120: bytesOf(0, 0),
    });
    const value = `the index ${index === 0 ? -1 : index} into an array of 2`;
    t.match(await refused.catch((error: Error) => error), {
      detail: { rule: 'descriptors', value },
    });
  }
  // The kernel finds the inaccessible page itself.
  for (const index of [2, 0x401]) {
    const unread = raw(session, Cmd.BPF_PROG_LOAD, 128, {
      4: 1,
      8: bytesOf(0x5018, index),
      120: bytesOf(0, 0),
    });
    t.match(await unread, { errno: 14 });
  }
});

t.test('what an agent does not know of a command it refuses', async (t) => {
  const session = await (await sessionsUnder(t, observe))();
  const longer = raw(session, Cmd.BPF_MAP_CREATE, 4096, { 0: 2, 4092: 1 });
  t.match(await longer.catch((error: Error) => error), {
    detail: { rule: 'commands', value: /^byte 4092 of the attribute/ },
  });
  const zeros = await raw(session, Cmd.BPF_MAP_CREATE, 4096, { 0: 2, 4: 4, 8: 8, 12: 1 });
  t.ok(zeros.result > 0, 'zeros mean nothing to any kernel');
});

t.test('what a call finds has a handle', async (t) => {
  const owner = await (await sessionsUnder(t, profiles.full))();
  const { id } = await (await map(owner, MapType.BPF_MAP_TYPE_ARRAY)).info();
  const session = await (await sessionsUnder(t, observe))();
  const found = raw(session, Cmd.BPF_MAP_GET_FD_BY_ID, 16, { 0: id, 8: 8 });
  t.match(await found.catch((error: Error) => error), {
    code: 'ERR_POLICY_REFUSED',
    detail: { rule: 'foreign_objects', value: 'a result without a handle' },
  });
});

t.test('every rule refuses, naming itself, and allows', async (t) => {
  const owner = await (await sessionsUnder(t, profiles.full))();
  const foreign = await map(owner, MapType.BPF_MAP_TYPE_ARRAY);
  others.map = (await foreign.info()).id;
  const program = await load(owner);
  others.program = (await program.info()).id;
  const attached = await program.attachRawTracepoint('sys_exit');
  others.link = (await attached.info()).id;
  const unbound = await (await sessionsUnder(t, profiles.full))();
  const observed = await sessionsUnder(t, observe);
  const usual = await observed();
  const met = new Set<string>();
  for (const { name, rule, policy, apart, refused, value, allowed } of cases) {
    await t.test(name, async (t) => {
      const open =
        policy === undefined ? observed : await sessionsUnder(t, { ...observe, ...policy });
      const session = policy === undefined && apart === undefined ? usual : await open();
      const error = await refused(session).then(
        () => undefined,
        (error: Error & { detail?: { rule: string; value: string; command: string } }) => error,
      );
      met.add(`${error?.detail?.rule} of ${error?.detail?.command}`);
      t.match(error, { code: 'ERR_POLICY_REFUSED', detail: { rule, value } });
      t.match(error?.message, `rule ${rule} does not allow`);
      const other = rule.startsWith('quotas') ? await open() : session;
      const why = await codeOf(allowed(other));
      // Some kernels lack what is allowed; the refusal is theirs, then, whatever the policy.
      const own = why === '' ? '' : await codeOf(allowed(unbound));
      t.equal(why, own, 'the policy refuses nothing else');
      if (own !== '') t.pass('is allowed', { skip: `this kernel refuses it: ${own}` });
    });
  }
  // Objects that nobody refers to are closed.
  await Promise.all([foreign.close(), attached.close(), program.close()]);

  // Each command of each rule that a policy can come down to has been refused by it.
  const everyRule: Policy = {
    ...profiles.full,
    program_types: [[1, 30]],
    attach_types: [],
    map_types: [[1, 20]],
    helpers: [],
    kfuncs: [],
    perf_types: ['software'],
    perf_signals: false,
    hooks: ['sched_*'],
    uprobes: [],
    interfaces: [],
    netlink: [],
    pin_paths: [],
    cgroup_paths: [],
    foreign_objects: 'inspect',
    quotas: { programs: 1, maps: 1, links: 1, map_bytes: 1, events_per_second: undefined },
  };
  // Those of each place for a descriptor, and of netlink, are the matter of tests of their own.
  const checks = compile(everyRule, names)
    .checks.filter(({ rule, command }) => rule !== 'descriptors' && command < NETLINK)
    .map((one) => `${one.rule} of ${operation(one)}`);
  t.same([...new Set(checks)].filter((one) => !met.has(one)).sort(), []);
});

t.test(
  'where nobody tells the numbers of probes, only types of fixed numbers are left',
  async (t) => {
    const untold = { ...names, perfType: () => undefined };
    const types = (policy: Policy) =>
      compile(policy, untold).checks.filter(({ rule }) => rule === 'perf_types');
    t.match(types({ ...observe, perf_types: ['*'] }), [{ values: [[0, 5]] }]);
    t.same(types(profiles.full), [], 'a policy that allows all probes needs none');
    const told = compile({ ...observe, perf_types: ['*'] }, { ...names, perfType: () => 1 });
    t.same(
      told.checks.filter(({ rule }) => rule === 'perf_types'),
      [],
    );
  },
);
