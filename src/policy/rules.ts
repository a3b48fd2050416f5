import { Encoder } from '../cbor.js';
import type { SessionLimits } from '../frame/messages.js';
import type { IoctlArgument, IoctlRule } from './ioctls.js';
import { type VocabularyName, vocabularies } from './vocabulary.js';

/** Numbers from the first to the last, both included. */
export type Range = readonly [first: number, last: number];

/** A word of the attribute, or the type of the object whose descriptor it is, has such a value. */
export interface When {
  readonly type?: boolean;
  readonly offset: number;
  readonly values: readonly Range[];
}

/** When a word is a descriptor; the mask is of the 64-bit word at the offset. */
export type Presence =
  | { readonly kind: 'always' | 'nonzero' | 'positive' | 'perhaps' }
  | { readonly kind: 'flag' | 'unless'; readonly offset: number; readonly mask: number };

/** What a call does with an object, and of which commands' results it may not be. */
export interface Objects {
  readonly use: string;
  readonly provenance: readonly Range[];
}

/** 8-byte records behind a pointer, as many as a word says, of a pattern. */
export interface Records {
  readonly pointer: number;
  readonly count: number;
  readonly mask: number;
  readonly pattern: number;
}

/** The part of a call's amount that grows with a 32-bit word of the attribute. */
export interface Term {
  readonly offset: number;
  /** The word is rounded up to a multiple of this. */
  readonly round?: number;
  readonly multiplier?: number;
}

/**
 * One thing that the calls of a command must satisfy. Offsets are of bytes in the attribute; bytes
 * that the caller did not send read as zero.
 */
export type Check = {
  /** What a refusal calls it, such as `program_types`. */
  readonly rule: string;
  /** A command's number, {@link PERF_EVENT_OPEN}, or {@link IOCTLS} plus a request. */
  readonly command: number;
  /** For calls of which all of this holds only. */
  readonly when?: readonly When[];
  /** What the values are called. */
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
  /** A number inside of records. */
  | {
      readonly kind: 'records';
      readonly records: Records;
      readonly shift: number;
      readonly bits: number;
      readonly values: readonly Range[];
    }
  /** A text behind a pointer, or with `count` one behind each pointer of an array. */
  | {
      readonly kind: 'text';
      readonly pointer: number;
      readonly count?: number;
      /** The bytes that the kernel reads of one at most, its NUL included. */
      readonly maximum: number;
      /** Whether the patterns are paths, of which those that end in `/` stand for what is below. */
      readonly paths: boolean;
      readonly patterns: readonly string[];
    }
  /** A bound on what exists at a time: (constant + terms) × the word at `factor`. */
  | {
      readonly kind: 'quota';
      readonly counter: number;
      readonly maximum: number;
      readonly constant: number;
      readonly terms?: readonly Term[];
      readonly factor?: number;
    }
  /** Probes in files: which places, and which counters with them. */
  | {
      readonly kind: 'probes';
      readonly path: number;
      readonly maximum: number;
      /** Where their number is, for several behind pointers. */
      readonly count?: number;
      readonly offset: number;
      readonly counter: number;
      readonly shift: number;
      readonly files: readonly (readonly [
        path: string,
        /** As {@link KernelNames.fileIdentity}; empty where any file of that path will do. */
        identity: string,
        places: readonly { readonly offset: number; readonly counter: number }[],
      ])[];
    }
  /** The index of a network interface, which has one of these names when the call is made. */
  | { readonly kind: 'interface'; readonly offset: number; readonly names: readonly string[] }
  /** Bytes of the attribute of which nothing is known: they must be zero. */
  | { readonly kind: 'rest'; readonly offset: number }
  /** A descriptor in the attribute, or in the structure behind a pointer of it. */
  | {
      readonly kind: 'descriptor';
      readonly pointer?: number;
      readonly offset: number;
      readonly presence: Presence;
      readonly objects: Objects;
    }
  /** As many descriptors behind a pointer as a word says. */
  | {
      readonly kind: 'descriptors';
      readonly pointer: number;
      readonly count: number;
      readonly objects: Objects;
    }
  /** A descriptor in records, so many bytes from the start of each. */
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
      readonly presence: Presence;
      readonly objects: Objects;
    }
);

/** Something to tell of a call, found where checks find what they are about. */
export type Fact = {
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
  /** A text of so many bytes in the attribute itself. */
  | { readonly kind: 'characters'; readonly offset: number; readonly size: number }
);

/** How the calls of a command are told in the audit log. */
export interface Report {
  readonly command: number;
  readonly event: string;
  readonly facts: readonly Fact[];
}

/** A policy as the keeper of an agent's executors enforces it, beside the rules about calls. */
export interface Confinement {
  /** The bits of the capabilities that are left. */
  readonly capabilities: bigint;
  /** Whether all of the machine's files are there, to read only, for want of a list. */
  readonly wholeRoot: boolean;
  /** The files that are there to read; one that ends in `/` stands for what is below. */
  readonly readable: readonly string[];
  /** The files that are there to be probed. */
  readonly probed: readonly string[];
  /** The folders of bpffs in which objects may be pinned. */
  readonly pins: readonly string[];
  /** The bytes of memory that a session's process and its objects in the kernel share; 0 for any. */
  readonly memoryBytes: number;
}

/** What a session may do, as numbers: what a policy comes down to. */
export interface Rules {
  /** Allowed commands; those above 63 are all allowed or none. */
  readonly commands: readonly Range[];
  /** Whether perf events may be opened, subject to the checks. */
  readonly perfEvents: boolean;
  readonly checks: readonly Check[];
  readonly reports: readonly Report[];
  /** Commands that let objects live longer than the handles that they were made with. */
  readonly pins: readonly Range[];
  /**
   * Commands for which all that the attribute points to is bytes: the kernel copies it and follows
   * no address in it. Of other commands, a word there that is an address of the executor is refused.
   */
  readonly noPointerScan: readonly Range[];
  /** Commands whose results are refused where it is not known what a call does with them. */
  readonly foreign: readonly Range[];
  /** Absolute paths that may be opened for reading; one that ends in `/` stands for what is below. */
  readonly readablePaths: readonly string[];
  /** Folders of bpf file systems, which end in `/`, and paths in them that may be made and removed. */
  readonly pinPaths: readonly string[];
  readonly ioctls: readonly IoctlRule[];
  /** The bytes of perf buffers that a session may have at a time; 0 for any number. */
  readonly ringBytes: number;
  readonly limits: SessionLimits;
  /** What is left to the processes that apply all this. It is none of what {@link encodeRules} encodes. */
  readonly confinement: Confinement;
}

/** The largest 32-bit number. */
export const MAX_VALUE = 2 ** 32 - 1;

/** Where checks of perf_event_open(2) are, and from where on those of ioctl(2) requests. */
export const PERF_EVENT_OPEN = 0x10000;
export const IOCTLS = 2 ** 32;

const ioctlArguments: readonly IoctlArgument[] = ['number', 'handle', 'buffer'];
const encoder = new Encoder({ useRecords: false });
const kinds = Object.keys(vocabularies) as VocabularyName[];

/** Whether a number is in one of the ranges. */
export function contains(ranges: readonly Range[], value: number): boolean {
  return ranges.some(([first, last]) => value >= first && value <= last);
}

/** The fewest ascending ranges that cover these numbers. */
export function rangesOf(numbers: Iterable<number>): Range[] {
  const ranges: [number, number][] = [];
  for (const number of [...new Set(numbers)].sort((a, b) => a - b)) {
    const last = ranges.at(-1);
    if (last !== undefined && last[1] === number - 1) last[1] = number;
    else ranges.push([number, number]);
  }
  return ranges;
}

/** A number that the encoder does not take for a floating-point one. */
const whole = (value: number) => (value > MAX_VALUE ? BigInt(value) : value);

/** The ranges of what is in `ranges` and in none of `fewer`. */
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
const encodeRanges = (ranges: readonly Range[]) => ranges.flat().map(whole);

/** What follows the head of each kind of check. */
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
  elements: ({ map, types, pointer, count = false, keys, at, presence, objects }) => [
    12,
    map,
    types.flat(),
    pointer,
    count,
    keys,
    at,
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
  for (let number = 0; number < 64; number++) {
    if (contains(rules.commands, number)) commands |= 1n << BigInt(number);
  }
  return encoder.encode([
    commands,
    contains(rules.commands, MAX_VALUE),
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
    rules.pins.flat(),
    rules.noPointerScan.flat(),
    rules.foreign.flat(),
    rules.readablePaths,
    rules.pinPaths,
    rules.ioctls.map(({ name, request, argument }) => [
      name,
      request,
      ioctlArguments.indexOf(argument),
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
