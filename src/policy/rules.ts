import { Encoder } from '../cbor.js';
import type { SessionLimits } from '../frame/messages.js';
import type { IoctlArgument, IoctlRule } from './ioctls.js';
import { type VocabularyName, vocabularies } from './vocabulary.js';

/** The numbers from the first to the last, both included. */
export type Range = readonly [first: number, last: number];

/**
 * A word of the attribute has one of these values, or the object of its descriptor has one of these
 * types.
 */
export interface When {
  readonly type?: boolean;
  readonly offset: number;
  readonly values: readonly Range[];
}

/** When a word is a descriptor. The mask applies to the 64-bit word at the offset. */
export type Presence =
  | { readonly kind: 'always' | 'nonzero' | 'positive' | 'perhaps' }
  | { readonly kind: 'flag' | 'unless'; readonly offset: number; readonly mask: number };

/** The use that a call makes of an object, and the commands whose results the object may not be. */
export interface Objects {
  readonly use: string;
  readonly provenance: readonly Range[];
}

/** An attribute that a netlink message may have. */
export interface AttributeRule {
  readonly type: number;
  readonly required: boolean;
  readonly form:
    | { readonly is: 'bytes' }
    | { readonly is: 'descriptor'; readonly objects: Objects }
    | { readonly is: 'text'; readonly texts: readonly string[] }
    | { readonly is: 'nested'; readonly attributes: readonly AttributeRule[] };
}

/** A message of netlink(7), and whether a session may send it. */
export interface NetlinkRule {
  readonly name: string;
  readonly allowed: boolean;
  readonly protocol: number;
  readonly type: number;
  /** The first byte behind the message's header. Absent: any. */
  readonly family?: number;
  /** The family of NETLINK_GENERIC whose number is the type of the message, in place of `type`. */
  readonly generic?: string;
}

/** 8-byte records of a pattern behind a pointer. A word gives their number. */
interface Records {
  readonly pointer: number;
  readonly count: number;
  readonly mask: number;
  readonly pattern: number;
}

/** The part of a call's amount that grows with a 32-bit word of the attribute. */
interface Term {
  readonly offset: number;
  /** The word is rounded up to a multiple of this number. */
  readonly round?: number;
  readonly multiplier?: number;
}

/**
 * One requirement for the calls of a command. Offsets are bytes in the attribute. Bytes that the
 * caller did not send read as zero.
 */
export type Check = {
  /** The name of the rule in a refusal, such as `program_types`. */
  readonly rule: string;
  /**
   * A command's number, {@link PERF_EVENT_OPEN}, {@link IOCTLS} plus a request, or {@link NETLINK}
   * plus the index of a message among {@link Rules.netlink}.
   */
  readonly command: number;
  /** The check applies only to calls for which all of these conditions hold. */
  readonly when?: readonly When[];
  /** The vocabulary of the values. */
  readonly vocabulary?: VocabularyName;
} & (
  | {
      readonly kind: 'word';
      readonly offset: number;
      readonly width?: 4 | 8;
      readonly values: readonly Range[];
    }
  /** Every 32-bit word of the buffer behind a pointer. */
  | { readonly kind: 'words'; readonly pointer: number; readonly values: readonly Range[] }
  /** A number in records. */
  | {
      readonly kind: 'records';
      readonly records: Records;
      readonly shift: number;
      readonly bits: number;
      readonly values: readonly Range[];
    }
  /** A text behind a pointer; with `count`, one text behind each pointer of an array. */
  | {
      readonly kind: 'text';
      readonly pointer: number;
      readonly count?: number;
      /** The maximum size in bytes that the kernel reads of one text, with its NUL. */
      readonly maximum: number;
      /** Whether the patterns are paths. A path that ends in `/` includes everything below it. */
      readonly paths: boolean;
      readonly patterns: readonly string[];
    }
  /** A limit on what exists at a time: (constant + terms) × the word at `factor`. */
  | {
      readonly kind: 'quota';
      readonly counter: number;
      readonly maximum: number;
      readonly constant: number;
      readonly terms?: readonly Term[];
      readonly factor?: number;
    }
  /** Probes in files: the allowed places, each with its counter. */
  | {
      readonly kind: 'probes';
      readonly path: number;
      readonly maximum: number;
      /** The offset of their number, if there are several behind pointers. */
      readonly count?: number;
      readonly offset: number;
      readonly counter: number;
      readonly shift: number;
      readonly files: readonly (readonly [
        path: string,
        /** As in {@link KernelNames.fileIdentity}; empty if any file of that path is allowed. */
        identity: string,
        places: readonly { readonly offset: number; readonly counter: number }[],
      ])[];
    }
  /** The index of a network interface that must have one of these names when the call is made. */
  | { readonly kind: 'interface'; readonly offset: number; readonly names: readonly string[] }
  /** The attributes of a netlink message, from an offset on. It may have no others. */
  | {
      readonly kind: 'attributes';
      readonly offset: number;
      readonly attributes: readonly AttributeRule[];
    }
  /** Bytes of the attribute without a known meaning. They must be zero. */
  | { readonly kind: 'rest'; readonly offset: number }
  /** A descriptor in the attribute, or in a structure behind one of its pointers. */
  | {
      readonly kind: 'descriptor';
      readonly pointer?: number;
      readonly offset: number;
      readonly presence: Presence;
      readonly objects: Objects;
    }
  /** Descriptors behind a pointer. A word gives their number. */
  | {
      readonly kind: 'descriptors';
      readonly pointer: number;
      readonly count: number;
      readonly objects: Objects;
    }
  /** A descriptor in each record, at an offset from its start. */
  | {
      readonly kind: 'references';
      readonly records: Records;
      readonly at: number;
      readonly presence: Presence;
      readonly objects: Objects;
    }
  /** A signed index in records, into the descriptors behind a pointer. */
  | {
      readonly kind: 'indices';
      readonly records: Records;
      readonly shift: number;
      readonly bits: number;
      readonly zeroIsNone: boolean;
      readonly array: number;
      readonly objects: Objects;
    }
  /** A descriptor in each key or value of a map of such a type. */
  | {
      readonly kind: 'elements';
      readonly map: number;
      readonly types: readonly Range[];
      readonly pointer: number;
      readonly count?: number;
      readonly keys: boolean;
      readonly at: number;
      /** The bytes from one place in an element to the next one. Absent: there is only one. */
      readonly step?: number;
      readonly presence: Presence;
      readonly objects: Objects;
    }
);

/** A fact about a call for the audit log. Its position is described like that of a check. */
type Fact = {
  readonly label: string;
  readonly vocabulary?: VocabularyName;
} & (
  | { readonly kind: 'word'; readonly offset: number; readonly width?: 4 | 8 }
  | {
      readonly kind: 'records';
      readonly records: Records;
      readonly shift: number;
      readonly bits: number;
    }
  | {
      readonly kind: 'text';
      readonly pointer: number;
      readonly count?: number;
      readonly maximum: number;
    }
  /** A text of fixed size in the attribute itself. */
  | { readonly kind: 'characters'; readonly offset: number; readonly size: number }
);

/** How the audit log describes the calls of a command. */
export interface Report {
  readonly command: number;
  readonly event: string;
  readonly facts: readonly Fact[];
}

/**
 * The part of a policy that the agent applies to the executor process, apart from rules about
 * calls.
 */
export interface Confinement {
  /** The bits of the remaining capabilities. */
  readonly capabilities: bigint;
  /** Whether all of the machine's files are readable, because the policy does not list them. */
  readonly wholeRoot: boolean;
  /** The readable files. A path that ends in `/` includes everything below it. */
  readonly readable: readonly string[];
  /** The files that may be probed. */
  readonly probed: readonly string[];
  /** The folders of bpffs in which objects may be pinned. */
  readonly pins: readonly string[];
  /** The folders of cgroups in which cgroups may be made. */
  readonly cgroups: readonly string[];
  /**
   * The memory limit in bytes of a session's process together with its objects in the kernel; 0 for
   * none.
   */
  readonly memoryBytes: number;
}

/** The last command of bpf(2) that a rule can be about by itself. Newer ones go together. */
export const LAST_COMMAND = 63;

/** The compiled form of a policy: what a session may do, as numbers. */
export interface Rules {
  /** The allowed commands. Those above {@link LAST_COMMAND} are either all allowed or all refused. */
  readonly commands: readonly Range[];
  /**
   * What is known of the calls themselves: the flags that their command numbers may have, and the
   * size in bytes of the second argument. A byte behind that size must be zero.
   */
  readonly known: { readonly flags: number; readonly secondBytes: number };
  /** Whether perf events may be opened, subject to the checks. */
  readonly perfEvents: boolean;
  readonly checks: readonly Check[];
  readonly reports: readonly Report[];
  /** The commands that let objects outlive the handles that they were made with. */
  readonly pins: readonly Range[];
  /**
   * The commands whose attribute points only to bytes: the kernel copies them and follows no
   * address in them. For any other command, a word there that is an address of the executor is
   * refused.
   */
  readonly noPointerScan: readonly Range[];
  /** The commands whose results are refused when the use that a call makes of them is unknown. */
  readonly foreign: readonly Range[];
  /**
   * The absolute paths that may be opened for reading. A path that ends in `/` includes everything
   * below it.
   */
  readonly readablePaths: readonly string[];
  /**
   * The folders of bpf file systems, which end in `/`, and the paths in them that may be made and
   * removed.
   */
  readonly pinPaths: readonly string[];
  /** The folders of cgroups, which end in `/`, in which cgroups may be made and removed. */
  readonly cgroupPaths: readonly string[];
  readonly ioctls: readonly IoctlRule[];
  /** The known messages of netlink(7). All others are refused. */
  readonly netlink: readonly NetlinkRule[];
  /** The limit in bytes of a session's perf buffers at a time; 0 for none. */
  readonly ringBytes: number;
  readonly limits: SessionLimits;
  /**
   * The confinement of the processes that apply the rules. {@link encodeRules} does not encode it.
   */
  readonly confinement: Confinement;
}

/** The largest 32-bit number. */
export const MAX_VALUE = 2 ** 32 - 1;

/**
 * The number of the checks of perf_event_open(2). Those of ioctl(2) requests have numbers from
 * IOCTLS on, and those of netlink messages from NETLINK on.
 */
export const PERF_EVENT_OPEN = 0x10000;
export const IOCTLS = 2 ** 32;
/** The number of the checks of the first netlink message. */
export const NETLINK = 2 ** 33;

const ioctlArguments: readonly IoctlArgument[] = ['number', 'handle', 'buffer'];
const encoder = new Encoder({ useRecords: false });
const kinds = Object.keys(vocabularies) as VocabularyName[];

/** Returns whether a number is in one of the ranges. */
export function contains(ranges: readonly Range[], value: number): boolean {
  return ranges.some(([first, last]) => value >= first && value <= last);
}

/** Returns the fewest ascending ranges that cover these numbers. */
export function rangesOf(numbers: Iterable<number>): Range[] {
  const ranges: [number, number][] = [];
  for (const number of [...new Set(numbers)].sort((a, b) => a - b)) {
    const last = ranges.at(-1);
    if (last !== undefined && last[1] === number - 1) last[1] = number;
    else ranges.push([number, number]);
  }
  return ranges;
}

/** Returns a number in a form that the encoder does not take for a floating-point number. */
const whole = (value: number) => (value > MAX_VALUE ? BigInt(value) : value);

/** Returns the ranges of the numbers that are in `ranges` and not in `fewer`. */
export function subtract(ranges: readonly Range[], fewer: readonly Range[]): Range[] {
  let rest = [...ranges];
  for (const [first, last] of fewer) {
    rest = rest.flatMap((range): Range[] => {
      if (last < range[0] || first > range[1]) return [range];
      const before: Range[] = first > range[0] ? [[range[0], first - 1]] : [];
      return last < range[1] ? [...before, [last + 1, range[1]]] : before;
    });
  }
  return rest;
}

const encodeRecords = ({ pointer, count, mask, pattern }: Records) => [
  pointer,
  count,
  mask,
  pattern,
];
const presences = ['always', 'nonzero', 'flag', 'unless', 'positive', 'perhaps'] as const;
const encodePresence = (presence: Presence) => [
  presences.indexOf(presence.kind),
  ...('mask' in presence ? [presence.offset, presence.mask] : [0, 0]),
];
const encodeObjects = ({ use, provenance }: Objects) => [use, provenance.flat()];
const attributeForms = ['bytes', 'descriptor', 'text', 'nested'] as const;
function encodeAttribute({ type, required, form }: AttributeRule): readonly unknown[] {
  const head = [type, required, attributeForms.indexOf(form.is)];
  if (form.is === 'descriptor') return [...head, encodeObjects(form.objects)];
  if (form.is === 'text') return [...head, form.texts];
  return form.is === 'nested' ? [...head, form.attributes.map(encodeAttribute)] : head;
}
const encodeRanges = (ranges: readonly Range[]) => ranges.flat().map(whole);

/** Returns the items after the head of each kind of check. */
const encodings: {
  readonly [K in Check['kind']]: (check: Extract<Check, { kind: K }>) => readonly unknown[];
} = {
  word: ({ offset, width = 4, values }) => [0, offset, width, encodeRanges(values)],
  words: ({ pointer, values }) => [1, pointer, encodeRanges(values)],
  records: ({ records, shift, bits, values }) => [
    2,
    encodeRecords(records),
    shift,
    2 ** bits - 1,
    encodeRanges(values),
  ],
  text: ({ pointer, count, maximum, paths, patterns }) =>
    count === undefined
      ? [3, pointer, maximum, paths, patterns]
      : [4, pointer, count, maximum, paths, patterns],
  quota: ({ counter, maximum, constant, terms = [], factor = false }) => [
    5,
    counter,
    whole(maximum),
    constant,
    terms.map(({ offset, round = 1, multiplier = 1 }) => [offset, round, multiplier]),
    factor,
  ],
  rest: ({ offset }) => [7, offset],
  interface: ({ offset, names }) => [14, offset, names],
  attributes: ({ offset, attributes }) => [15, offset, attributes.map(encodeAttribute)],
  probes: ({ path, maximum, count = false, offset, counter, shift, files }) => [
    13,
    path,
    maximum,
    count,
    offset,
    counter,
    shift,
    files.map(([file, identity, places]) => [
      file,
      identity,
      places.flatMap((place) => [whole(place.offset), whole(place.counter)]),
    ]),
  ],
  descriptor: ({ pointer = false, offset, presence, objects }) => [
    8,
    pointer,
    offset,
    encodePresence(presence),
    encodeObjects(objects),
  ],
  descriptors: ({ pointer, count, objects }) => [9, pointer, count, encodeObjects(objects)],
  references: ({ records, at, presence, objects }) => [
    10,
    encodeRecords(records),
    at,
    encodePresence(presence),
    encodeObjects(objects),
  ],
  indices: ({ records, shift, bits, zeroIsNone, array, objects }) => [
    11,
    encodeRecords(records),
    shift,
    bits,
    zeroIsNone,
    array,
    encodeObjects(objects),
  ],
  elements: ({ map, types, pointer, count = false, keys, at, step = false, presence, objects }) => [
    12,
    map,
    types.flat(),
    pointer,
    count,
    keys,
    at,
    step,
    encodePresence(presence),
    encodeObjects(objects),
  ],
};

function encodeFact(fact: Fact): readonly unknown[] {
  if (fact.kind === 'characters') return [6, fact.offset, fact.size];
  const nothing = { rule: '', command: 0, values: [], paths: false, patterns: [] };
  const check = { ...nothing, ...fact } as Check;
  return (encodings[check.kind] as (check: Check) => readonly unknown[])(check);
}

const vocabularyIndex = (kind: VocabularyName | undefined) =>
  kind === undefined ? 0 : kinds.indexOf(kind) + 1;

/** Encodes rules as addon/core/executor/rules.h reads them. */
export function encodeRules(rules: Omit<Rules, 'confinement'>): Uint8Array {
  const { limits } = rules;
  let commands = 0n;
  for (let number = 0; number <= LAST_COMMAND; number++) {
    if (contains(rules.commands, number)) commands |= 1n << BigInt(number);
  }
  return encoder.encode([
    commands,
    contains(rules.commands, MAX_VALUE),
    [rules.known.flags, rules.known.secondBytes],
    rules.perfEvents,
    kinds.map((kind) => Array.from(vocabularies[kind].names, (name) => name ?? '')),
    rules.checks.map((check) => [
      check.rule,
      whole(check.command),
      (check.when ?? []).map(({ type = false, offset, values }) => [
        type,
        offset,
        encodeRanges(values),
      ]),
      vocabularyIndex(check.vocabulary),
      ...(encodings[check.kind] as (check: Check) => readonly unknown[])(check),
    ]),
    rules.reports.map(({ command, event, facts }) => [
      whole(command),
      event,
      facts.map((fact) => [fact.label, vocabularyIndex(fact.vocabulary), ...encodeFact(fact)]),
    ]),
    encodeRanges(rules.pins),
    rules.noPointerScan.flat(),
    rules.foreign.flat(),
    rules.readablePaths,
    rules.pinPaths,
    rules.cgroupPaths,
    rules.ioctls.map(({ name, request, argument }) => [
      name,
      request,
      ioctlArguments.indexOf(argument),
    ]),
    rules.netlink.map(({ name, allowed, protocol, type, family = false, generic = '' }) => [
      name,
      allowed,
      protocol,
      type,
      family,
      generic,
    ]),
    [
      limits.maxFrameBytes,
      limits.maxCallBytes,
      limits.maxBuffers,
      limits.maxRelocations,
      limits.maxHandles,
      limits.maxStreams,
      limits.maxEventsPerSecond,
      whole(rules.ringBytes),
    ],
  ]);
}
