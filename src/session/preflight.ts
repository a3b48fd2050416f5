import { type Arguments, enums, insn, rows } from '../bpf/index.js';
import type { Handle } from '../call.js';
import { errnoNumber } from '../errno.js';
import { WaepError } from '../errors.js';
import type { GuestObject } from './guest-object.js';
import type { Session } from './session.js';

/** What became of a question to the guest's kernel. */
export interface Finding {
  /** The name in the kernel's interface, without its prefix. */
  readonly name: string;
  /** Whether the kernel has it; `undefined` where it could not be asked, or was not heard. */
  readonly offered: boolean | undefined;
  /** Why that is not known, where no rule of the policy refuses it. */
  readonly why?: string;
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
  /** How many records a session may be sent in a second; 0 for as many as there are. */
  readonly maxEventsPerSecond: number;
  readonly facilities: readonly Finding[];
  readonly programTypes: readonly Finding[];
  readonly mapTypes: readonly Finding[];
  /** Helpers, as programs of the type `kprobe` may call them. */
  readonly helpers: readonly Finding[];
}

/** How many questions are on their way at a time. */
const DEPTH = 32;
const LOG_BYTES = 4096;
const { AttachType, MapType, ObjectFlag, ProgType, Helper } = enums;

async function inParallel<T, R>(items: readonly T[], ask: (item: T) => Promise<R>): Promise<R[]> {
  const answers: R[] = [];
  for (let at = 0; at < items.length; at += DEPTH) {
    answers.push(...(await Promise.all(items.slice(at, at + DEPTH).map(ask))));
  }
  return answers;
}

/**
 * Asks, and tells a refusal by the guest's policy from its kernel's.
 *
 * @param question answers with a text where it cannot be known, which says why
 */
async function ask(name: string, question: () => Promise<boolean | string>): Promise<Finding> {
  try {
    const answer = await question();
    return typeof answer === 'string'
      ? { name, offered: undefined, why: answer, refusedBy: undefined }
      : { name, offered: answer, refusedBy: undefined };
  } catch (error) {
    if (error instanceof WaepError && error.code === 'ERR_POLICY_REFUSED') {
      return { name, offered: undefined, refusedBy: (error.detail as { rule: string }).rule };
    }
    throw error;
  }
}

async function load(session: Session, type: number, instructions: Uint8Array, attachType = 0) {
  const outcome = await session.tryBpf(rows.PROG_LOAD, {
    prog_type: type,
    expected_attach_type: attachType,
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

/** What programs must say that they are for, without which they are refused like unknown ones. */
const attachTypes: Readonly<Partial<Record<keyof typeof ProgType, number>>> = {
  BPF_PROG_TYPE_CGROUP_SOCK_ADDR: AttachType.BPF_CGROUP_INET4_CONNECT,
  BPF_PROG_TYPE_CGROUP_SOCKOPT: AttachType.BPF_CGROUP_GETSOCKOPT,
  BPF_PROG_TYPE_SK_LOOKUP: AttachType.BPF_SK_LOOKUP,
  BPF_PROG_TYPE_NETFILTER: AttachType.BPF_NETFILTER,
};

/** A type that the kernel does not know is refused before the verifier says a word. */
const programTypes = (session: Session) =>
  inParallel(Object.entries(ProgType).slice(1), ([constant, type]) =>
    ask(constant.replace('BPF_PROG_TYPE_', '').toLowerCase(), async () => {
      const attachType = attachTypes[constant as keyof typeof ProgType];
      const { loaded, log } = await load(session, type, nothing, attachType);
      return loaded || log !== '';
    }),
  );

type MapShape = Arguments<typeof rows.MAP_CREATE>;

/** Maps of these types keep what belongs to other objects, and are described by types of their own. */
const storage: MapShape = { max_entries: 0, map_flags: ObjectFlag.BPF_F_NO_PREALLOC };
/** No structure of a kernel's has this number. */
const NO_STRUCTURE = 0x7fffffff;

/** What makes a map of each type that is not like an array. */
const mapShapes: Readonly<Partial<Record<keyof typeof MapType, MapShape>>> = {
  BPF_MAP_TYPE_STACK_TRACE: { value_size: 8 },
  BPF_MAP_TYPE_LPM_TRIE: { key_size: 8, map_flags: ObjectFlag.BPF_F_NO_PREALLOC },
  BPF_MAP_TYPE_CGROUP_STORAGE: { key_size: 16, max_entries: 0 },
  BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE: { key_size: 16, max_entries: 0 },
  BPF_MAP_TYPE_QUEUE: { key_size: 0 },
  BPF_MAP_TYPE_STACK: { key_size: 0 },
  BPF_MAP_TYPE_BLOOM_FILTER: { key_size: 0 },
  BPF_MAP_TYPE_RINGBUF: { key_size: 0, value_size: 0, max_entries: 4096 },
  BPF_MAP_TYPE_USER_RINGBUF: { key_size: 0, value_size: 0, max_entries: 4096 },
  BPF_MAP_TYPE_ARENA: { key_size: 0, value_size: 0, map_flags: ObjectFlag.BPF_F_MMAPABLE },
  BPF_MAP_TYPE_INSN_ARRAY: { value_size: 16 },
  BPF_MAP_TYPE_SK_STORAGE: storage,
  BPF_MAP_TYPE_INODE_STORAGE: storage,
  BPF_MAP_TYPE_TASK_STORAGE: storage,
  BPF_MAP_TYPE_CGRP_STORAGE: storage,
  BPF_MAP_TYPE_STRUCT_OPS: { btf_vmlinux_value_type_id: NO_STRUCTURE },
};

/** Types (BTF) with a number of 32 bits, id 1: what is needed to describe keys and values. */
const oneType = Uint8Array.from([
  ...[0x9f, 0xeb, 1, 0, 24, 0, 0, 0], // magic, version, flags, header's length
  ...[0, 0, 0, 0, 16, 0, 0, 0], // where the types are, and how long
  ...[16, 0, 0, 0, 5, 0, 0, 0], // where the strings are, and how long
  ...[1, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 32, 0, 0, 1], // "int", BTF_KIND_INT, 4 bytes, signed
  ...Buffer.from('\0int\0'),
]);

/** What maps of some types refer to: made for the first of them, and closed behind the last. */
class Ingredients {
  readonly #session: Session;
  readonly #made = new Map<string, Promise<GuestObject>>();

  constructor(session: Session) {
    this.#session = session;
  }

  async for(constant: string): Promise<MapShape> {
    if (constant.endsWith('_OF_MAPS')) return { inner_map_fd: await this.#once('map') };
    if (mapShapes[constant as keyof typeof MapType] !== storage) return {};
    return { btf_fd: await this.#once('btf'), btf_key_type_id: 1, btf_value_type_id: 1 };
  }

  #once<K extends keyof typeof makers>(kind: K): ReturnType<(typeof makers)[K]> {
    const made = this.#made.get(kind) ?? makers[kind](this.#session);
    this.#made.set(kind, made);
    return made as ReturnType<(typeof makers)[K]>;
  }

  async close(): Promise<void> {
    // Whoever asked for one that could not be made knows.
    for (const made of await Promise.allSettled(this.#made.values())) {
      if (made.status === 'fulfilled') await made.value.close();
    }
  }
}

const makers = {
  map: (session: Session) =>
    session.createMap({
      type: MapType.BPF_MAP_TYPE_ARRAY,
      keySize: 4,
      valueSize: 4,
      maxEntries: 1,
    }),
  btf: (session: Session) => session.loadBtf(oneType),
};

/** What a kernel without a structure of some number answers, if it has the type at all. */
const ENOTSUPP = errnoNumber('ENOTSUPP');

async function mapTypes(session: Session): Promise<Finding[]> {
  const ingredients = new Ingredients(session);
  try {
    return await inParallel(Object.entries(MapType).slice(1), ([constant, type]) =>
      ask(constant.replace('BPF_MAP_TYPE_', '').toLowerCase(), async () => {
        const outcome = await session.tryBpf(rows.MAP_CREATE, {
          map_type: type,
          key_size: 4,
          value_size: 4,
          max_entries: 1,
          ...mapShapes[constant as keyof typeof MapType],
          ...(await ingredients.for(constant)),
        });
        await drop(session, outcome);
        if (outcome.result >= 0) return true;
        // Without its own types a kernel has no structures either, and answers the same.
        return constant === 'BPF_MAP_TYPE_STRUCT_OPS' && outcome.errno === ENOTSUPP
          ? session.kernel.btf
          : false;
      }),
    );
  } finally {
    await ingredients.close();
  }
}

/** The verifier names a helper that it does not have; whatever else it says, it knew this one. */
const helpers = (session: Session) =>
  inParallel(Object.entries(Helper), ([constant, number]) =>
    ask(constant.replace('BPF_FUNC_', 'bpf_'), async () => {
      const call = insn.program(insn.call(number), insn.mov('r0', 0), insn.exit());
      const { loaded, log } = await load(session, ProgType.BPF_PROG_TYPE_KPROBE, call);
      if (!loaded && log === '') return 'programs of the type kprobe cannot be loaded';
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
    maxEventsPerSecond: session.limits.maxEventsPerSecond,
    facilities: found,
    programTypes: await programTypes(session),
    mapTypes: await mapTypes(session),
    helpers: await helpers(session),
  };
}
