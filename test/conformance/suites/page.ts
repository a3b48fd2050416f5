/* results/suites.md: the comparison as a page. */
import { causes, isDifferent, type Result } from './compare.js';
import { testOf } from './go-test.js';
import type { Recording, RunInfo } from './recording.js';

/** Renders the page. */
export function pageOf({ runs, results }: Recording): string {
  const lines = [
    "# Other projects' tests under `waep run`",
    '',
    'Written by `npm run suites -- --record`; do not edit. The tests of cilium/ebpf are static Go programs;',
    "test_verifier, test_maps and test_progs are the kernel's own. Each runs on three sides, always on the same guest:",
    '',
    '- **in the guest**, as it is;',
    '- **forwarded within the guest**: in the guest, under `waep run`, with the agent of the same guest. Its calls are caught,',
    "  encoded and made by the agent as always. All else that the test does acts on the guest's kernel, as without waep;",
    '- **forwarded from the host**: on the host, under `waep run`. All else that the test does acts on the host.',
    '',
    'A test that passes forwarded within the guest, and not from the host, differs because of where its process acts.',
    'A dash stands for a side on which a program has not run yet. The reasons of its tests are guesses from what they say:',
    'copies of mapped maps, which are equal only every 50 ms, may be the reason as well as the place.',
    'A part of a test, such as `TestMap/hash`, counts as a test. The shares are of the tests that pass in the guest.',
    '`test/conformance/suites` has the harness, and the table of reasons.',
    '',
    'Left out are tests that an emulated guest takes minutes for: verif_scale* of test_progs, and map_large, map_parallel and',
    'map_stress of test_maps. bpf_testmod, sign-file, xdp_synproxy and resolve_btfids are not built, so that tests of',
    'test_progs which need them fail or are skipped on all sides.',
    '',
    'A program with a pattern behind it ran once more for the tests that the pattern matches, and these results replace the',
    'earlier ones.',
    '',
    '| guest | programs | of | began | took |',
    '|---|---|---|---|--:|',
    ...runs.map(
      ({ kernel, kernelOrigin, accel, programs, only, suite, at, tookS }) =>
        `| Linux ${kernel} (${kernelOrigin}) on ${accel.toUpperCase()} | ${programs.join(', ')}${only === undefined ? '' : `: \`${escaped(only)}\``} | ${suite} | ${at} | ${tookS} s |`,
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
  const differing = results.filter(isDifferent);
  return [
    '',
    `## Linux ${kernel}`,
    '',
    '| package | tests | pass in the guest | pass also within | share | pass also from the host | share | fail on all sides | skipped on all sides | differ |',
    '|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|',
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
    `### Tests that fail on all sides on Linux ${kernel}`,
    '',
    ...named(packages, results, 'fail'),
    '',
    `### Tests that are skipped on all sides on Linux ${kernel}`,
    '',
    ...named(packages, results, 'skip'),
    '',
    `### Tests that pass on all sides on Linux ${kernel}`,
    '',
    ...named(packages, results, 'pass'),
  ];
}

function countsOf(name: string, all: readonly Result[]): string {
  const passing = all.filter(({ guest }) => guest === 'pass');
  const also = (side: 'within' | 'host') => {
    if (all.every((one) => one[side] === undefined)) return ['–', '–'];
    const count = passing.filter((one) => one[side] === 'pass').length;
    const share = passing.length === 0 ? '' : `${((100 * count) / passing.length).toFixed(1)} %`;
    return [count, share];
  };
  const alike = (...outcomes: string[]) =>
    all.filter((one) => !isDifferent(one) && outcomes.includes(one.guest)).length;
  const figures = [
    ...[all.length, passing.length, ...also('within'), ...also('host')],
    ...[alike('fail', 'crash'), alike('skip'), all.filter(isDifferent).length],
  ];
  return `| ${name} | ${figures.join(' | ')} |`;
}

function differences(packages: readonly string[], results: readonly Result[]): string[] {
  const found = packages.flatMap((name) => causes(results.filter((one) => one.package === name)));
  return [
    'A test that differs only because a part of it does, or the reverse, is not in this table.',
    '',
    '| package | test | in the guest | forwarded within the guest | forwarded from the host | why |',
    '|---|---|---|---|---|---|',
    ...found.map(
      (one) =>
        `| ${one.package} | \`${one.test}\` | ${one.guest} | ${one.within ?? '–'} | ${one.host} | ${escaped(one.why || `not known: ${one.said}`)} |`,
    ),
  ];
}

/** Names the tests that ended alike. Parts of a test are counted. */
function named(
  packages: readonly string[],
  results: readonly Result[],
  outcome: 'pass' | 'fail' | 'skip',
): string[] {
  const alike = results.filter((one) => !isDifferent(one) && one.guest === outcome);
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
