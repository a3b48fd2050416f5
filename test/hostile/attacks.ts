/* Attacks that once got round the profile `observe`, and the rules that refuse each of them now. */
import { enums, insn, rows } from '../../src/bpf/index.js';
import { type Handle, Relocation } from '../../src/call.js';
import type { PerfEventOptions } from '../../src/kernel/index.js';
import { Session } from '../../src/session.js';
import { raw } from '../raw-call.js';
import { patient } from '../until.js';
import type { Bystanders } from './bystanders.js';

const { Cmd, MapType, ProgType, AttachType, ObjectFlag } = enums;
const RAW_TRACEPOINT = ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT;
const { POINTER, FD32 } = Relocation;
const end = insn.program(insn.mov('r0', 0), insn.exit());
const license = Buffer.from('GPL\0');

/** The policy of the guest: `observe`, with the rights that are needed to try each rule. */
export const attackedPolicy = `
profile: observe
hooks: { only: [sys_enter, sched_switch, do_nanosleep, bpf_iter_bpf_map_elem, "*victim"] }
quotas: { map_bytes: 16 MiB }
`;

/**
 * An attack, and the rule by which the agent refuses it. A malformed call is refused without a
 * rule.
 */
export interface Attack {
  readonly name: string;
  readonly rule?: string;
  /** The text of the refusal. */
  readonly message: RegExp;
  attempt(session: Session, others: Bystanders): Promise<unknown>;
}

const foreignMap = (session: Session, { ids }: Bystanders) =>
  session.bpf(rows.MAP_GET_FD_BY_ID, { map_id: ids.map, open_flags: ObjectFlag.BPF_F_RDONLY });
const foreignProgram = (session: Session, { ids }: Bystanders) =>
  session.bpf(rows.PROG_GET_FD_BY_ID, { prog_id: ids.program });
const ownMap = (session: Session, type: number, valueSize = 8, maxEntries = 1) =>
  session.createMap({ type, keySize: 4, valueSize, maxEntries });
const load = (session: Session, instructions: Uint8Array = end) =>
  session.loadProgram({ type: RAW_TRACEPOINT, instructions, license: 'GPL' });

/**
 * Loads a program whose instructions name maps by indices into an array of descriptors. The array
 * begins `begin` bytes inside its buffer. The first descriptor of the buffer is of a foreign
 * object.
 */
async function loadByIndex(
  session: Session,
  index: number,
  found: { readonly handle: Handle },
  begin = 0,
) {
  const code = Buffer.concat([Buffer.alloc(16), end]);
  code.writeUInt32LE(0x6118);
  code.writeInt32LE(index, 4);
  const attribute = Buffer.alloc(128);
  attribute.writeUInt32LE(RAW_TRACEPOINT, 0);
  attribute.writeUInt32LE(code.length / 8, 4);
  attribute.writeBigUInt64LE(BigInt(begin), 120);
  return session.call({
    command: Cmd.BPF_PROG_LOAD,
    args: 1,
    result: session.newHandle(),
    buffers: [attribute, code, license, Buffer.alloc(8), Buffer.alloc(4096, 9)],
    relocations: [
      0,
      8,
      POINTER,
      1,
      0,
      16,
      POINTER,
      2,
      0,
      120,
      POINTER,
      3,
      3,
      4,
      FD32,
      found.handle,
    ],
  });
}

/** Returns the number that the guest's kernel has for the perf events of a device. */
async function perfType({ shell }: Bystanders, device: string): Promise<number> {
  return Number(await shell(`cat /sys/bus/event_source/devices/${device}/type`));
}

async function openEvent(
  session: Session,
  others: Bystanders,
  device: string,
  options: Omit<PerfEventOptions, 'type' | 'pid' | 'cpu'>,
) {
  return session.openPerfEvent({
    type: await perfType(others, device),
    pid: -1,
    cpu: 0,
    ...options,
  });
}

/** Makes a call write a value, which contains a program, behind the call's attribute. */
async function writeBehindArgument(session: Session) {
  const map = await ownMap(session, MapType.BPF_MAP_TYPE_ARRAY, 64);
  await map.update(new Uint8Array(4), Buffer.concat([end, Buffer.alloc(64 - end.length)]));
  const attribute = Buffer.alloc(512);
  attribute.writeBigUInt64LE(512n, 16);
  return session.call({
    command: Cmd.BPF_MAP_LOOKUP_ELEM,
    args: 1,
    result: 0,
    buffers: [attribute, Buffer.alloc(4)],
    relocations: [0, 0, FD32, map.handle, 0, 8, POINTER, 1, 0, 16, POINTER, 0],
  });
}

/** Loads the bytes behind the attribute of a call, where an earlier call has left a program. */
async function loadFromArgument(session: Session) {
  await writeBehindArgument(session).catch(() => {});
  const bytes = 512;
  const attribute = Buffer.alloc(bytes);
  attribute.writeUInt32LE(RAW_TRACEPOINT, 0);
  attribute.writeUInt32LE(end.length / 8, 4);
  attribute.writeBigUInt64LE(BigInt(bytes), 8);
  return session.call({
    command: Cmd.BPF_PROG_LOAD,
    args: 1,
    result: session.newHandle(),
    buffers: [attribute, license],
    relocations: [0, 8, POINTER, 0, 0, 16, POINTER, 1],
  });
}

/** Keeps more memory of maps alive than the quota allows, through programs that hold the maps. */
async function keepByPrograms(session: Session) {
  for (let made = 0; made < 20; made++) {
    const map = await ownMap(session, MapType.BPF_MAP_TYPE_ARRAY, 1024 * 1024);
    const program = await load(session, insn.program(insn.loadMap('r1', map), end));
    await program.attachRawTracepoint('sys_enter');
    await map.close();
    await program.close();
  }
}

/** Keeps more memory of maps alive than the quota allows, through programs without a handle. */
async function keepByUnnamedPrograms(session: Session) {
  const code = insn.program(Buffer.from('18110000000000000000000000000000', 'hex'), end);
  const attribute = Buffer.alloc(128);
  attribute.writeUInt32LE(RAW_TRACEPOINT, 0);
  attribute.writeUInt32LE(code.length / 8, 4);
  for (let made = 0; made < 20; made++) {
    const map = await ownMap(session, MapType.BPF_MAP_TYPE_ARRAY, 1024 * 1024);
    const relocations = [0, 8, POINTER, 1, 0, 16, POINTER, 2, 1, 4, FD32, map.handle];
    const buffers = [attribute, code, license];
    await session.call({ command: Cmd.BPF_PROG_LOAD, args: 1, result: 0, buffers, relocations });
    await map.close();
  }
}

/** Keeps more memory of maps alive than the quota allows, through streams that read the maps. */
async function keepByStreams(session: Session) {
  const sizeBytes = 1024 * 1024;
  for (let made = 0; made < 20; made++) {
    const type = MapType.BPF_MAP_TYPE_RINGBUF;
    const map = await session.createMap({ type, maxEntries: sizeBytes });
    await session.subscribe({ source: 'ring', map: map.handle, sizeBytes }, {}, () => {});
    await map.close();
  }
}

/** The first number of the executor's own descriptors, which include copies of the session's. */
const FIRST_COPY = 4101;

/**
 * Writes to a foreign map that may only be read. An iterator's program could write to it. The call
 * names the map in a word that can also be a process id. A stream has a copy of the map's
 * descriptor.
 */
async function writeThroughCopy(session: Session, others: Bystanders) {
  const { handle: file } = await foreignMap(session, others);
  await session.subscribe({ source: 'file', file }, {}, () => {});
  const program = await session.loadProgram({
    type: ProgType.BPF_PROG_TYPE_TRACING,
    expectedAttachType: AttachType.BPF_TRACE_ITER,
    attachTo: 'bpf_map_elem',
    license: 'GPL',
    instructions: insn.program(
      insn.load(8, 'r6', 'r1', 24),
      insn.jumpIf('eq', 'r6', 0, 'none'),
      insn.store(8, 'r6', 0, 7),
      insn.label('none'),
      insn.mov('r0', 0),
      insn.exit(),
    ),
  });
  for (let round = 0; round < 8; round++) {
    // A stream of a map ends at once, and its copy of the descriptor ends with it.
    const streams = Array.from({ length: 8 }, () =>
      session.subscribe({ source: 'file', file }, {}, () => {}),
    );
    const tried = Array.from({ length: 24 }, (_, i) => iterate(session, program, FIRST_COPY + i));
    const [ends, links] = await Promise.all([
      Promise.allSettled(streams),
      Promise.allSettled(tried),
    ]);
    const refused = [...ends, ...links].find((one) => one.status === 'rejected');
    if (refused !== undefined) throw refused.reason;
    const read = links.find((one) => one.status === 'fulfilled' && one.value !== undefined);
    if (read !== undefined) return read;
  }
  throw new Error('no number was that of a copy');
}

/**
 * Runs an iterator's program over the map with a number, or returns `undefined` if there is none.
 */
async function iterate(session: Session, program: { readonly handle: Handle }, number: number) {
  const attribute = Buffer.alloc(48);
  attribute.writeUInt32LE(AttachType.BPF_TRACE_ITER, 8);
  attribute.writeUInt32LE(4, 24);
  const map = Buffer.alloc(4);
  map.writeUInt32LE(number);
  const [link, iterator] = [session.newHandle(), session.newHandle()];
  const made = await session.call({
    command: Cmd.BPF_LINK_CREATE,
    args: 1,
    result: link,
    buffers: [attribute, map],
    relocations: [0, 0, FD32, program.handle, 0, 16, POINTER, 1],
  });
  if (made.result < 0) return undefined;
  await session.call({
    command: Cmd.BPF_ITER_CREATE,
    args: 1,
    result: iterator,
    buffers: [Buffer.alloc(8)],
    relocations: [0, 0, FD32, link],
  });
  return session.read(iterator, 4096);
}

export const attacks: readonly Attack[] = [
  {
    name: 'a program behind the attribute of its call',
    message: /points to buffer 0, which is an argument/,
    attempt: loadFromArgument,
  },
  {
    name: 'a value that is written behind an attribute',
    message: /points to buffer 0, which is an argument/,
    attempt: writeBehindArgument,
  },
  {
    name: 'a helper that writes to processes',
    rule: 'helpers',
    message: /bpf_probe_write_user/,
    attempt: (session) => load(session, insn.program(Buffer.from('8500000024000000', 'hex'), end)),
  },
  {
    name: 'a breakpoint inside of an instruction',
    rule: 'uprobes',
    message: /\/victim\+/,
    attempt: (session, others) =>
      openEvent(session, others, 'uprobe', {
        config1: others.file,
        config2: others.places.code + 1,
      }),
  },
  {
    name: "a counter in a process's data",
    rule: 'uprobes',
    message: /with a counter at/,
    attempt: (session, others) =>
      openEvent(session, others, 'uprobe', {
        config: BigInt(others.places.data) << 32n,
        config1: others.file,
        config2: others.places.code,
      }),
  },
  {
    name: "a counter in a process's data, by a link to many places",
    rule: 'uprobes',
    message: /with a counter at/,
    attempt: async (session, { file, places }) =>
      raw(session, Cmd.BPF_LINK_CREATE, 64, {
        0: await load(session),
        8: AttachType.BPF_TRACE_UPROBE_MULTI,
        16: Buffer.from(`${file}\0`),
        24: wordOf(places.code),
        32: wordOf(places.data),
        48: 1,
      }),
  },
  ...[-1, 0x402].map((index) => ({
    name: `the index ${index} into an array of two descriptors`,
    rule: 'descriptors',
    message: /the index -?\d+ into an array of 2/,
    attempt: async (session: Session, others: Bystanders) =>
      loadByIndex(session, index, await foreignMap(session, others)),
  })),
  {
    name: 'an index before an array that begins inside of a buffer',
    message: /points to the inside of buffer 3/,
    attempt: async (session, others) =>
      loadByIndex(session, -1, await foreignMap(session, others), 8),
  },
  {
    name: "an index of another's map",
    rule: 'foreign_objects',
    message: /an object from map_get_fd_by_id/,
    attempt: async (session, others) => loadByIndex(session, 1, await foreignMap(session, others)),
  },
  {
    name: "another's program in an own array of programs",
    rule: 'foreign_objects',
    message: /an object from prog_get_fd_by_id .* to be run/,
    attempt: async (session, others) =>
      raw(session, Cmd.BPF_MAP_UPDATE_ELEM, 32, {
        0: await ownMap(session, MapType.BPF_MAP_TYPE_PROG_ARRAY, 4),
        8: new Uint8Array(4),
        16: [await foreignProgram(session, others)],
      }),
  },
  {
    name: "an own map bound to another's program",
    rule: 'foreign_objects',
    message: /an object from prog_get_fd_by_id .* to be changed/,
    attempt: async (session, others) =>
      raw(session, Cmd.BPF_PROG_BIND_MAP, 12, {
        0: await foreignProgram(session, others),
        4: await ownMap(session, MapType.BPF_MAP_TYPE_ARRAY),
      }),
  },
  {
    name: "another's map that is found without a handle",
    rule: 'foreign_objects',
    message: /a result without a handle/,
    attempt: (session, { ids }) =>
      raw(session, Cmd.BPF_MAP_GET_FD_BY_ID, 16, { 0: ids.map, 8: ObjectFlag.BPF_F_RDONLY }),
  },
  {
    name: 'an event whose size leaves out what rules see',
    message: /the attribute has 112 bytes, and its size says 64/,
    attempt: (session) =>
      session.perfEventOpen({
        result: session.newHandle(),
        pid: -1,
        cpu: 0,
        group: 0,
        flags: 0,
        buffers: [Buffer.alloc(112)],
        relocations: [],
      }),
  },
  {
    name: 'a probe beyond the end of an allowed function',
    rule: 'hooks',
    message: /4096/,
    attempt: (session, others) =>
      openEvent(session, others, 'kprobe', { config1: 'do_nanosleep', config2: 4096 }),
  },
  {
    name: 'a breakpoint at an address',
    rule: 'hooks',
    message: /breakpoint/,
    attempt: (session, { pid, places }) => {
      const attribute = { type: enums.PerfType.PERF_TYPE_BREAKPOINT, pid, cpu: -1 };
      return session.openPerfEvent({ ...attribute, config1: places.address, config2: 4 });
    },
  },
  {
    name: 'a descriptor by its number',
    rule: 'descriptors',
    message: /the number 3, which names no handle/,
    attempt: (session) => {
      const code = insn.program(Buffer.from('18110000030000000000000000000000', 'hex'), end);
      const words = { 0: RAW_TRACEPOINT, 4: code.length / 8, 8: code, 16: license };
      return raw(session, Cmd.BPF_PROG_LOAD, 128, words);
    },
  },
  {
    name: 'maps that programs keep alive, beyond the quota',
    rule: 'quotas.map_bytes',
    message: /of 16777216/,
    attempt: keepByPrograms,
  },
  {
    name: 'maps that programs without a handle keep alive, beyond the quota',
    rule: 'quotas.map_bytes',
    message: /of 16777216/,
    attempt: keepByUnnamedPrograms,
  },
  {
    name: 'maps that streams keep alive, beyond the quota',
    rule: 'quotas.map_bytes',
    message: /of 16777216/,
    attempt: keepByStreams,
  },
  {
    name: "another's map by the number of a stream's copy",
    rule: 'foreign_objects',
    message: /an object of others, to be streamed from/,
    attempt: writeThroughCopy,
  },
];

function wordOf(number: number): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32LE(number);
  return bytes;
}

/** The outcome of an attack. */
export interface AttackOutcome {
  readonly attack: Attack;
  /** What the attack led to, or undefined if it failed. */
  readonly result: unknown;
  readonly error: unknown;
  /** Changes to objects and settings of others since the guest was booted. */
  readonly changes: readonly string[];
}

/** Makes each attack in a session of its own. */
export async function attackAll(others: Bystanders): Promise<readonly AttackOutcome[]> {
  const outcomes: AttackOutcome[] = [];
  for (const attack of attacks) {
    const session = await Session.connect(others.guest.vsock(), patient);
    try {
      const [result, error] = await attack.attempt(session, others).then(
        (result): [unknown, unknown] => [result, undefined],
        (error: unknown): [unknown, unknown] => [undefined, error],
      );
      outcomes.push({ attack, result, error, changes: await others.changes() });
    } finally {
      await session.close();
    }
  }
  return outcomes;
}
