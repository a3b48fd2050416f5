import { enums, insn, rows } from '../bpf/index.js';
import type { Handle } from '../call.js';
import { WaepError } from '../errors.js';
import type { Session } from './session.js';

/** What became of a question to the guest's kernel. */
export interface Finding {
  /** The name in the kernel's interface, without its prefix. */
  readonly name: string;
  /** Whether the kernel has it; `undefined` where it was not asked. */
  readonly offered: boolean | undefined;
  /** The policy's rule that refuses it. */
  readonly refusedBy: string | undefined;
}

/** What a guest's kernel offers, and what of it the guest's policy leaves to a host. */
export interface Preflight {
  readonly kernel: string;
  readonly profile: string;
  readonly btf: boolean;
  /** `none`, `integrity` or `confidentiality`; `undefined` where it cannot be read. */
  readonly lockdown: string | undefined;
  readonly facilities: readonly Finding[];
  readonly programTypes: readonly Finding[];
  readonly mapTypes: readonly Finding[];
  /** Helpers, as programs of the type `kprobe` may call them. */
  readonly helpers: readonly Finding[];
}

/** How many questions are on their way at a time. */
const DEPTH = 32;
const LOG_BYTES = 4096;
const { MapType, ProgType, Helper } = enums;

async function inParallel<T, R>(items: readonly T[], ask: (item: T) => Promise<R>): Promise<R[]> {
  const answers: R[] = [];
  for (let at = 0; at < items.length; at += DEPTH) {
    answers.push(...(await Promise.all(items.slice(at, at + DEPTH).map(ask))));
  }
  return answers;
}

/** Asks, and tells a refusal by the guest's policy from its kernel's. */
async function ask(name: string, question: () => Promise<boolean | undefined>): Promise<Finding> {
  try {
    return { name, offered: await question(), refusedBy: undefined };
  } catch (error) {
    if (error instanceof WaepError && error.code === 'ERR_POLICY_REFUSED') {
      return { name, offered: undefined, refusedBy: (error.detail as { rule: string }).rule };
    }
    throw error;
  }
}

async function load(session: Session, type: number, instructions: Uint8Array) {
  const outcome = await session.tryBpf(rows.PROG_LOAD, {
    prog_type: type,
    insns: instructions,
    license: 'GPL',
    log_level: 1,
    log_size: LOG_BYTES,
  });
  const { log_buf: log = '' } = outcome.values();
  await drop(session, outcome);
  return { loaded: outcome.result >= 0, log: String(log) };
}

async function drop(
  session: Session,
  { result, handle }: { result: number; handle: Handle },
): Promise<void> {
  if (result >= 0) await session.release([handle]);
}

const nothing = insn.program(insn.mov('r0', 0), insn.exit());

/** A type that the kernel does not know is refused before the verifier says a word. */
const programTypes = (session: Session) =>
  inParallel(Object.entries(ProgType).slice(1), ([constant, type]) =>
    ask(constant.replace('BPF_PROG_TYPE_', '').toLowerCase(), async () => {
      const { loaded, log } = await load(session, type, nothing);
      return loaded || log !== '';
    }),
  );

interface MapShape {
  key_size?: number;
  value_size?: number;
  max_entries?: number;
  map_flags?: number;
}

/** What makes a map of each type that is not like an array. */
const mapShapes: Readonly<Partial<Record<keyof typeof MapType, MapShape>>> = {
  BPF_MAP_TYPE_STACK_TRACE: { value_size: 8 },
  BPF_MAP_TYPE_LPM_TRIE: { key_size: 8, map_flags: enums.ObjectFlag.BPF_F_NO_PREALLOC },
  BPF_MAP_TYPE_CGROUP_STORAGE: { key_size: 16, max_entries: 0 },
  BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE: { key_size: 16, max_entries: 0 },
  BPF_MAP_TYPE_QUEUE: { key_size: 0 },
  BPF_MAP_TYPE_STACK: { key_size: 0 },
  BPF_MAP_TYPE_BLOOM_FILTER: { key_size: 0 },
  BPF_MAP_TYPE_RINGBUF: { key_size: 0, value_size: 0, max_entries: 4096 },
  BPF_MAP_TYPE_USER_RINGBUF: { key_size: 0, value_size: 0, max_entries: 4096 },
  BPF_MAP_TYPE_ARENA: { key_size: 0, value_size: 0, map_flags: enums.ObjectFlag.BPF_F_MMAPABLE },
};

/** Types whose maps are described by BTF or other maps: refused without, they are not asked for. */
const unasked = new Set<string>([
  'BPF_MAP_TYPE_ARRAY_OF_MAPS',
  'BPF_MAP_TYPE_HASH_OF_MAPS',
  'BPF_MAP_TYPE_STRUCT_OPS',
  'BPF_MAP_TYPE_SK_STORAGE',
  'BPF_MAP_TYPE_INODE_STORAGE',
  'BPF_MAP_TYPE_TASK_STORAGE',
  'BPF_MAP_TYPE_CGRP_STORAGE',
]);

const mapTypes = (session: Session) =>
  inParallel(Object.entries(MapType).slice(1), ([constant, type]) =>
    ask(constant.replace('BPF_MAP_TYPE_', '').toLowerCase(), async () => {
      const outcome = await session.tryBpf(rows.MAP_CREATE, {
        map_type: type,
        key_size: 4,
        value_size: 4,
        max_entries: 1,
        ...mapShapes[constant as keyof typeof MapType],
      });
      await drop(session, outcome);
      return outcome.result >= 0 || (unasked.has(constant) ? undefined : false);
    }),
  );

/** The verifier names a helper that it does not have; whatever else it says, it knew this one. */
const helpers = (session: Session) =>
  inParallel(Object.entries(Helper), ([constant, number]) =>
    ask(constant.replace('BPF_FUNC_', 'bpf_'), async () => {
      const call = insn.program(insn.call(number), insn.mov('r0', 0), insn.exit());
      const { loaded, log } = await load(session, ProgType.BPF_PROG_TYPE_KPROBE, call);
      if (!loaded && log === '') return undefined;
      return loaded || !/(invalid|unknown) func /.test(log);
    }),
  );

async function read(session: Session, path: string): Promise<string | undefined> {
  try {
    const file = await session.open(path);
    const bytes = await session.read(file, 4096);
    await session.release([file]);
    return bytes === undefined ? undefined : Buffer.from(bytes).toString('latin1');
  } catch (error) {
    if (error instanceof WaepError && error.code === 'ERR_POLICY_REFUSED') throw error;
    return undefined;
  }
}

/** Files that are there if the kernel has a facility. */
const facilities: Readonly<Record<string, string>> = {
  'types (BTF)': '/sys/kernel/btf/vmlinux',
  'trace events': '/sys/kernel/tracing/available_events',
  'function tracing': '/sys/kernel/tracing/available_filter_functions',
  kprobes: '/sys/bus/event_source/devices/kprobe/type',
  uprobes: '/sys/bus/event_source/devices/uprobe/type',
  symbols: '/proc/kallsyms',
};

/**
 * Asks a guest's kernel what it offers, through the guest's policy: some 300 calls, each of which
 * leaves nothing behind.
 *
 * @throws what {@link Session.call} throws, refusals by the policy excepted
 */
export async function preflight(session: Session): Promise<Preflight> {
  const found = await inParallel(Object.entries(facilities), ([name, path]) =>
    ask(name, async () => (await read(session, path)) !== undefined),
  );
  const lockdown = await read(session, '/sys/kernel/security/lockdown').catch(() => undefined);
  return {
    kernel: session.kernel.release,
    profile: session.profile,
    btf: session.kernel.btf,
    lockdown: lockdown === undefined ? undefined : (/\[(\w+)\]/.exec(lockdown)?.[1] ?? 'none'),
    facilities: found,
    programTypes: await programTypes(session),
    mapTypes: await mapTypes(session),
    helpers: await helpers(session),
  };
}
