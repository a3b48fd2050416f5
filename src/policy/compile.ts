import { AttachType, Cmd, MapType, ObjectFlag, ProgType } from '../bpf/enums.js';
import { MAX_FRAME_BYTES } from '../frame/header.js';
import type { SessionLimits } from '../frame/messages.js';
import { MODIFY_ATTRIBUTES, perfIoctls, SET_BPF } from './ioctls.js';
import {
  HELPER_CALL,
  IMMEDIATE,
  INSTRUCTION,
  KFUNC_CALL,
  LOAD_MAP,
  LOAD_MAP_VALUE,
  OFFSET,
  PERF_CONFIG,
  PERF_CONFIG1,
  PERF_FLAGS_HIGH,
  PERF_TYPE,
} from './layout.js';
import type { Policy } from './policy.js';
import { reports } from './reports.js';
import {
  type Check,
  contains,
  IOCTLS,
  MAX_VALUE,
  PERF_EVENT_OPEN,
  type Range,
  type Rules,
  rangesOf,
  subtract,
} from './rules.js';
import { numberOf } from './vocabulary.js';

/** What only the kernel that a policy is for can tell. */
export interface KernelNames {
  /** How many CPUs the kernel reckons with. */
  readonly possibleCpus: number;
  /** The BTF ids of the kernel's functions whose names match; none where it has no BTF. */
  functions(matches: (name: string) => boolean): readonly number[];
  /** The BTF ids of what tracing programs can be attached to, by the names of the hooks. */
  hooks(matches: (name: string) => boolean): readonly number[];
  /** The ids of the kernel's tracepoints whose names match, whatever system they belong to. */
  tracepoints(matches: (name: string) => boolean): readonly number[];
  /** The number that the kernel gives to the perf events of a device, or `undefined`. */
  perfType(device: string): number | undefined;
  /** The index of a network interface, or `undefined`. */
  interfaceIndex(name: string): number | undefined;
}

/** The bounds of sessions under every policy, but for the rate of events. */
const limits: Omit<SessionLimits, 'maxEventsPerSecond'> = {
  maxFrameBytes: MAX_FRAME_BYTES,
  maxCallBytes: 128 * 1024 * 1024,
  maxBuffers: 256,
  maxRelocations: 1 << 20,
  maxHandles: 4096,
  maxStreams: 64,
};

const one = (...numbers: number[]) => rangesOf(numbers);
const all = (patterns: readonly string[]) => patterns.length === 1 && patterns[0] === '*';

/*
 * Task storage, whose values may have fields that the kernel follows, can only be written one element
 * at a time: the executor looks at the map for that.
 */
const opaque = one(
  Cmd.BPF_MAP_LOOKUP_ELEM,
  Cmd.BPF_MAP_DELETE_ELEM,
  Cmd.BPF_MAP_GET_NEXT_KEY,
  Cmd.BPF_MAP_LOOKUP_AND_DELETE_ELEM,
  Cmd.BPF_MAP_LOOKUP_BATCH,
  Cmd.BPF_MAP_LOOKUP_AND_DELETE_BATCH,
  Cmd.BPF_MAP_UPDATE_BATCH,
  Cmd.BPF_MAP_DELETE_BATCH,
  Cmd.BPF_PROG_LOAD,
  Cmd.BPF_BTF_LOAD,
);

const perCpuMaps = one(
  MapType.BPF_MAP_TYPE_PERCPU_HASH,
  MapType.BPF_MAP_TYPE_PERCPU_ARRAY,
  MapType.BPF_MAP_TYPE_LRU_PERCPU_HASH,
  MapType.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE,
);
const ringBuffers = one(MapType.BPF_MAP_TYPE_RINGBUF, MapType.BPF_MAP_TYPE_USER_RINGBUF);
const arenas = one(MapType.BPF_MAP_TYPE_ARENA);
const mapsOfMaps = one(MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS, MapType.BPF_MAP_TYPE_HASH_OF_MAPS);
/** What the kernel keeps for an entry beside its key and value, about. */
const ENTRY_BYTES = 64;

/** Sets of numbers: a word, or the instructions of a program. */
function numberChecks(policy: Policy): Check[] {
  const { map_types, program_types, attach_types, helpers } = policy;
  const program = { command: Cmd.BPF_PROG_LOAD } as const;
  const checks: Check[] = [
    {
      rule: 'program_types',
      ...program,
      vocabulary: 'program_types',
      kind: 'word',
      offset: 0,
      values: program_types,
    },
    {
      rule: 'attach_types',
      ...program,
      vocabulary: 'attach_types',
      kind: 'word',
      offset: 68,
      // Zero is also what programs have that are not attached by type.
      values: [[0, 0], ...attach_types],
    },
    {
      rule: 'helpers',
      ...program,
      vocabulary: 'helpers',
      kind: 'records',
      ...INSTRUCTION,
      pattern: HELPER_CALL,
      ...IMMEDIATE,
      values: helpers,
    },
    {
      rule: 'map_types',
      command: Cmd.BPF_MAP_CREATE,
      vocabulary: 'map_types',
      kind: 'word',
      offset: 0,
      values: map_types,
    },
    ...[Cmd.BPF_LINK_CREATE, Cmd.BPF_PROG_ATTACH].map(
      (command): Check => ({
        rule: 'attach_types',
        command,
        vocabulary: 'attach_types',
        kind: 'word',
        offset: 8,
        values: attach_types,
      }),
    ),
  ];
  return checks.filter(({ rule }) => !isEverything(policy[rule as 'program_types']));
}

function isEverything(ranges: readonly Range[]): boolean {
  return ranges.some(([first, last]) => first === 0 && last === MAX_VALUE);
}

function kfuncChecks({ kfuncs }: Policy, kernel: KernelNames): Check[] {
  if (all(kfuncs)) return [];
  const allowed = new Set(kfuncs);
  const call = {
    rule: 'kfuncs',
    command: Cmd.BPF_PROG_LOAD,
    kind: 'records',
    ...INSTRUCTION,
    pattern: KFUNC_CALL,
  } as const;
  const ids = kfuncs.length === 0 ? [] : kernel.functions((name) => allowed.has(name));
  return [
    // The numbers are of the kernel's own types; those of a module's would mean other functions.
    { ...call, ...OFFSET, values: one(0) },
    { ...call, ...IMMEDIATE, values: rangesOf(ids) },
  ];
}

/** Tells which names match globs, of which those with a leading `!` exclude. */
export function globMatcher(globs: readonly string[]): (name: string) => boolean {
  // Made once: kernels have a hundred thousand names.
  const expression = (glob: string) =>
    new RegExp(
      `^${glob
        .replace(/[\\^$.+()[\]{}|]/g, '\\$&')
        .replace(/\*/g, '.*')
        .replace(/\?/g, '.')}$`,
      's',
    );
  const wanted = globs.filter((glob) => !glob.startsWith('!')).map(expression);
  const unwanted = globs
    .filter((glob) => glob.startsWith('!'))
    .map((glob) => expression(glob.slice(1)));
  return (name) =>
    wanted.some((glob) => glob.test(name)) && !unwanted.some((glob) => glob.test(name));
}

/** `sigtrap` among the upper 32 of the attribute's flags; all above it are without a meaning yet. */
const SIGTRAP_HIGH = 1 << 5;

function perfChecks({ perf_types, perf_signals, hooks }: Policy, kernel: KernelNames): Check[] {
  const event = { command: PERF_EVENT_OPEN, kind: 'word' } as const;
  const checks: Check[] = [];
  if (!all(perf_types)) {
    const numbers = perf_types.flatMap(
      (name) => numberOf('perf_types', name) ?? kernel.perfType(name) ?? [],
    );
    checks.push({
      ...event,
      rule: 'perf_types',
      vocabulary: 'perf_types',
      offset: PERF_TYPE,
      values: rangesOf(numbers),
    });
  }
  if (!perf_signals) {
    const values: Range[] = [[0, SIGTRAP_HIGH - 1]];
    checks.push({ ...event, rule: 'perf_signals', offset: PERF_FLAGS_HIGH, values });
  }
  if (all(hooks)) return checks;
  const ofType = (...types: (number | undefined)[]) => ({
    when: [{ offset: 0, values: rangesOf(types.filter((type) => type !== undefined)) }],
  });
  const probes = ofType(kernel.perfType('kprobe'), kernel.perfType('uprobe'));
  const ids = rangesOf(kernel.tracepoints(globMatcher(hooks)));
  return [
    ...checks,
    {
      ...event,
      ...ofType(numberOf('perf_types', 'tracepoint')),
      rule: 'hooks',
      offset: PERF_CONFIG,
      width: 8,
      values: ids,
    },
    // Without a name there is an address only.
    {
      ...event,
      ...probes,
      rule: 'hooks',
      offset: PERF_CONFIG1,
      width: 8,
      values: [[1, Number.MAX_SAFE_INTEGER]],
    },
    {
      ...probes,
      command: PERF_EVENT_OPEN,
      rule: 'hooks',
      kind: 'text',
      pointer: PERF_CONFIG1,
      paths: false,
      patterns: hooks,
    },
  ];
}

function hookChecks({ hooks }: Policy, kernel: KernelNames): Check[] {
  if (all(hooks)) return [];
  const named = { rule: 'hooks', kind: 'text', paths: false, patterns: hooks } as const;
  const link = { rule: 'hooks', command: Cmd.BPF_LINK_CREATE } as const;
  const to = (...types: number[]) => ({ when: [{ offset: 8, values: rangesOf(types) }] });
  const toKprobes = to(AttachType.BPF_TRACE_KPROBE_MULTI, AttachType.BPF_TRACE_KPROBE_SESSION);
  const toUprobes = to(AttachType.BPF_TRACE_UPROBE_MULTI, AttachType.BPF_TRACE_UPROBE_SESSION);
  const ids = rangesOf(kernel.hooks(globMatcher(hooks)));
  const byId = {
    rule: 'hooks',
    command: Cmd.BPF_PROG_LOAD,
    when: [
      {
        offset: 0,
        values: one(
          ProgType.BPF_PROG_TYPE_TRACING,
          ProgType.BPF_PROG_TYPE_LSM,
          ProgType.BPF_PROG_TYPE_EXT,
        ),
      },
    ],
    kind: 'word',
  } as const;
  return [
    { ...named, command: Cmd.BPF_RAW_TRACEPOINT_OPEN, pointer: 0 },
    { ...named, ...link, ...toKprobes, pointer: 24, count: 20 },
    // Addresses have no names.
    { ...link, ...toKprobes, kind: 'word', offset: 32, width: 8, values: one(0) },
    { ...named, ...link, ...toUprobes, pointer: 16 },
    // A descriptor in place of the path (BPF_F_UPROBE_MULTI_PATH_FD) has none, either.
    { ...link, ...toUprobes, kind: 'word', offset: 52, values: [[0, 1]] },
    {
      ...link,
      ...to(
        AttachType.BPF_TRACE_FENTRY_MULTI,
        AttachType.BPF_TRACE_FEXIT_MULTI,
        AttachType.BPF_TRACE_FSESSION_MULTI,
      ),
      kind: 'words',
      pointer: 16,
      values: ids,
    },
    { ...byId, offset: 108, values: ids },
    // Ids are those of the kernel's own types, not of a module's or another program's.
    { ...byId, offset: 112, values: one(0) },
  ];
}

function interfaceChecks({ interfaces }: Policy, kernel: KernelNames): Check[] {
  if (all(interfaces)) return [];
  const indices = interfaces.flatMap((name) => kernel.interfaceIndex(name) ?? []);
  const check = { rule: 'interfaces', kind: 'word', values: rangesOf(indices) } as const;
  const stacked = [
    AttachType.BPF_TCX_INGRESS,
    AttachType.BPF_TCX_EGRESS,
    AttachType.BPF_NETKIT_PRIMARY,
    AttachType.BPF_NETKIT_PEER,
  ];
  const to = (...types: number[]) => [{ offset: 8, values: rangesOf(types) }];
  return [
    {
      ...check,
      command: Cmd.BPF_LINK_CREATE,
      when: to(AttachType.BPF_XDP, ...stacked),
      offset: 4,
    },
    { ...check, command: Cmd.BPF_PROG_ATTACH, when: to(...stacked), offset: 0 },
  ];
}

function pinChecks({ pin_paths }: Policy): Check[] {
  if (all(pin_paths)) return [];
  return [Cmd.BPF_OBJ_PIN, Cmd.BPF_OBJ_GET].map((command) => ({
    rule: 'pin_paths',
    command,
    kind: 'text',
    pointer: 0,
    paths: true,
    patterns: pin_paths,
  }));
}

/** Objects found by their ids may be looked into, but neither be attached, nor fed, nor changed. */
function foreignChecks({ foreign_objects, map_types, program_types }: Policy): Check[] {
  if (foreign_objects === 'use') return [];
  const { BPF_PROG_GET_FD_BY_ID, BPF_MAP_GET_FD_BY_ID, BPF_LINK_GET_FD_BY_ID } = Cmd;
  const objects = [BPF_PROG_GET_FD_BY_ID, BPF_MAP_GET_FD_BY_ID, BPF_LINK_GET_FD_BY_ID];
  const foreign = { rule: 'foreign_objects', values: { notFrom: objects } } as const;
  const word = (command: number, offset: number): Check => ({
    ...foreign,
    command,
    kind: 'word',
    offset,
  });
  const words = (command: number, pointer: number): Check => ({
    ...foreign,
    command,
    kind: 'words',
    pointer,
  });
  const replaces = contains(program_types, ProgType.BPF_PROG_TYPE_EXT);
  const holdsMaps = mapsOfMaps.some(([first, last]) =>
    [first, last].some((type) => contains(map_types, type)),
  );
  return [
    {
      rule: 'foreign_objects',
      command: BPF_MAP_GET_FD_BY_ID,
      kind: 'word',
      offset: 8,
      values: one(ObjectFlag.BPF_F_RDONLY),
    },
    // A program may write to a map whatever its descriptor is open for.
    ...[LOAD_MAP, LOAD_MAP_VALUE].map(
      (pattern): Check => ({
        ...foreign,
        command: Cmd.BPF_PROG_LOAD,
        kind: 'records',
        ...INSTRUCTION,
        pattern,
        ...IMMEDIATE,
      }),
    ),
    words(Cmd.BPF_PROG_LOAD, 120), // fd_array
    ...(holdsMaps ? [words(Cmd.BPF_MAP_UPDATE_ELEM, 16), words(Cmd.BPF_MAP_UPDATE_BATCH, 24)] : []),
    word(IOCTLS + SET_BPF, 0),
    word(Cmd.BPF_PROG_ATTACH, 4),
    word(Cmd.BPF_PROG_TEST_RUN, 0),
    word(Cmd.BPF_RAW_TRACEPOINT_OPEN, 8),
    word(Cmd.BPF_MAP_FREEZE, 0),
    word(Cmd.BPF_LINK_CREATE, 0),
    {
      ...words(Cmd.BPF_LINK_CREATE, 16), // iter_info
      when: [{ offset: 8, values: one(AttachType.BPF_TRACE_ITER) }],
    },
    word(Cmd.BPF_LINK_UPDATE, 0),
    word(Cmd.BPF_LINK_UPDATE, 4),
    word(Cmd.BPF_LINK_DETACH, 0),
    // A program of the type ext takes the place of a function of another, when it is loaded for
    // that and, whatever the attach type, by a link to a further one.
    ...(replaces
      ? [
          {
            ...word(Cmd.BPF_PROG_LOAD, 112),
            when: [{ offset: 0, values: one(ProgType.BPF_PROG_TYPE_EXT) }],
          },
          word(Cmd.BPF_LINK_CREATE, 4),
        ]
      : []),
  ];
}

function quotaChecks({ quotas }: Policy, kernel: KernelNames): Check[] {
  const create = { command: Cmd.BPF_MAP_CREATE };
  const key = { offset: 4, round: 8 };
  const ofType = (values: readonly Range[]) => ({ when: [{ offset: 0, values }] });
  const counted: readonly (readonly [name: keyof Policy['quotas'], parts: readonly object[]])[] = [
    ['programs', [{ command: Cmd.BPF_PROG_LOAD, constant: 1 }]],
    ['maps', [{ ...create, constant: 1 }]],
    [
      'links',
      [
        { command: Cmd.BPF_LINK_CREATE, constant: 1 },
        { command: Cmd.BPF_RAW_TRACEPOINT_OPEN, constant: 1 },
      ],
    ],
    [
      'map_bytes',
      [
        {
          ...create,
          ...ofType(subtract([[0, MAX_VALUE]], [...perCpuMaps, ...ringBuffers, ...arenas])),
          constant: ENTRY_BYTES,
          terms: [key, { offset: 8, round: 8 }],
          factor: 12,
        },
        {
          ...create,
          ...ofType(perCpuMaps),
          constant: ENTRY_BYTES,
          terms: [key, { offset: 8, round: 8, multiplier: kernel.possibleCpus }],
          factor: 12,
        },
        { ...create, ...ofType(ringBuffers), constant: 0, terms: [{ offset: 12, round: 4096 }] },
        { ...create, ...ofType(arenas), constant: 0, terms: [{ offset: 12, multiplier: 4096 }] },
      ],
    ],
  ];
  return counted.flatMap(([name, parts], counter) => {
    const maximum = quotas[name];
    if (maximum === undefined) return [];
    return parts.map(
      (part) => ({ rule: `quotas.${name}`, kind: 'quota', counter, maximum, ...part }) as Check,
    );
  });
}

/** Turns a policy into the rules that executors apply on this kernel. */
export function compile(policy: Policy, kernel: KernelNames): Rules {
  return {
    commands: policy.commands,
    perfEvents: policy.perf_types.length > 0,
    checks: [
      ...numberChecks(policy),
      ...kfuncChecks(policy, kernel),
      ...perfChecks(policy, kernel),
      ...hookChecks(policy, kernel),
      ...interfaceChecks(policy, kernel),
      ...pinChecks(policy),
      ...foreignChecks(policy),
      ...quotaChecks(policy, kernel),
    ],
    reports,
    keeping: one(Cmd.BPF_OBJ_PIN, Cmd.BPF_PROG_ATTACH),
    opaque,
    readablePaths: policy.readable_paths,
    ioctls: all(policy.perf_types)
      ? perfIoctls
      : perfIoctls.filter(({ request }) => request !== MODIFY_ATTRIBUTES),
    limits: { ...limits, maxEventsPerSecond: policy.quotas.events_per_second ?? 0 },
  };
}
