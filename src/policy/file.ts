import { isMap, isScalar, isSeq, LineCounter, type Node, parseDocument, visit } from 'yaml';
import { netlink } from '../bpf/index.js';
import { failure, type WaepError } from '../errors.js';
import { nearest } from '../nearest.js';
import type { Policy } from './policy.js';
import { profiles } from './profiles.js';
import { LAST_COMMAND, MAX_VALUE, type Range, subtract } from './rules.js';
import { numberOf, type VocabularyName, vocabularies } from './vocabulary.js';

/** The place of a rule in a policy's file, counted from 1. */
interface Place {
  readonly line: number;
  readonly column: number;
}

/** The contents of a policy's file. */
export interface PolicyFile {
  readonly file: string;
  readonly policy: Policy;
  /** The profile that the file starts from. */
  readonly base: string;
  /** The places of the rules that the file itself has. */
  readonly places: ReadonlyMap<string, Place>;
  /** The problems of the file. The policy is usable only if there are none. */
  readonly problems: readonly WaepError<'ERR_POLICY_FILE'>[];
}

/** The size limit of a policy's file. People write such files by hand. */
const MAX_FILE_BYTES = 1024 * 1024;

/** The state of reading a file. */
class Reader {
  readonly problems: WaepError<'ERR_POLICY_FILE'>[] = [];
  readonly places = new Map<string, Place>();
  readonly #file: string;
  readonly #lines: LineCounter;

  constructor(file: string, lines: LineCounter) {
    this.#file = file;
    this.#lines = lines;
  }

  at(offset: number): Place {
    const { line, col } = this.#lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  }

  place(node: unknown): Place {
    return this.at((node as Node | null)?.range?.[0] ?? 0);
  }

  wrong(place: Place, value: string, expected: string, cure: string): undefined {
    const { line, column } = place;
    this.problems.push(
      failure('ERR_POLICY_FILE', { file: this.#file, line, column, value, expected, cure }),
    );
    return undefined;
  }

  /** Returns the members of a map. Reports unknown names. */
  members(node: unknown, known: readonly string[], what: string): Map<string, Node | null> {
    const found = new Map<string, Node | null>();
    if (!isMap(node)) {
      this.wrong(this.place(node), shown(node), `a mapping for ${what}`, `Write ${known[0]}: ….`);
      return found;
    }
    for (const { key, value } of node.items) {
      const name = isScalar(key) ? String(key.value) : '';
      if (known.includes(name)) found.set(name, value as Node | null);
      else {
        const expected = `one of the keys ${known.join(', ')}`;
        this.wrong(this.place(key), name, expected, suggestion(name, known));
      }
    }
    return found;
  }

  /** Returns the texts of a sequence, each with its place. */
  texts(node: unknown, what: string): { text: string; place: Place }[] {
    if (!isSeq(node)) {
      const given = shown(node);
      this.wrong(this.place(node), given, `a list of ${what}s`, `Write it as [${given}].`);
      return [];
    }
    return node.items.flatMap((item) => {
      if (isScalar(item) && item.value !== null) {
        return [{ text: String(item.value), place: this.place(item) }];
      }
      this.wrong(this.place(item), shown(item), `the name of a ${what}`, 'Write a name.');
      return [];
    });
  }

  one<T extends string>(node: unknown, choices: readonly T[]): T | undefined {
    const text = isScalar(node) ? String(node.value) : shown(node);
    const found = choices.find((choice) => choice === text);
    if (found !== undefined) return found;
    const expected = `one of ${choices.join(', ')}`;
    return this.wrong(this.place(node), text, expected, suggestion(text, choices));
  }
}

function shown(node: unknown): string {
  if (node === null || node === undefined) return 'nothing';
  if (isScalar(node)) return node.value === null ? 'nothing' : String(node.value);
  return isMap(node) ? 'a mapping' : 'a list';
}

function suggestion(name: string, known: readonly string[]): string {
  const found = nearest(name, known);
  return found === undefined ? `Choose one of them.` : `Did you mean ${found}?`;
}

/**
 * Reads a set: a list, `any`, `none`, or a mapping with `only`, or with `allow` and `deny` relative
 * to the profile.
 */
interface SetReader<T> {
  /** Returns the element for a name in the list. */
  element(reader: Reader, text: string, place: Place): T | undefined;
  readonly what: string;
  readonly any: readonly T[];
  join(base: readonly T[], more: readonly T[]): readonly T[];
  without(base: readonly T[], fewer: readonly T[]): readonly T[];
}

function readSet<T>(reader: Reader, node: unknown, base: readonly T[], how: SetReader<T>) {
  const list = (of: unknown): T[] =>
    reader.texts(of, how.what).flatMap(({ text, place }) => {
      const element = how.element(reader, text, place);
      // An element may be a tuple, which must not be flattened.
      return element === undefined ? [] : [element];
    });
  if (isScalar(node)) {
    const word = reader.one(node, ['any', 'none']);
    return word === 'any' ? how.any : [];
  }
  if (!isMap(node)) return how.join([], list(node));
  const members = reader.members(node, ['only', 'allow', 'deny'], `a set of ${how.what}s`);
  const start = members.has('only') ? how.join([], list(members.get('only'))) : base;
  const wider = members.has('allow') ? how.join(start, list(members.get('allow'))) : start;
  return members.has('deny') ? how.without(wider, list(members.get('deny'))) : wider;
}

function numbers(kind: VocabularyName, last = MAX_VALUE): SetReader<Range> {
  const { one, names } = vocabularies[kind];
  const known = names.filter((name) => name !== undefined);
  return {
    what: one,
    any: [[0, MAX_VALUE]],
    element(reader, text, place) {
      const number = numberOf(kind, text);
      if (number !== undefined && number <= last) return [number, number];
      if (number !== undefined && last < MAX_VALUE) {
        const cure = 'Larger numbers are allowed all together, by the word any, or not at all.';
        return reader.wrong(place, text, `a number of ${last} at most for a ${one}`, cure);
      }
      const expected = `the name or the number of a ${one}`;
      return reader.wrong(place, text, expected, suggestion(text, known));
    },
    join: (base, more) => rangesOfRanges([...base, ...more]),
    without: subtract,
  };
}

function rangesOfRanges(ranges: readonly Range[]): readonly Range[] {
  const joined: [number, number][] = [];
  for (const [first, last] of [...ranges].sort((a, b) => a[0] - b[0])) {
    const before = joined.at(-1);
    if (before !== undefined && first <= before[1] + 1) before[1] = Math.max(before[1], last);
    else joined.push([first, last]);
  }
  return joined;
}

function words(what: string, expected: string, valid: RegExp, cure: string): SetReader<string> {
  const plain = (patterns: readonly string[]) => patterns.filter((pattern) => pattern !== '*');
  return {
    what,
    any: ['*'],
    element: (reader, text, place) =>
      valid.test(text) ? text : reader.wrong(place, text, expected, cure),
    join: (base, more) => (base.includes('*') ? base : [...new Set([...base, ...more])]),
    without: (base, fewer) => plain(base).filter((one) => !fewer.includes(one)),
  };
}

const globs = words(
  'hook',
  'a name with the wildcards * and ?',
  /^!?[\w.:*?/-]+$/,
  'Write a glob such as "sched_*".',
);
const hooks: SetReader<string> = {
  ...globs,
  element(reader, text, place) {
    const [, excluded, category, name] = /^(!?)([^:]+):(.+)$/.exec(text) ?? [];
    if (category === undefined) return globs.element(reader, text, place);
    // Tools write the category as well. A rule sees only the name, so such an entry would match
    // nothing.
    const expected = 'the name of a hook without the category of tracepoints before it';
    const cure = `Write "${excluded}${name}", which means that name in every category.`;
    return reader.wrong(place, text, expected, cure);
  },
  join: (base, more) => [...new Set([...base, ...more])],
  without: (base, fewer) => [...base, ...fewer.map((glob) => `!${glob}`)],
};

const path = /^(?!.*\/\.\.?(\/|$))\/[^\0]*$/s;
const folder = /^(?!.*\/\.\.?\/)\/[^\0]*\/$/s;
const pathCure = 'Write a path from the root, with a / at its end for a folder.';

/** The reader of each key of a policy whose value is a set. */
const sets: Readonly<Record<string, SetReader<Range> | SetReader<string>>> = {
  commands: numbers('commands', LAST_COMMAND),
  map_types: numbers('map_types'),
  program_types: numbers('program_types'),
  attach_types: numbers('attach_types'),
  helpers: numbers('helpers'),
  kfuncs: words(
    'kernel function',
    'the name of a kernel function',
    /^\w+$/,
    'Write its name as the C source has it.',
  ),
  perf_types: words(
    'perf event type',
    'a type of perf events, a device of /sys/bus/event_source/devices, or a number',
    /^[\w.-]+$/,
    'Write a name such as software, tracepoint or kprobe.',
  ),
  hooks,
  uprobes: words(
    'place to probe',
    'a file and a symbol of it, such as /usr/bin/bash:readline, or /lib/libc.so.6:libc:setjmp',
    /^(?![^:]*\/\.\.?(\/|:))\/[^\0:]*(:[\w.$@*?-]+){1,2}$/,
    'Write FILE:SYMBOL, or FILE:PROVIDER:NAME for a probe of USDT.',
  ),
  interfaces: words(
    'interface',
    "an interface's name",
    /^[^/\s]{1,15}$/,
    'Write a name as ip(8) lists it.',
  ),
  netlink: words(
    'kind of netlink messages',
    `one of ${netlink.netlinkKinds.join(', ')}`,
    new RegExp(`^(${netlink.netlinkKinds.join('|')})$`),
    'Write one of these names.',
  ),
  pin_paths: words('folder', 'a folder for pins', folder, pathCure),
  cgroup_paths: words('folder', 'a folder of cgroups', folder, pathCure),
  readable_paths: words('path', 'an absolute path without . and ..', path, pathCure),
};

const units: Readonly<Record<string, number>> = { '': 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };

function readAmount(reader: Reader, node: unknown, unit: string): number | undefined {
  const text = isScalar(node) ? String(node.value) : shown(node);
  if (text === 'any') return undefined;
  const bytes = unit === 'bytes';
  const [, digits, suffix = ''] = /^(\d{1,15}) ?(\wiB)?$/.exec(text) ?? [];
  const factor = units[suffix];
  if (digits !== undefined && factor !== undefined && (bytes || suffix === '')) {
    return Number(digits) * factor;
  }
  const expected = bytes
    ? 'a number of bytes such as 64 MiB, or any'
    : `a whole number of ${unit}, or any`;
  return reader.wrong(
    reader.place(node),
    text,
    expected,
    'Write digits, and KiB, MiB or GiB after bytes.',
  );
}

/** The agent counts milliseconds in 32 bits. */
const MAX_LEASE_SECONDS = 4_000_000;

/** The limit of addon/core/executor/rules.cc. No session reaches a higher rate. */
const MAX_EVENTS_PER_SECOND = 2 ** 30;

const quotaUnits = {
  programs: 'programs',
  maps: 'maps',
  links: 'links',
  map_bytes: 'bytes',
  events_per_second: 'events a second',
};

/** Reads a rate. 0 is refused: an owner who wants no events allows no maps that carry events. */
function readRate(reader: Reader, node: unknown, unit: string): number | undefined {
  const rate = readAmount(reader, node, unit);
  if (rate === undefined || (rate > 0 && rate <= MAX_EVENTS_PER_SECOND)) return rate;
  return reader.wrong(
    reader.place(node),
    `${rate}`,
    `a number from 1 to ${MAX_EVENTS_PER_SECOND} of ${unit}, or any`,
    'To have no events at all, deny the map types ringbuf and perf_event_array.',
  );
}

/** The executor itself uses part of this memory. */
const LEAST_MAP_BYTES = 4 * 2 ** 20;

function readMapBytes(reader: Reader, node: unknown, unit: string): number | undefined {
  const bytes = readAmount(reader, node, unit);
  if (bytes === undefined || bytes >= LEAST_MAP_BYTES) return bytes;
  return reader.wrong(
    reader.place(node),
    `${bytes}`,
    'at least 4 MiB, or any',
    'The process that serves a session takes part of it. To have no maps, allow no map types.',
  );
}

const quotaReaders: { readonly [K in keyof typeof quotaUnits]?: typeof readAmount } = {
  events_per_second: readRate,
  map_bytes: readMapBytes,
};

/** The readers of the other keys. Each reads into the policy's key of the same name. */
const others: {
  readonly [K in keyof Policy]?: (reader: Reader, node: Node | null, base: Policy) => Policy[K];
} = {
  foreign_objects: (reader, node, base) =>
    reader.one(node, ['inspect', 'use']) ?? base.foreign_objects,
  perf_signals: (reader, node) => reader.one(node, ['true', 'false']) === 'true',
  quotas(reader, node, base) {
    const quotas = { ...base.quotas };
    const members = reader.members(node, Object.keys(quotaUnits), 'quotas');
    for (const [name, value] of members) {
      const key = name as keyof typeof quotaUnits;
      const read = quotaReaders[key] ?? readAmount;
      quotas[key] = read(reader, value, quotaUnits[key]);
    }
    return quotas;
  },
  leases(reader, node, base) {
    const members = reader.members(node, ['max_seconds'], 'leases');
    if (!members.has('max_seconds')) return base.leases;
    const seconds = readAmount(reader, members.get('max_seconds'), 'seconds');
    return { max_seconds: Math.min(seconds ?? MAX_LEASE_SECONDS, MAX_LEASE_SECONDS) };
  },
  accept(reader, node, base) {
    const accept = { ...base.accept };
    const members = reader.members(node, ['cids', 'source_ports', 'subjects'], 'who may connect');
    if (members.has('cids')) {
      accept.cids = reader.texts(members.get('cids'), 'CID').flatMap(({ text, place }) => {
        if (/^\d{1,10}$/.test(text) && Number(text) <= MAX_VALUE) return [Number(text)];
        reader.wrong(place, text, 'the number of a vsock context', 'The host is 2.');
        return [];
      });
    }
    if (members.has('source_ports')) {
      const choice = reader.one(members.get('source_ports'), ['privileged', 'any']);
      accept.source_ports = choice ?? base.accept.source_ports;
    }
    if (members.has('subjects')) {
      accept.subjects = reader
        .texts(members.get('subjects'), 'common name of a certificate')
        .map(({ text }) => text);
    }
    return accept;
  },
};

const keys = ['profile', 'name', ...Object.keys(sets), ...Object.keys(others)];

/**
 * Reads a policy's file, which is YAML. The file names the profile that it starts from, and its
 * changes.
 *
 * Never throws. Each problem is in `problems`, with its line and a cure.
 */
export function readPolicyFile(text: string, file: string): PolicyFile {
  const lines = new LineCounter();
  const reader = new Reader(file, lines);
  const start = { line: 1, column: 1 };
  let policy: Policy = profiles.observe;
  let base = policy.name;
  const result = () => {
    const { places, problems } = reader;
    problems.sort(({ detail: a }, { detail: b }) => a.line - b.line || a.column - b.column);
    return { file, policy, base, places, problems };
  };
  if (text.length > MAX_FILE_BYTES) {
    const cure = 'Name what is allowed by patterns and types.';
    reader.wrong(start, `a file of ${text.length} bytes`, `at most ${MAX_FILE_BYTES}`, cure);
    return result();
  }
  // Aliases would let a small file expand to a huge one.
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  for (const { pos, message } of document.errors) {
    reader.wrong(reader.at(pos[0]), message, 'YAML', 'Mend the syntax.');
  }
  visit(document, {
    Alias: (_, alias) => {
      const cure = 'Write there what it stands for.';
      reader.wrong(reader.place(alias), `the alias *${alias.source}`, 'no alias of YAML', cure);
    },
  });
  if (reader.problems.length > 0) return result();
  if (document.contents === null) {
    reader.wrong(start, 'an empty file', 'a policy', 'Write "profile: observe" at least.');
    return result();
  }
  const members = reader.members(document.contents, keys, 'the policy');
  if (members.has('profile')) {
    const name = reader.one(
      members.get('profile'),
      Object.keys(profiles) as (keyof typeof profiles)[],
    );
    if (name !== undefined) policy = profiles[name];
  }
  base = policy.name;
  const named = members.get('name');
  const changes: Record<string, unknown> = {
    name: isScalar(named) ? String(named.value) : `${base} with changes`,
  };
  for (const [key, node] of members) {
    reader.places.set(key, reader.place(node));
    const set = sets[key] as SetReader<unknown> | undefined;
    const other = others[key as keyof Policy];
    const before = policy[key as keyof Policy] as readonly unknown[];
    if (set !== undefined) changes[key] = readSet(reader, node, before, set);
    else if (other !== undefined) changes[key] = other(reader, node, policy);
  }
  policy = { ...policy, ...changes };
  return result();
}

/**
 * Reads a policy's file.
 *
 * @throws ERR_POLICY_FILE for the first problem in the file
 */
export function parsePolicy(text: string, file: string): Policy {
  const { policy, problems } = readPolicyFile(text, file);
  if (problems[0] !== undefined) throw problems[0];
  return policy;
}
