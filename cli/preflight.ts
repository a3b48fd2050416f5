import { Command } from 'commander';
import pc from 'picocolors';
import {
  type Finding,
  type HelperFinding,
  type Preflight,
  preflight,
} from '../src/kernel/index.js';
import { type ConnectionOptions, connectionOptions, openSession } from './connection.js';
import { table, widthOf, wrapped } from './text.js';

interface Options extends ConnectionOptions {
  all?: true;
  json?: true;
}

/** `waep preflight`: reports what a guest can do before it is used. */
export function preflightCommand(): Command {
  return connectionOptions(new Command('preflight'))
    .summary("ask what a guest's kernel offers and its policy allows")
    .description(
      "Ask a guest's kernel what it offers: facilities, program types, map types, and the helpers of each program type. Say which of these the guest's policy allows.",
    )
    .option('--all', 'also list what the kernel has, and which program types may call each helper')
    .option('--json', 'print {kernel, profile, btf, lockdown, facilities, programTypes, …}')
    .action(async ({ all, json, ...options }: Options) => {
      const session = await openSession(options, { client: 'waep preflight' });
      try {
        const found = await preflight(session);
        if (json) console.log(JSON.stringify(found, null, 2));
        else {
          const width = widthOf(process.stdout, USUAL_WIDTH);
          console.log(rendered(found, { all: all === true, width }));
        }
      } finally {
        session.close();
      }
    });
}

const USUAL_WIDTH = 80;
/** Wider lines are hard to read. */
const MAX_WIDTH = 100;
const LABEL_WIDTH = 16;
/** In a narrower terminal, texts do not begin in one column. */
const WIDTH_WITH_LABELS = 60;
const NARROW_INDENT = 4;

/** The possible verdicts about a finding. */
const verdicts = ['there', 'not there', 'not known', 'refused'] as const;
type Verdict = (typeof verdicts)[number];

function verdictOf({ offered, refusedBy }: Finding): Verdict {
  if (refusedBy !== undefined) return 'refused';
  return offered === undefined ? 'not known' : offered ? 'there' : 'not there';
}

/** Returns the report as text for a terminal of this width. */
export function rendered(
  found: Preflight,
  { all, width: available }: { all: boolean; width: number },
): string {
  const width = Math.min(available, MAX_WIDTH);
  const { kernel, profile, lockdown, facilities, programTypes, mapTypes, helpers } = found;
  const { maxEventsPerSecond, helpersNotAskedOf } = found;
  const rate =
    maxEventsPerSecond === 0 ? 'any number of events' : `at most ${maxEventsPerSecond} events`;
  const groups: readonly (readonly [string, readonly Finding[]])[] = [
    ['facilities', facilities],
    ['program types', programTypes],
    ['map types', mapTypes],
    ['helpers', helpers],
  ];
  const counts = groups.map(([group, findings]) => [
    group,
    ...verdicts.map((one) => `${findings.filter((it) => verdictOf(it) === one).length}`),
  ]);
  const lines = [
    ...wrapped(
      `Linux ${kernel}, lockdown ${lockdown ?? 'cannot be read'}, under the policy "${profile}", ${rate} a second`,
      width,
    ),
    '',
    table([['', ...verdicts], ...counts], width),
  ];
  const section = (title: string, entries: readonly (readonly [string, string])[]) => {
    if (entries.length === 0) return;
    lines.push('', ...wrapped(title, width).map(pc.bold));
    for (const [label, text] of entries) lines.push(...labelled(label, text, width));
  };
  const named = (which: (finding: Finding) => boolean) =>
    groups.flatMap(([group, findings]): [string, string][] => {
      const names = findings.filter(which).map(({ name }) => name);
      return names.length === 0 ? [] : [[group, names.join(group === 'facilities' ? ', ' : ' ')]];
    });
  section(
    'Not in this kernel',
    named((one) => verdictOf(one) === 'not there'),
  );
  section(
    'In this kernel, but not made now',
    groups.flatMap(([group, findings]) => reasons(group, findings, 'there')),
  );
  section('Not known', [
    ...groups.flatMap(([group, findings]) => reasons(group, findings, 'not known')),
    ...Object.entries(helpersNotAskedOf)
      .filter(([, why]) => all || !why.startsWith('refused by'))
      .map(([type, why]): [string, string] => ['helpers', `of ${type}: ${why}`]),
  ]);
  const rules = [
    ...new Set(groups.flatMap(([, all]) => all.flatMap((one) => one.refusedBy ?? []))),
  ];
  for (const rule of rules) {
    section(
      `Refused by the policy's rule ${rule}`,
      named((one) => one.refusedBy === rule),
    );
  }
  if (!all) {
    const hint = '--all lists what is there, and who may call each helper.';
    lines.push('', ...wrapped(hint, width).map(pc.dim));
    return lines.join('\n');
  }
  section(
    'There',
    named((one) => verdictOf(one) === 'there'),
  );
  const asked = programTypes
    .filter((one) => one.offered === true && helpersNotAskedOf[one.name] === undefined)
    .map(({ name }) => name);
  section(
    `Which of ${asked.length} program types may call a helper`,
    helpers.filter((one) => one.offered === true).map((one) => [one.name, callers(one, asked)]),
  );
  return lines.join('\n');
}

/** Returns the program types that may call a helper. If only few may not, returns those instead. */
function callers({ programTypes }: HelperFinding, asked: readonly string[]): string {
  const others = asked.filter((type) => !programTypes.includes(type));
  if (others.length === 0) return 'all';
  return others.length < programTypes.length / 2
    ? `all but ${others.join(' ')}`
    : programTypes.join(' ');
}

/** Returns what has a reason for its verdict. Each reason appears once. */
function reasons(
  group: string,
  findings: readonly Finding[],
  verdict: Verdict,
): [string, string][] {
  const reasons = new Map<string, string[]>();
  for (const finding of findings) {
    const { name, why = verdict === 'not known' ? 'not asked for' : undefined } = finding;
    if (verdictOf(finding) !== verdict || why === undefined) continue;
    reasons.set(why, [...(reasons.get(why) ?? []), name]);
  }
  return [...reasons].map(([why, names]) => [group, `${names.join(' ')}: ${why}`]);
}

/** Returns lines with a label before the first. */
function labelled(label: string, text: string, width: number): string[] {
  const isNarrow = width < WIDTH_WITH_LABELS;
  const indent = isNarrow ? NARROW_INDENT : LABEL_WIDTH + 2;
  const before = `  ${label}${isNarrow ? ':' : ''} `.padEnd(indent);
  return wrapped(text, width - indent, before.length - indent).map((line, at) =>
    ((at === 0 ? before : ' '.repeat(indent)) + line).trimEnd(),
  );
}
