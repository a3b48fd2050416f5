/* results/conformance.md: the findings of the suite, kernel by kernel. */
import type { Compared } from './compare.js';
import type { KernelRun } from './run.js';
import { isObserved, NO_COMMAND, reasons } from './script.js';
import { commandNames } from './uapi.js';

/** One line of a kernel's table: the results of one command. */
interface Tally {
  cases: number;
  calls: number;
  succeeded: number;
  failures: Map<string, number>;
  varied: Set<string>;
  differences: number;
}

/** Renders the page. */
export function renderConformance(runs: readonly KernelRun[]): string {
  const lines = [
    '# Conformance of forwarded calls',
    '',
    'Written by `npm run test:differential -- --record`; do not edit. Each case is a short life of a',
    'process that calls bpf(2), written down as data (`test/conformance/differential/cases`). It is lived twice in the same guest:',
    'by a C program there that makes the system calls on its own memory (`test/conformance/differential/oracle.c`),',
    'and by a process on the host whose calls are forwarded. Compared are the result, errno and **all',
    'memory** after each call: attributes, buffers, and what lies around them.',
    '',
    '| kernel | cases | calls | succeed | fail | errors | different |',
    '|---|--:|--:|--:|--:|--:|--:|',
  ];
  for (const run of runs) {
    const total = sum([...tallies(run).values()]);
    lines.push(
      `| ${run.release} | ${total.cases} | ${total.calls} | ${total.succeeded} | ${total.calls - total.succeeded} | ${total.failures.size} kinds | **${total.differences}** |`,
    );
  }
  lines.push(
    '',
    'A call counts for its own command, wherever a case makes it; *succeed* and *fail* are the',
    'guest kernel’s verdicts, which the forwarder is to repeat.',
  );
  for (const run of runs) lines.push('', ...renderRun(run));
  lines.push('', ...renderReasons(runs));
  return `${lines.join('\n')}\n`;
}

function renderRun(run: KernelRun): string[] {
  const lines = [
    `## Linux ${run.release}`,
    '',
    `From ${run.origin}.`,
    '',
    '| command | cases | calls | succeed | fail | volatile bytes that did differ | different |',
    '|---|--:|--:|--:|---|---|--:|',
  ];
  for (const [name, tally] of tallies(run)) {
    const failures = [...tally.failures].sort((a, b) => b[1] - a[1]);
    const shown = failures.map(([errno, count]) => `${errno} ${count}`).join(', ');
    lines.push(
      `| ${name} | ${tally.cases} | ${tally.calls} | ${tally.succeeded} | ${shown} | ${[...tally.varied].sort().join(', ')} | ${tally.differences} |`,
    );
  }
  const different = run.compared.filter(({ differences }) => differences.length > 0);
  if (different.length > 0) lines.push('', 'What differs:', '');
  for (const { case: one, step, outcome, differences } of different) {
    lines.push(
      `- ${one.command}, ${one.name}: ${nameOf(step)} (${outcome}): ${differences.join('; ')}`,
    );
  }
  return lines;
}

function nameOf(step: Compared['step']): string {
  if (step.op !== 'bpf') return step.op;
  return commandNames[step.command & 0xffff] ?? NO_COMMAND;
}

function renderReasons(runs: readonly KernelRun[]): string[] {
  const used = new Set(
    runs.flatMap(({ compared }) =>
      compared.flatMap(({ case: one }) => one.volatile.map(({ name }) => name)),
    ),
  );
  return [
    '## Volatile bytes',
    '',
    'Two runs of one program on one kernel differ in these. Cases name each place where they are.',
    '',
    '| name | why |',
    '|---|---|',
    ...Object.entries(reasons)
      .filter(([name]) => used.has(name as keyof typeof reasons))
      .map(([name, why]) => `| ${name} | ${why} |`),
  ];
}

/** Returns the tallies by command, in the order of the commands' numbers. */
function tallies({ compared }: KernelRun): Map<string, Tally> {
  const order = [...commandNames, NO_COMMAND, 'open', 'read'];
  const all = new Map<string, Tally>();
  const of = (name: string) => {
    const tally = all.get(name) ?? empty();
    all.set(name, tally);
    return tally;
  };
  for (const name of order) of(name);
  for (const one of new Set(compared.map((step) => step.case))) {
    of(one.command).cases++;
    if (!one.steps.some(isObserved)) throw new TypeError(`${one.name} observes nothing`);
  }
  for (const { step, outcome, varied, differences } of compared) {
    const tally = of(nameOf(step));
    tally.calls++;
    if (outcome === 'ok') tally.succeeded++;
    else tally.failures.set(outcome, (tally.failures.get(outcome) ?? 0) + 1);
    for (const name of varied) tally.varied.add(name);
    if (differences.length > 0) tally.differences++;
  }
  return new Map([...all].filter(([, tally]) => tally.calls > 0));
}

function empty(): Tally {
  return {
    cases: 0,
    calls: 0,
    succeeded: 0,
    failures: new Map(),
    varied: new Set(),
    differences: 0,
  };
}

function sum(all: readonly Tally[]): Tally {
  const total = empty();
  for (const tally of all) {
    total.cases += tally.cases;
    total.calls += tally.calls;
    total.succeeded += tally.succeeded;
    total.differences += tally.differences;
    for (const errno of tally.failures.keys()) total.failures.set(errno, 1);
  }
  return total;
}
