import {
  AttachType,
  CallFlag,
  Cmd,
  MapType,
  ObjectFlag,
  PerfIoctl,
  PerfType,
  ProgType,
} from '../bpf/enums.js';
import {
  CODE_MASK,
  type Command,
  commands,
  type Field,
  fieldBytes,
  HELPER_CALL,
  IMMEDIATE_BITS,
  infos,
  KFUNC_CALL,
  knownSources,
  OFFSET_BITS,
  perf,
  rows,
  SOURCE_BITS,
  type Struct,
} from '../bpf/index.js';
import { MAX_FRAME_BYTES } from '../frame/header.js';
import type { SessionLimits } from '../frame/messages.js';
import { cgroupFolders, confinementOf, largestCall } from './confinement.js';
import { descriptorChecks, finding } from './descriptors.js';
import { perfIoctls } from './ioctls.js';
import { netlinkAttaching, netlinkChecks, netlinkRules } from './netlink.js';
import { instructions, offsetIn, textIn, wordIn } from './places.js';
import type { Policy } from './policy.js';
import { reports } from './reports.js';
import {
  type Check,
  MAX_VALUE,
  PERF_EVENT_OPEN,
  type Range,
  type Rules,
  rangesOf,
  subtract,
  type When,
} from './rules.js';
import { numberOf } from './vocabulary.js';

/** A place where a probe can be put. */
export interface ProbePlace {
  /** The offset in the file, in bytes. */
  readonly offset: number;
  /**
   * The offset of the reference counter in the file, which the kernel increments while there is a
   * probe. 0 means none.
   */
  readonly counter: number;
}

/** Facts that only the kernel under the policy knows. */
export interface KernelNames {
  /** The number of possible CPUs of the kernel. */
  readonly possibleCpus: number;
  /**
   * Returns the BTF ids of the kernel's functions with matching names. Empty for a kernel without
   * BTF.
   */
  functions(matches: (name: string) => boolean): readonly number[];
  /** Returns the BTF ids of the targets of tracing programs, by the names of the hooks. */
  hooks(matches: (name: string) => boolean): readonly number[];
  /**
   * Returns the places of a file's symbols with matching names, and of its USDT notes with matching
   * `PROVIDER:NAME`.
   */
  probes(file: string, matches: (name: string) => boolean): readonly ProbePlace[];
  /**
   * Returns the identity of a file. It differs from the identity of another file at the same path,
   * and changes when the file changes. It consists of the device, the inode, the size, and the
   * times of the last change of the contents and of the inode in nanoseconds, joined by dots.
   */
  fileIdentity?(file: string): string;
  /** Returns the ids of the kernel's tracepoints with matching names, in any system. */
  tracepoints(matches: (name: string) => boolean): readonly number[];
  /** Returns the kernel's number for the perf events of a device, or `undefined`. */
  perfType(device: string): number | undefined;
}

/** The limits of a session under every policy, without the rate of events. */
const limits: Omit<SessionLimits, 'maxEventsPerSecond'> = {
  maxFrameBytes: MAX_FRAME_BYTES,
  maxCallBytes: 128 * 1024 * 1024,
  maxBuffers: 256,
  maxRelocations: 1 << 20,
  maxHandles: 4096,
  maxStreams: 64,
};

/** With little memory, the executor's memory for relocations matters as well. */
const few = { maxRelocations: 1 << 14 };

function limitsOf(policy: Policy): SessionLimits {
  const most = largestCall(policy);
  return {
    ...limits,
    ...(most === undefined ? {} : { maxFrameBytes: most, maxCallBytes: most, ...few }),
    maxEventsPerSecond: policy.quotas.events_per_second ?? 0,
  };
}

/** The size in bytes of the longest path that the kernel accepts, with its NUL. */
const PATH_MAX = 4096;
/** The size in bytes of the longest name of a kernel function (KSYM_NAME_LEN), with its NUL. */
const KSYM_NAME_MAX = 512;
/** PERF_UPROBE_REF_CTR_OFFSET_SHIFT of kernel/events/core.c. */
const REF_CTR_OFFSET_SHIFT = 32;
const uprobeTypes = rangesOf([
  AttachType.BPF_TRACE_UPROBE_MULTI,
  AttachType.BPF_TRACE_UPROBE_SESSION,
]);

/** Restricts a check to calls with certain values in a word of a command's shape. */
const whenWord = (
  row: Struct,
  name: string,
  values: readonly Range[],
): { when: readonly When[] } => ({ when: [{ offset: offsetIn(row, name), values }] });

const one = (...numbers: number[]) => rangesOf(numbers);
const all = (patterns: readonly string[]) => patterns.length === 1 && patterns[0] === '*';

/*
 * BPF_MAP_UPDATE_ELEM is not in this list. A value of task storage may have fields with addresses
 * that the kernel follows, and only this command can write such a value. The executor checks the
 * map for this command.
 */
const noPointerScan = one(
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
/** Maps whose entries are allocated later than the map. */
const storages = one(
  MapType.BPF_MAP_TYPE_SK_STORAGE,
  MapType.BPF_MAP_TYPE_INODE_STORAGE,
  MapType.BPF_MAP_TYPE_TASK_STORAGE,
  MapType.BPF_MAP_TYPE_CGRP_STORAGE,
  MapType.BPF_MAP_TYPE_CGROUP_STORAGE,
  MapType.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE,
);
const notByEntry = [...perCpuMaps, ...ringBuffers, ...arenas, ...storages];
/** The assumed number of entries of such a map. */
const STORAGE_ENTRIES = 4096;
/** The pages of a program or a set of types, in addition to the memory that depends on its size. */
const OBJECT_BYTES = 16 * 1024;
/** The bytes of an instruction as it was loaded, as the verifier leaves it, and as machine code. */
const INSTRUCTION_BYTES = 40;
/** The kernel's memory for a line of source, or for a function. */
const LINE_BYTES = 24;
/** The approximate memory of an entry in addition to its key and value. */
const ENTRY_BYTES = 64;

const { PERF_EVENT_ATTR, PERF_EVENT_FLAGS, PerfEventBit } = perf;

/** Returns the command, the offset and the width of a word in a shape. */
const word = (row: (typeof commands)[number], name: string) =>
  ({ command: row.command, kind: 'word', ...wordIn(row, name) }) as const;

/** Returns the checks of sets of numbers: words, or the instructions of a program. */
function numberChecks(policy: Policy): Check[] {
  const { map_types, program_types, attach_types, helpers } = policy;
  const checks: Check[] = [
    {
      rule: 'program_types',
      vocabulary: 'program_types',
      ...word(rows.PROG_LOAD, 'prog_type'),
      values: program_types,
    },
    {
      rule: 'attach_types',
      vocabulary: 'attach_types',
      ...word(rows.PROG_LOAD, 'expected_attach_type'),
      // A program that is not attached by type has zero here.
      values: [[0, 0], ...attach_types],
    },
    {
      rule: 'helpers',
      command: Cmd.BPF_PROG_LOAD,
      vocabulary: 'helpers',
      ...instructions(HELPER_CALL),
      ...IMMEDIATE_BITS,
      values: helpers,
    },
    {
      rule: 'map_types',
      vocabulary: 'map_types',
      ...word(rows.MAP_CREATE, 'map_type'),
      values: map_types,
    },
    {
      rule: 'attach_types',
      vocabulary: 'attach_types',
      ...word(rows.PROG_ATTACH_CGROUP, 'attach_type'),
      values: attach_types,
    },
    {
      rule: 'attach_types',
      vocabulary: 'attach_types',
      ...word(rows.LINK_CREATE_TRACING, 'attach_type'),
      // Probes in files have a rule of their own.
      values: [...attach_types, ...uprobeTypes].sort(([a], [b]) => a - b),
    },
  ];
  return checks.filter(({ rule }) => !isEverything(policy[rule as 'program_types']));
}

/**
 * Returns the checks of unknown words of a command, and of unknown instructions. A policy cannot
 * have a rule about them, and a later kernel may take one for a descriptor.
 */
function unknownChecks({ commands: allowed }: Policy): Check[] {
  const ends = new Map<number, number>();
  for (const { command, fields } of isEverything(allowed) ? [] : commands) {
    ends.set(command, Math.max(ends.get(command) ?? 0, endOf(fields)));
  }
  return [
    ...[...ends].map(
      ([command, offset]): Check => ({ rule: 'commands', command, kind: 'rest', offset }),
    ),
    ...knownSources.map(
      ({ code, last }): Check => ({
        rule: 'descriptors',
        command: Cmd.BPF_PROG_LOAD,
        ...instructions(code, CODE_MASK),
        ...SOURCE_BITS,
        values: [[0, last]],
      }),
    ),
  ];
}

function endOf(fields: Readonly<Record<string, Field>>): number {
  return Math.max(...Object.values(fields).map((one) => one.offset + fieldBytes(one)));
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
    ...instructions(KFUNC_CALL),
  } as const;
  const ids = kfuncs.length === 0 ? [] : kernel.functions((name) => allowed.has(name));
  return [
    // The BTF ids are those of the kernel's own types. With a module's types, they would mean other
    // functions.
    { ...call, ...OFFSET_BITS, values: one(0) },
    { ...call, ...IMMEDIATE_BITS, values: rangesOf(ids) },
  ];
}

/**
 * Returns a function that matches names against globs. A glob with a leading `!` excludes names.
 */
export function globMatcher(globs: readonly string[]): (name: string) => boolean {
  // A kernel has a hundred thousand names, so the expressions are made once.
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

function perfChecks(
  { perf_types, perf_signals, hooks, uprobes }: Policy,
  kernel: KernelNames,
): Check[] {
  const field = (name: keyof typeof PERF_EVENT_ATTR.fields) =>
    ({
      command: PERF_EVENT_OPEN,
      kind: 'word',
      ...wordIn(PERF_EVENT_ATTR, name),
    }) as const;
  const checks: Check[] = [];
  // If the kernel does not report the types of its PMUs, any type without a fixed meaning may be a
  // probe.
  const tellsProbes = kernel.perfType('software') !== undefined;
  if (all(perf_types) && !tellsProbes && !(all(hooks) && all(uprobes))) {
    checks.push({
      ...field('type'),
      rule: 'perf_types',
      vocabulary: 'perf_types',
      values: [[0, PerfType.PERF_TYPE_BREAKPOINT]],
    });
  }
  if (!all(perf_types)) {
    const numbers = perf_types.flatMap(
      (name) => numberOf('perf_types', name) ?? kernel.perfType(name) ?? [],
    );
    checks.push({
      ...field('type'),
      rule: 'perf_types',
      vocabulary: 'perf_types',
      // Probes in files have a rule of their own.
      values: rangesOf([...numbers, ...[kernel.perfType('uprobe') ?? []].flat()]),
    });
  }
  if (!perf_signals) {
    // The bits above `sigtrap` have no meaning yet.
    const offset = PERF_EVENT_FLAGS + 4;
    const values: Range[] = [[0, 2 ** (PerfEventBit.sigtrap - 32) - 1]];
    checks.push({
      command: PERF_EVENT_OPEN,
      kind: 'word',
      rule: 'perf_signals',
      offset,
      width: 4,
      values,
    });
  }
  if (all(hooks)) return checks;
  const ofType = (...types: (number | undefined)[]) => ({
    when: [
      {
        offset: offsetIn(PERF_EVENT_ATTR, 'type'),
        values: rangesOf(types.filter((type) => type !== undefined)),
      },
    ],
  });
  const probes = ofType(kernel.perfType('kprobe'));
  const ids = rangesOf(kernel.tracepoints(globMatcher(hooks)));
  return [
    ...checks,
    {
      ...field('config'),
      ...ofType(numberOf('perf_types', 'tracepoint')),
      rule: 'hooks',
      values: ids,
    },
    // Without a name there is only an address.
    {
      ...field('config1'),
      ...probes,
      rule: 'hooks',
      values: [[1, Number.MAX_SAFE_INTEGER]],
    },
    {
      ...probes,
      command: PERF_EVENT_OPEN,
      rule: 'hooks',
      kind: 'text',
      pointer: offsetIn(PERF_EVENT_ATTR, 'config1'),
      maximum: KSYM_NAME_MAX,
      paths: false,
      patterns: hooks,
    },
    // The length of a function is unknown here.
    {
      ...field('config2'),
      ...probes,
      rule: 'hooks',
      values: one(0),
    },
    // A breakpoint is at an address, and an address has no name.
    {
      ...field('type'),
      rule: 'hooks',
      vocabulary: 'perf_types',
      values: subtract([[0, MAX_VALUE]], one(PerfType.PERF_TYPE_BREAKPOINT)),
    },
  ];
}

/** Returns the checks of probes in files, by file and symbol. */
function uprobeChecks({ uprobes }: Policy, kernel: KernelNames): Check[] {
  if (all(uprobes)) return [];
  const symbols = new Map<string, string[]>();
  for (const uprobe of uprobes) {
    const [file = '', ...symbol] = uprobe.split(':');
    symbols.set(file, [...(symbols.get(file) ?? []), symbol.join(':')]);
  }
  const files = [...symbols].map(
    // The identity is read first, so a change of the file after that is noticed later.
    ([file, globs]) =>
      [file, kernel.fileIdentity?.(file) ?? '', kernel.probes(file, globMatcher(globs))] as const,
  );
  const probes = { rule: 'uprobes', kind: 'probes', maximum: PATH_MAX, files } as const;
  const { LINK_CREATE_UPROBE_MULTI: multi } = rows;
  const types = uprobeTypes.flat();
  const toUprobes = whenWord(multi, 'attach_type', rangesOf(types));
  const uprobe = kernel.perfType('uprobe');
  return [
    ...(uprobe === undefined
      ? []
      : [
          {
            ...probes,
            ...whenWord(PERF_EVENT_ATTR, 'type', one(uprobe)),
            command: PERF_EVENT_OPEN,
            path: offsetIn(PERF_EVENT_ATTR, 'config1'),
            offset: offsetIn(PERF_EVENT_ATTR, 'config2'),
            counter: offsetIn(PERF_EVENT_ATTR, 'config'),
            shift: REF_CTR_OFFSET_SHIFT,
          },
        ]),
    // With BPF_F_UPROBE_MULTI_PATH_FD, a descriptor replaces the path. It has no name.
    { rule: 'uprobes', ...word(multi, 'uprobe_flags'), ...toUprobes, values: [[0, 1]] },
    {
      ...probes,
      ...toUprobes,
      command: Cmd.BPF_LINK_CREATE,
      path: offsetIn(multi, 'path'),
      count: offsetIn(multi, 'cnt'),
      offset: offsetIn(multi, 'offsets'),
      counter: offsetIn(multi, 'ref_ctr_offsets'),
      shift: 0,
    },
  ];
}

function hookChecks({ hooks }: Policy, kernel: KernelNames): Check[] {
  if (all(hooks)) return [];
  const named = { rule: 'hooks', kind: 'text', paths: false, patterns: hooks } as const;
  const to = (row: (typeof commands)[number], ...types: number[]) =>
    whenWord(row, 'attach_type', rangesOf(types));
  const { LINK_CREATE_KPROBE_MULTI, LINK_CREATE_TRACING_MULTI } = rows;
  const toKprobes = to(
    LINK_CREATE_KPROBE_MULTI,
    AttachType.BPF_TRACE_KPROBE_MULTI,
    AttachType.BPF_TRACE_KPROBE_SESSION,
  );
  const ids = rangesOf(kernel.hooks(globMatcher(hooks)));
  const byId = {
    rule: 'hooks',
    ...whenWord(
      rows.PROG_LOAD,
      'prog_type',
      one(ProgType.BPF_PROG_TYPE_TRACING, ProgType.BPF_PROG_TYPE_LSM, ProgType.BPF_PROG_TYPE_EXT),
    ),
  };
  return [
    {
      ...named,
      command: Cmd.BPF_RAW_TRACEPOINT_OPEN,
      ...textIn(rows.RAW_TRACEPOINT_OPEN, 'name'),
    },
    {
      ...named,
      command: Cmd.BPF_LINK_CREATE,
      ...toKprobes,
      ...textIn(LINK_CREATE_KPROBE_MULTI, 'syms'),
      count: offsetIn(LINK_CREATE_KPROBE_MULTI, 'cnt'),
    },
    // Addresses have no names.
    {
      rule: 'hooks',
      ...word(LINK_CREATE_KPROBE_MULTI, 'addrs'),
      ...toKprobes,
      values: one(0),
    },
    {
      rule: 'hooks',
      command: Cmd.BPF_LINK_CREATE,
      ...to(
        LINK_CREATE_TRACING_MULTI,
        AttachType.BPF_TRACE_FENTRY_MULTI,
        AttachType.BPF_TRACE_FEXIT_MULTI,
        AttachType.BPF_TRACE_FSESSION_MULTI,
      ),
      kind: 'words',
      pointer: offsetIn(LINK_CREATE_TRACING_MULTI, 'ids'),
      values: ids,
    },
    { ...word(rows.PROG_LOAD, 'attach_btf_id'), ...byId, values: ids },
    // The ids are those of the kernel's own types, not those of a module or of another program.
    { ...word(rows.PROG_LOAD, 'attach_prog_fd'), ...byId, values: one(0) },
  ];
}

/** A name is checked when a call is made, because interfaces come and go and are renamed. */
function interfaceChecks({ interfaces }: Policy): Check[] {
  if (all(interfaces)) return [];
  const stacked = [
    AttachType.BPF_TCX_INGRESS,
    AttachType.BPF_TCX_EGRESS,
    AttachType.BPF_NETKIT_PRIMARY,
    AttachType.BPF_NETKIT_PEER,
  ];
  const { LINK_CREATE_XDP, PROG_ATTACH_INTERFACE, PROG_DETACH_INTERFACE } = rows;
  return [LINK_CREATE_XDP, PROG_ATTACH_INTERFACE, PROG_DETACH_INTERFACE].map((row) => ({
    rule: 'interfaces',
    command: row.command,
    kind: 'interface',
    ...whenWord(row, 'attach_type', rangesOf([AttachType.BPF_XDP, ...stacked])),
    offset: offsetIn(row, 'target_ifindex'),
    names: interfaces,
  }));
}

/** The folder in which files may be made and removed under a policy that allows any pins. */
const PIN_ROOT = '/sys/fs/bpf/';

function pinChecks({ pin_paths }: Policy): Check[] {
  if (all(pin_paths)) return [];
  return [rows.OBJ_PIN, rows.OBJ_GET].map((row) => ({
    rule: 'pin_paths',
    command: row.command,
    kind: 'text',
    ...textIn(row, 'pathname'),
    paths: true,
    patterns: pin_paths,
  }));
}

/**
 * The attach types for whose targets BPF_PROG_ATTACH and BPF_PROG_DETACH leave the programs of
 * others alone. At a control group or a network namespace, the kernel may replace or detach the
 * program that is there, whichever one the call names: find_attach_entry() and find_detach_entry()
 * in kernel/bpf/cgroup.c, and netns_bpf_prog_attach() in kernel/bpf/net_namespace.c. Links do not.
 */
const beside = rangesOf(
  [rows.PROG_ATTACH_INTERFACE, rows.PROG_ATTACH_SOCKMAP, rows.PROG_ATTACH_LIRC].flatMap(
    ({ when }: Command) => [when ?? {}].flat().flatMap(({ value }) => value?.[1] ?? []),
  ),
);

/**
 * Returns the checks that let a session only read objects of others. It may not change, run or
 * attach them.
 */
function foreignChecks(policy: Policy): Check[] {
  if (policy.foreign_objects === 'use') return [];
  return [
    {
      rule: 'foreign_objects',
      ...word(rows.MAP_GET_FD_BY_ID, 'open_flags'),
      values: one(ObjectFlag.BPF_F_RDONLY),
    },
    // Without a named program, the call would detach any program that is there.
    {
      rule: 'foreign_objects',
      ...word(rows.PROG_DETACH_INTERFACE, 'attach_bpf_fd'),
      values: [[1, MAX_VALUE]],
    },
    ...[rows.PROG_ATTACH_INTERFACE, rows.PROG_DETACH_INTERFACE].map(
      (row): Check => ({
        rule: 'foreign_objects',
        vocabulary: 'attach_types',
        ...word(row, 'attach_type'),
        values: beside,
      }),
    ),
  ];
}

function quotaChecks({ quotas }: Policy, kernel: KernelNames): Check[] {
  const create = { command: Cmd.BPF_MAP_CREATE };
  const term = (name: keyof typeof rows.MAP_CREATE.fields, round = 1, multiplier = 1) => ({
    offset: offsetIn(rows.MAP_CREATE, name),
    round,
    multiplier,
  });
  const factor = offsetIn(rows.MAP_CREATE, 'max_entries');
  const ofType = (values: readonly Range[]) => whenWord(rows.MAP_CREATE, 'map_type', values);
  const counted: readonly (readonly [name: keyof Policy['quotas'], parts: readonly object[]])[] = [
    ['programs', [{ command: Cmd.BPF_PROG_LOAD, constant: 1 }]],
    ['maps', [{ ...create, constant: 1 }]],
    [
      'links',
      [
        { command: Cmd.BPF_LINK_CREATE, constant: 1 },
        { command: Cmd.BPF_RAW_TRACEPOINT_OPEN, constant: 1 },
        ...netlinkAttaching.map((command) => ({ command, constant: 1 })),
      ],
    ],
    [
      'map_bytes',
      [
        {
          ...create,
          ...ofType(subtract([[0, MAX_VALUE]], notByEntry)),
          constant: ENTRY_BYTES,
          terms: [term('key_size', 8), term('value_size', 8)],
          factor,
        },
        // The number of these entries is unknown: there is one for each task, file, socket or
        // cgroup that a program meets.
        {
          ...create,
          ...ofType(storages),
          constant: STORAGE_ENTRIES * ENTRY_BYTES,
          terms: [term('value_size', 8, STORAGE_ENTRIES)],
        },
        {
          ...create,
          ...ofType(subtract(perCpuMaps, storages)),
          constant: ENTRY_BYTES,
          terms: [term('key_size', 8), term('value_size', 8, kernel.possibleCpus)],
          factor,
        },
        { ...create, ...ofType(ringBuffers), constant: 0, terms: [term('max_entries', 4096)] },
        { ...create, ...ofType(arenas), constant: 0, terms: [term('max_entries', 1, 4096)] },
        {
          command: Cmd.BPF_PROG_LOAD,
          constant: OBJECT_BYTES,
          terms: [
            { offset: offsetIn(rows.PROG_LOAD, 'insn_cnt'), multiplier: INSTRUCTION_BYTES },
            { offset: offsetIn(rows.PROG_LOAD, 'line_info_cnt'), multiplier: LINE_BYTES },
            { offset: offsetIn(rows.PROG_LOAD, 'func_info_cnt'), multiplier: LINE_BYTES },
          ],
        },
        {
          command: Cmd.BPF_BTF_LOAD,
          constant: OBJECT_BYTES,
          terms: [{ offset: offsetIn(rows.BTF_LOAD, 'btf_size'), multiplier: 2 }],
        },
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

/** Compiles a policy to the rules that executors apply on this kernel. */
export function compile(policy: Policy, kernel: KernelNames): Rules {
  return {
    commands: policy.commands,
    known: isEverything(policy.commands)
      ? { flags: MAX_VALUE, secondBytes: MAX_VALUE }
      : { flags: CallFlag.BPF_COMMON_ATTRS, secondBytes: endOf(infos.COMMON_ATTR.fields) },
    perfEvents: policy.perf_types.length + policy.uprobes.length > 0,
    checks: [
      ...uprobeChecks(policy, kernel),
      ...numberChecks(policy),
      ...kfuncChecks(policy, kernel),
      ...perfChecks(policy, kernel),
      ...hookChecks(policy, kernel),
      ...interfaceChecks(policy),
      ...netlinkChecks(policy),
      ...pinChecks(policy),
      ...foreignChecks(policy),
      ...unknownChecks(policy),
      ...descriptorChecks(policy),
      ...quotaChecks(policy, kernel),
    ],
    reports,
    pins: one(Cmd.BPF_OBJ_PIN, Cmd.BPF_PROG_ATTACH, ...netlinkAttaching),
    noPointerScan,
    foreign: policy.foreign_objects === 'use' ? [] : finding,
    readablePaths: policy.readable_paths,
    pinPaths: all(policy.pin_paths) ? [PIN_ROOT] : policy.pin_paths,
    cgroupPaths: cgroupFolders(policy),
    ioctls: all(policy.perf_types)
      ? perfIoctls
      : perfIoctls.filter(({ request }) => request !== PerfIoctl.PERF_EVENT_IOC_MODIFY_ATTRIBUTES),
    netlink: netlinkRules(policy),
    ringBytes: policy.quotas.map_bytes ?? 0,
    limits: limitsOf(policy),
    confinement: confinementOf(policy),
  };
}
