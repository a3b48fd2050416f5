import { type Arguments, enums, insn, leastOf, mapKind, rows } from '../bpf/index.js';
import type { Handle } from '../call.js';
import { errnoName, errnoNumber } from '../errno.js';
import type { SystemError } from '../errors.js';
import { loadBtf } from './btf.js';
import { ask, type Finding, refusingRule } from './finding.js';
import { isMissing } from './guest-file.js';
import type { GuestKernel } from './guest-kernel.js';
import type { GuestObject } from './guest-object.js';
import { type HelperFinding, surveyHelpers, typeName, type Way, wayOf } from './helper-survey.js';
import { createMap } from './maps.js';

/** The features of a guest's kernel, and which of them the guest's policy allows. */
export interface Preflight {
  /** The release of the guest's kernel. */
  readonly kernel: string;
  /** The name of the agent's profile that applies to the session. */
  readonly profile: string;
  /** Whether the kernel has types (BTF) of its own. */
  readonly btf: boolean;
  /** `none`, `integrity` or `confidentiality`; `undefined` where it cannot be read. */
  readonly lockdown: string | undefined;
  /** How many records a session may be sent in a second; 0 for as many as there are. */
  readonly maxEventsPerSecond: number;
  /** What the kernel has beyond types of programs and maps, and helpers. */
  readonly facilities: readonly Finding[];
  /** The types of programs. */
  readonly programTypes: readonly Finding[];
  /** The types of maps. */
  readonly mapTypes: readonly Finding[];
  /** The helpers, with the types of programs that may call them. */
  readonly helpers: readonly HelperFinding[];
  /** The program types that helpers could not be asked of, each with the reason. */
  readonly helpersNotAskedOf: Readonly<Record<string, string>>;
}

/** How many questions are on their way at a time. */
const DEPTH = 32;
const LOG_BYTES = 4096;
const { MapType, ProgType } = enums;

async function inParallel<T, R>(items: readonly T[], ask: (item: T) => Promise<R>): Promise<R[]> {
  const answers: R[] = [];
  for (let at = 0; at < items.length; at += DEPTH) {
    answers.push(...(await Promise.all(items.slice(at, at + DEPTH).map(ask))));
  }
  return answers;
}

async function load(session: GuestKernel, type: number, way: Way) {
  const outcome = await session.tryBpf(rows.PROG_LOAD, {
    prog_type: type,
    ...way,
    insns: nothing,
    license: 'GPL',
    log_level: 1,
    log_size: LOG_BYTES,
  });
  const { log_buf: log = '' } = outcome.values();
  await drop(session, outcome);
  return { loaded: outcome.result >= 0, errno: outcome.errno, log: String(log) };
}

async function drop(
  session: GuestKernel,
  { result, handle }: { result: number; handle: Handle },
): Promise<void> {
  if (result >= 0) await session.release([handle]);
}

const nothing = insn.program(insn.mov('r0', 0), insn.exit());

/** The errors of a kernel that does not have a type, or was built without it. */
const NOT_HAD: ReadonlySet<string> = new Set(['EINVAL', 'E2BIG', 'ENOTSUPP', 'EOPNOTSUPP']);

/** `false` where an errno says that there is no such type, else why that is not known. */
function lacking(errno: number): false | string {
  const name = errnoName(errno);
  return NOT_HAD.has(name) ? false : `asking ends with ${name}`;
}

/** A type that the kernel does not know is refused before the verifier says a word. */
const programTypes = (session: GuestKernel) =>
  inParallel(Object.entries(ProgType).slice(1), ([constant, type]) =>
    ask(typeName(constant), async () => {
      const { loaded, errno, log } = await load(session, type, wayOf(constant));
      return loaded || log !== '' || lacking(errno);
    }),
  );

type MapShape = Arguments<typeof rows.MAP_CREATE>;

/** No structure of a kernel's has this number. */
const NO_STRUCTURE = 0x7fffffff;
const structOps: MapShape = { btf_vmlinux_value_type_id: NO_STRUCTURE };

/** A small map of a type. Those that nothing is known of are like arrays. */
function shapeOf(type: number, pageSize: number): MapShape {
  const small = { key_size: 4, value_size: 4, max_entries: 1 };
  if (type === MapType.BPF_MAP_TYPE_STRUCT_OPS) return { ...small, ...structOps };
  const kind = mapKind(type);
  if (kind === undefined) return small;
  return {
    key_size: leastOf(kind.keySizes),
    value_size: leastOf(kind.valueSizes),
    max_entries: { counted: 1, none: 0, 'ring bytes': pageSize }[kind.entries],
    map_flags: kind.flags ?? 0,
  };
}

/** Types (BTF) with a number of 32 bits, id 1: what is needed to describe keys and values. */
const oneType = Uint8Array.from([
  ...[0x9f, 0xeb, 1, 0, 24, 0, 0, 0], // magic, version, flags, header's length
  ...[0, 0, 0, 0, 16, 0, 0, 0], // where the types are, and how long
  ...[16, 0, 0, 0, 5, 0, 0, 0], // where the strings are, and how long
  ...[1, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 32, 0, 0, 1], // "int", BTF_KIND_INT, 4 bytes, signed
  ...Buffer.from('\0int\0'),
]);

/**
 * Objects that maps of some types refer to. They are made for the first such map and closed after
 * the last.
 */
class Ingredients {
  readonly #session: GuestKernel;
  readonly #made = new Map<string, Promise<GuestObject>>();

  constructor(session: GuestKernel) {
    this.#session = session;
  }

  async for(type: number): Promise<MapShape> {
    const needs = mapKind(type)?.needs;
    if (needs === 'inner map') return { inner_map_fd: await this.#once('map') };
    if (needs !== 'types') return {};
    const btf_fd = await this.#once('btf');
    return { btf_fd, btf_key_type_id: 1, btf_value_type_id: 1, value_size: 4 };
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
  map: (session: GuestKernel) =>
    createMap(session, {
      type: MapType.BPF_MAP_TYPE_ARRAY,
      keySize: 4,
      valueSize: 4,
      maxEntries: 1,
    }),
  btf: (session: GuestKernel) => loadBtf(session, oneType),
};

/** The errors of a kernel that has a type but not the structure of some number. */
const ENOTSUPP = errnoNumber('ENOTSUPP');

async function mapTypes(session: GuestKernel): Promise<Finding[]> {
  const ingredients = new Ingredients(session);
  try {
    return await inParallel(Object.entries(MapType).slice(1), ([constant, type]) =>
      ask(constant.replace('BPF_MAP_TYPE_', '').toLowerCase(), async () => {
        const outcome = await session.tryBpf(rows.MAP_CREATE, {
          map_type: type,
          ...shapeOf(type, session.kernel.pageSize),
          ...(await ingredients.for(type)),
        });
        await drop(session, outcome);
        if (outcome.result >= 0) return true;
        // Without its own types a kernel has no structures either, and answers the same.
        return constant === 'BPF_MAP_TYPE_STRUCT_OPS' && outcome.errno === ENOTSUPP
          ? session.kernel.btf
          : lacking(outcome.errno);
      }),
    );
  } finally {
    await ingredients.close();
  }
}

async function read(session: GuestKernel, path: string): Promise<string> {
  const file = await session.open(path);
  const bytes = await session.read(file, 4096);
  await session.release([file]);
  return Buffer.from(bytes ?? []).toString('latin1');
}

/** Whether there is a file, or why that is not known. */
async function isThere(session: GuestKernel, path: string): Promise<boolean | string> {
  try {
    await read(session, path);
    return true;
  } catch (error) {
    if (refusingRule(error) !== undefined || session.closed) throw error;
    return isMissing(error) ? false : `reading ${path} ends with ${(error as SystemError).code}`;
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
 * Asks a guest's kernel what it offers, through the guest's policy: some 6 500 calls, each of which
 * leaves no object behind. The kernel notes in its log that programs with bpf_probe_write_user()
 * were looked at.
 *
 * @throws what {@link Caller.call} throws, refusals by the policy excepted
 */
export async function preflight(session: GuestKernel): Promise<Preflight> {
  const found = await inParallel(Object.entries(facilities), ([name, path]) =>
    ask(name, () => isThere(session, path)),
  );
  const lockdown = await read(session, '/sys/kernel/security/lockdown').catch(() => undefined);
  const types = await programTypes(session);
  const { helpers, notAskedOf } = await surveyHelpers(session, types);
  return {
    kernel: session.kernel.release,
    profile: session.profile,
    btf: session.kernel.btf,
    lockdown: lockdown === undefined ? undefined : (/\[(\w+)\]/.exec(lockdown)?.[1] ?? 'none'),
    maxEventsPerSecond: session.limits.maxEventsPerSecond,
    facilities: found,
    programTypes: types,
    mapTypes: await mapTypes(session),
    helpers,
    helpersNotAskedOf: notAskedOf,
  };
}
