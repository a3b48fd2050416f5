import type { PolicyFile } from './file.js';
import type { Policy } from './policy.js';
import { contains, MAX_VALUE, type Range } from './rules.js';
import { type VocabularyName, vocabularies } from './vocabulary.js';

/** A rule in words. */
export interface RuleText {
  /** The key of the policy, with the part of the rule after a dot. */
  rule: string;
  allows: string;
  /** Where the rule was written: `file:line`, or the profile's name. */
  from: string;
}

const list = (names: readonly string[], none: string) => names.join(', ') || none;

/** Returns the allowed numbers of a vocabulary in words. A number without a name stays a number. */
function describeNumbers(kind: VocabularyName, ranges: readonly Range[]): string {
  const { names } = vocabularies[kind];
  const known = [...names.entries()].filter(([, name]) => name !== undefined) as [number, string][];
  const allowed = known.filter(([number]) => contains(ranges, number)).map(([, name]) => name);
  const refused = known.filter(([number]) => !contains(ranges, number)).map(([, name]) => name);
  const unknown = ranges
    .filter(([, last]) => last >= names.length)
    .map(([first, last]) => {
      const from = Math.max(first, names.length);
      return last === MAX_VALUE
        ? `${from} and above`
        : from === last
          ? `${from}`
          : `${from}–${last}`;
    });
  const open = unknown.length > 0 && refused.length === 0 && contains(ranges, MAX_VALUE);
  if (open) return 'any';
  if (refused.length < allowed.length / 2) {
    const others = unknown.length === 0 ? ['those without a name here'] : [];
    return `all but ${list([...refused, ...others], 'nothing')}`;
  }
  return list([...allowed, ...unknown], 'none');
}

const patterns = (texts: readonly string[]) =>
  texts.length === 1 && texts[0] === '*' ? 'any' : list(texts, 'none');

const amount = (value: number | undefined) => (value === undefined ? 'any' : `${value}`);

const texts: readonly (readonly [rule: string, text: (policy: Policy) => string])[] = [
  ...(['commands', 'program_types', 'attach_types', 'map_types', 'helpers'] as const).map(
    (key) => [key, (policy: Policy) => describeNumbers(key, policy[key])] as const,
  ),
  ...(
    [
      'kfuncs',
      'hooks',
      'uprobes',
      'interfaces',
      'netlink',
      'perf_types',
      'pin_paths',
      'cgroup_paths',
      'readable_paths',
    ] as const
  ).map((key) => [key, (policy: Policy) => patterns(policy[key])] as const),
  ['perf_signals', ({ perf_signals }) => (perf_signals ? 'yes' : 'no')],
  ['foreign_objects', ({ foreign_objects }) => foreign_objects],
  ...(['programs', 'maps', 'links', 'map_bytes', 'events_per_second'] as const).map(
    (key) => [`quotas.${key}`, ({ quotas }: Policy) => amount(quotas[key])] as const,
  ),
  ['leases.max_seconds', ({ leases }) => `${leases.max_seconds}`],
  ['accept.cids', ({ accept }) => list(accept.cids.map(String), 'none')],
  ['accept.source_ports', ({ accept }) => accept.source_ports],
  ['accept.subjects', ({ accept }) => patterns(accept.subjects)],
];

/** Returns the place of a rule in the policy's file, or the profile that the rule comes from. */
export function originOf({ file, base, places }: PolicyFile, rule: string): string {
  const place = places.get(rule.split('.')[0] ?? rule);
  return place === undefined ? `profile ${base}` : `${file}:${place.line}`;
}

/** Returns a policy's rules in words, with the origin of each. */
export function describePolicy(policy: PolicyFile): RuleText[] {
  return texts.map(([rule, text]) => ({
    rule,
    allows: text(policy.policy),
    from: originOf(policy, rule),
  }));
}
