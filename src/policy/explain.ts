import { failure } from '../errors.js';
import { nearest } from '../nearest.js';
import { globMatcher } from './compile.js';
import { originOf } from './describe.js';
import type { PolicyFile } from './file.js';
import type { ObjectProgram } from './object.js';
import type { Policy } from './policy.js';
import { contains } from './rules.js';
import { numberOf, type VocabularyName, vocabularies } from './vocabulary.js';

/** What a policy says to one thing. */
export interface Verdict {
  /** What was asked about, such as `helper bpf_send_signal`. */
  what: string;
  allowed: boolean;
  /** The rule that decides. */
  rule: string;
  /** Where it was written: `file:line`, or the profile's name. */
  from: string;
}

const all = (texts: readonly string[]) => texts.includes('*');

function inFolders(path: string, folders: readonly string[]): boolean {
  if (!path.startsWith('/') || /\/\.\.(\/|$)/.test(path)) return false;
  return folders.some((one) => (one.endsWith('/') ? path.startsWith(one) : path === one));
}

/** Whether a policy's set of numbers, which has the vocabulary's name, has a name's. */
const inSet =
  (kind: Exclude<VocabularyName, 'perf_types'>) =>
  (policy: Policy, name: string): boolean => {
    const number = numberOf(kind, name);
    if (number !== undefined) return contains(policy[kind], number);
    const { one, names } = vocabularies[kind];
    const known = names.filter((known) => known !== undefined);
    const meant = nearest(name, known);
    const expected = `the name or the number of a ${one}${meant === undefined ? '' : `; did you mean ${meant}?`}`;
    throw failure('ERR_OPTION_INVALID', { option: one, value: name, expected });
  };

function allowsRate({ quotas }: Policy, rate: string): boolean {
  if (/^\d{1,15}$/.test(rate))
    return Number(rate) <= (quotas.events_per_second ?? Number.POSITIVE_INFINITY);
  const expected = 'a whole number of events a second';
  throw failure('ERR_OPTION_INVALID', { option: 'rate', value: rate, expected });
}

/** What can be asked about, by the name of its option. */
const questions = {
  call: ['call', 'commands', inSet('commands')],
  program: ['program type', 'program_types', inSet('program_types')],
  attach: ['attach type', 'attach_types', inSet('attach_types')],
  map: ['map type', 'map_types', inSet('map_types')],
  helper: ['helper', 'helpers', inSet('helpers')],
  kfunc: ['kernel function', 'kfuncs', ({ kfuncs }, name) => all(kfuncs) || kfuncs.includes(name)],
  hook: ['hook', 'hooks', ({ hooks }, name) => globMatcher(hooks)(name)],
  interface: [
    'interface',
    'interfaces',
    ({ interfaces }, name) => all(interfaces) || interfaces.includes(name),
  ],
  perf: [
    'perf event type',
    'perf_types',
    ({ perf_types }, name) => all(perf_types) || perf_types.includes(name),
  ],
  pin: ['pin', 'pin_paths', ({ pin_paths }, path) => all(pin_paths) || inFolders(path, pin_paths)],
  read: ['file', 'readable_paths', ({ readable_paths }, path) => inFolders(path, readable_paths)],
  rate: ['events a second:', 'quotas.events_per_second', allowsRate],
} as const satisfies Readonly<
  Record<
    string,
    readonly [
      what: string,
      rule: keyof Policy | 'quotas.events_per_second',
      allows: (policy: Policy, name: string) => boolean,
    ]
  >
>;

/** The kinds of things that {@link explain} knows. */
export type Question = keyof typeof questions;
export const questionNames = Object.keys(questions) as Question[];

/**
 * Says what a policy does with a thing, and by which rule.
 *
 * @throws ERR_OPTION_INVALID for a name that the kernel's interface does not have
 */
export function explain(policy: PolicyFile, question: Question, name: string): Verdict {
  const [what, rule, allows] = questions[question];
  return {
    what: `${what} ${name}`,
    allowed: allows(policy.policy, name),
    rule,
    from: originOf(policy, rule),
  };
}

/** Says what a policy does with the programs of an object file: their types, and what they call. */
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
