/* results/suites.md: the comparison as a page. */
import { causes, type Result } from './compare.js';
import { testOf } from './go-test.js';
import type { Recording, RunInfo } from './recording.js';

/** Renders the page. */
export function pageOf({ runs, results }: Recording): string {
  const lines = [
    "# Other projects' tests under `waep run`",
    '',
    'Written by `npm run suites -- --record`; do not edit. The tests of cilium/ebpf are static Go programs;',
    "test_verifier, test_maps and test_progs are the kernel's own. Each runs inside the guest, and on the host under",
    '`waep run`, acting on the same guest. A part of a test, such as `TestMap/hash`, counts as a test.',
    '`test/conformance/suites` has the harness, and the table of reasons.',
    '',
    'Left out are tests that an emulated guest takes minutes for: verif_scale* of test_progs, and map_large, map_parallel and',
    'map_stress of test_maps. bpf_testmod, sign-file, xdp_synproxy and resolve_btfids are not built, so that tests of',
    'test_progs which need them fail or are skipped on both sides.',
    '',
    '| guest | programs | of | began | took |',
    '|---|---|---|---|--:|',
    ...runs.map(
      ({ kernel, kernelOrigin, accel, programs, suite, at, tookS }) =>
        `| Linux ${kernel} (${kernelOrigin}) on ${accel.toUpperCase()} | ${programs.join(', ')} | ${suite} | ${at} | ${tookS} s |`,
    ),
  ];
  const newest = new Map(runs.map((run) => [run.name, run]));
  for (const run of newest.values()) {
    lines.push(
      ...sectionOf(
        run,
        results.filter(({ kernel }) => kernel === run.name),
      ),
    );
  }
  return `${lines.join('\n')}\n`;
}

function sectionOf({ kernel }: RunInfo, results: readonly Result[]): string[] {
  const packages = [...new Set(results.map((result) => result.package))];
  const differing = results.filter(({ guest, host }) => guest !== host);
  return [
    '',
    `## Linux ${kernel}`,
    '',
    '| package | tests | pass in the guest | pass forwarded | pass on both sides | fail on both sides | skipped on both sides | differ |',
    '|---|--:|--:|--:|--:|--:|--:|--:|',
    ...packages.map((name) =>
      countsOf(
        name,
        results.filter((one) => one.package === name),
      ),
    ),
    '',
    `### Tests that differ on Linux ${kernel}`,
    '',
    ...(differing.length === 0 ? ['None.'] : differences(packages, results)),
    '',
    `### Tests that fail on both sides on Linux ${kernel}`,
    '',
    ...named(packages, results, 'fail'),
    '',
    `### Tests that are skipped on both sides on Linux ${kernel}`,
    '',
    ...named(packages, results, 'skip'),
    '',
    `### Tests that pass on both sides on Linux ${kernel}`,
    '',
    ...named(packages, results, 'pass'),
  ];
}

function countsOf(name: string, all: readonly Result[]): string {
  const count = (test: (result: Result) => boolean) => all.filter(test).length;
  const both = (outcome: string) =>
    count(({ guest, host }) => guest === outcome && host === outcome);
  const figures = [
    all.length,
    count(({ guest }) => guest === 'pass'),
    count(({ host }) => host === 'pass'),
    both('pass'),
    both('fail') + both('crash'),
    both('skip'),
    count(({ guest, host }) => guest !== host),
  ];
  return `| ${name} | ${figures.join(' | ')} |`;
}

function differences(packages: readonly string[], results: readonly Result[]): string[] {
  const found = packages.flatMap((name) => causes(results.filter((one) => one.package === name)));
  return [
    'A test that differs only because a part of it does, or the reverse, is not in this table.',
    '',
    '| package | test | in the guest | forwarded | why |',
    '|---|---|---|---|---|',
    ...found.map(
      (one) =>
        `| ${one.package} | \`${one.test}\` | ${one.guest} | ${one.host} | ${escaped(one.why || `not known: ${one.said}`)} |`,
    ),
  ];
}

/** Names the tests that ended alike. Parts of a test are counted. */
function named(
  packages: readonly string[],
  results: readonly Result[],
  outcome: 'pass' | 'fail' | 'skip',
): string[] {
  const alike = results.filter(({ guest, host }) => guest === outcome && host === outcome);
  const lines = packages.flatMap((name) => {
    const tests = alike.filter((one) => one.package === name).map(({ test }) => test);
    if (tests.length === 0) return [];
    const whole = [...new Set(tests.map(testOf))].map((test) => {
      const parts = tests.filter((other) => other.startsWith(`${test}/`)).length;
      return `\`${test}\`${parts === 0 ? '' : ` (${parts} part${parts === 1 ? '' : 's'})`}`;
    });
    return [`- ${name}: ${whole.join(', ')}`];
  });
  return lines.length === 0 ? ['None.'] : lines;
}

function escaped(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '&lt;');
}
