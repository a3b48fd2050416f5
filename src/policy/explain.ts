import { AttachType, Cmd } from '../bpf/enums.js';
import { type Command, HELPER_CALL, KFUNC_CALL, netlink, perf, rows } from '../bpf/index.js';
import { FileOperation, Relocation } from '../call.js';
import { failure, type WaepError } from '../errors.js';
import { FrameType, HEADER_BYTES, messageFrame, parseError, parseHeader } from '../frame/index.js';
import { native } from '../native.js';
import { nearest } from '../nearest.js';
import { compile, type KernelNames } from './compile.js';
import { originOf } from './describe.js';
import type { PolicyFile } from './file.js';
import type { ObjectProgram } from './object.js';
import { offsetIn } from './places.js';
import type { Policy } from './policy.js';
import { profiles } from './profiles.js';
import { encodeRules, PERF_EVENT_OPEN } from './rules.js';
import { numberOf, type VocabularyName, vocabularies } from './vocabulary.js';

/** The policy's decision about one thing. */
export interface Verdict {
  /** The thing in question, such as `helper bpf_send_signal`. */
  what: string;
  allowed: boolean;
  /** The rule that decides. */
  rule: string;
  /** Where the rule was written: `file:line`, or the profile's name. */
  from: string;
}

/** Returns the number of a name. Throws if the kernel's interface does not have the name. */
function numberNamed(kind: VocabularyName, name: string): number {
  const number = numberOf(kind, name);
  if (number !== undefined) return number;
  const { one, names } = vocabularies[kind];
  const known = names.filter((known) => known !== undefined);
  const meant = nearest(name, known);
  const expected = `the name or the number of a ${one}${meant === undefined ? '' : ` (did you mean ${meant}?)`}`;
  throw failure('ERR_OPTION_INVALID', { option: one, value: name, expected });
}

/** Returns a kernel that has the thing in question, with the number 1. */
const kernelOf = (name: string): KernelNames => {
  const ids = (matches: (name: string) => boolean) => (matches(name) ? [1] : []);
  return {
    possibleCpus: 1,
    functions: ids,
    hooks: ids,
    tracepoints: ids,
    probes: (file, matches) =>
      name.startsWith(`${file}:`) && matches(name.slice(file.length + 1))
        ? [{ offset: 1, counter: 0 }]
        : [],
    perfType: (device) =>
      device === name ? ASKED_TYPE : device === 'uprobe' ? UPROBE_TYPE : OTHER_TYPE,
  };
};
const ASKED_INTERFACE = 1;
// No type of perf events with a fixed number is as high.
const ASKED_TYPE = 1000;
const UPROBE_TYPE = 1001;
const OTHER_TYPE = 1002;

/** Returns a call with such words in its attribute. Bytes are put behind a pointer. */
function call(command: number, words: Readonly<Record<number, number | Uint8Array>>): Uint8Array {
  const attribute = Buffer.alloc(ATTRIBUTE_BYTES);
  const buffers: Uint8Array[] = [attribute];
  const relocations: number[] = [];
  for (const [offset, value] of Object.entries(words)) {
    if (typeof value === 'number') attribute.writeUInt32LE(value, Number(offset));
    else {
      relocations.push(0, Number(offset), Relocation.POINTER, buffers.length);
      buffers.push(value);
    }
  }
  if (command === PERF_EVENT_OPEN) {
    attribute.writeUInt32LE(ATTRIBUTE_BYTES, offsetIn(perf.PERF_EVENT_ATTR, 'size'));
    return messageFrame(FrameType.PERF_OPEN, 0, [1, -1, 0, 0, 0, buffers, relocations]);
  }
  return messageFrame(FrameType.CALL, 0, [command, 1, 0, buffers, relocations]);
}
const ATTRIBUTE_BYTES = 128;

const text = (value: string) => Buffer.from(`${value}\0`);

/** Returns a program of one instruction. */
function program(operation: number, immediate: number): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt16LE(operation, 0);
  bytes.writeUInt32LE(immediate >>> 0, 4);
  return call(Cmd.BPF_PROG_LOAD, {
    [offsetIn(rows.PROG_LOAD, 'insn_cnt')]: 1,
    [offsetIn(rows.PROG_LOAD, 'insns')]: bytes,
  });
}

const wordCall = (row: Command, field: string, value: number | Uint8Array) =>
  call(row.command, { [offsetIn(row, field)]: value });

function uprobe(place: string): Uint8Array {
  const { PERF_EVENT_ATTR } = perf;
  return call(PERF_EVENT_OPEN, {
    [offsetIn(PERF_EVENT_ATTR, 'type')]: UPROBE_TYPE,
    [offsetIn(PERF_EVENT_ATTR, 'config1')]: text(place.split(':')[0] ?? ''),
    [offsetIn(PERF_EVENT_ATTR, 'config2')]: 1,
  });
}

/** Returns a message of a kind that only the rule about its kind could refuse. */
function netlinkOf(kind: string): Uint8Array {
  const known = netlink.netlinkMessages.find((one) => one.kind === kind);
  if (known !== undefined) {
    const message = netlink.leastNetlinkMessage(known, ASKED_INTERFACE);
    return messageFrame(FrameType.NETLINK, 0, [known.protocol, 0, [message], []]);
  }
  const expected = `one of ${netlink.netlinkKinds.join(', ')}`;
  throw failure('ERR_OPTION_INVALID', { option: 'netlink', value: kind, expected });
}

/**
 * The questions by the name of their option, each with its rule and a call that needs the thing.
 */
const questions = {
  call: ['call', 'commands', (name) => call(numberNamed('commands', name), {})],
  program: [
    'program type',
    'program_types',
    (name) => wordCall(rows.PROG_LOAD, 'prog_type', numberNamed('program_types', name)),
  ],
  attach: [
    'attach type',
    'attach_types',
    (name) => wordCall(rows.LINK_CREATE_TRACING, 'attach_type', numberNamed('attach_types', name)),
  ],
  map: [
    'map type',
    'map_types',
    (name) => wordCall(rows.MAP_CREATE, 'map_type', numberNamed('map_types', name)),
  ],
  helper: ['helper', 'helpers', (name) => program(HELPER_CALL, numberNamed('helpers', name))],
  // Number 1 is allowed only if the policy allows the function.
  kfunc: ['kernel function', 'kfuncs', () => program(KFUNC_CALL, 1)],
  hook: ['hook', 'hooks', (name) => wordCall(rows.RAW_TRACEPOINT_OPEN, 'name', text(name))],
  uprobe: ['place to probe', 'uprobes', uprobe],
  interface: [
    'interface',
    'interfaces',
    () =>
      call(Cmd.BPF_LINK_CREATE, {
        [offsetIn(rows.LINK_CREATE_XDP, 'attach_type')]: AttachType.BPF_XDP,
        [offsetIn(rows.LINK_CREATE_XDP, 'target_ifindex')]: ASKED_INTERFACE,
      }),
  ],
  netlink: ['kind of netlink messages', 'netlink', netlinkOf],
  perf: [
    'perf event type',
    'perf_types',
    (name) =>
      call(PERF_EVENT_OPEN, {
        [offsetIn(perf.PERF_EVENT_ATTR, 'type')]: numberOf('perf_types', name) ?? ASKED_TYPE,
      }),
  ],
  pin: ['pin', 'pin_paths', (path) => wordCall(rows.OBJ_PIN, 'pathname', text(path))],
  cgroup: [
    'cgroup',
    'cgroup_paths',
    (path) => messageFrame(FrameType.FILE, 0, [FileOperation.MKDIR_CGROUP, path, 0, '']),
  ],
  read: ['file', 'readable_paths', (path) => messageFrame(FrameType.OPEN, 0, [path, 1])],
} as const satisfies Readonly<
  Record<string, readonly [what: string, rule: keyof Policy, needs: (name: string) => Uint8Array]>
>;

/** The kinds of things that {@link explain} knows. */
export type Question = keyof typeof questions | 'rate';
export const questionNames = [...Object.keys(questions), 'rate'] as Question[];

/**
 * Asks the executors' checker whether one rule of a policy allows a call.
 *
 * @returns the rule that refuses the call, or `undefined`
 */
function refusing(policy: Policy, rule: keyof Policy, name: string, frame: Uint8Array) {
  // Perf events of probes in files have a rule of their own.
  const beside = rule === 'perf_types' ? { uprobes: policy.uprobes } : {};
  const only: Policy = { ...profiles.full, [rule]: policy[rule], ...beside };
  // For the checker, the name of this interface is its index behind a slash. No real name is like
  // that.
  const asked = (one: string) => (one === name ? `/${ASKED_INTERFACE}` : one);
  const interfaces = only.interfaces.map(asked);
  const rules = compile({ ...only, interfaces }, kernelOf(name));
  const judge = new native.Executor(encodeRules(rules), true);
  try {
    const answer = judge.execute(frame);
    const body = answer.subarray(HEADER_BYTES);
    if (parseHeader(answer).type !== FrameType.ERROR) return undefined;
    const error = parseError(body) as WaepError;
    if (error.code !== 'ERR_POLICY_REFUSED') throw error;
    return (error as WaepError<'ERR_POLICY_REFUSED'>).detail.rule as keyof Policy;
  } finally {
    judge.close();
  }
}

function allowsRate({ quotas }: Policy, rate: string): boolean {
  if (/^\d{1,15}$/.test(rate))
    return Number(rate) <= (quotas.events_per_second ?? Number.POSITIVE_INFINITY);
  const expected = 'a whole number of events a second';
  throw failure('ERR_OPTION_INVALID', { option: 'rate', value: rate, expected });
}

/**
 * Returns the policy's decision about a thing, and the rule behind it. The checker that enforces
 * policies in guests decides.
 *
 * @throws ERR_OPTION_INVALID for a name that the kernel's interface does not have
 */
export function explain(policy: PolicyFile, question: Question, name: string): Verdict {
  if (question === 'rate') {
    const rule = 'quotas.events_per_second';
    const allowed = allowsRate(policy.policy, name);
    return { what: `events a second: ${name}`, allowed, rule, from: originOf(policy, rule) };
  }
  const [what, rule, needs] = questions[question];
  const refused = refusing(policy.policy, rule, name, needs(name));
  const decides = refused ?? rule;
  return {
    what: `${what} ${name}`,
    allowed: refused === undefined,
    rule: decides,
    from: originOf(policy, decides),
  };
}

/**
 * Returns the policy's decisions about the programs of an object file: their types and their calls.
 */
export function explainObject(policy: PolicyFile, programs: readonly ObjectProgram[]): Verdict[] {
  return programs.flatMap(({ section, type, hook, helpers, kfuncs }) =>
    [
      explain(policy, 'program', type),
      ...(hook === undefined ? [] : [explain(policy, 'hook', hook)]),
      ...helpers.map((helper) => explain(policy, 'helper', String(helper))),
      ...kfuncs.map((name) => explain(policy, 'kfunc', name)),
    ].map((verdict) => ({ ...verdict, what: `${section}: ${verdict.what}` })),
  );
}
