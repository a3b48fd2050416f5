import { printers } from '../chart/format.js';
import { type Environment, environmentLines } from '../environment.js';
import type { Verdict } from './verdict.js';

/** How results/against.md begins. */
export const pageHead = `# Against earlier revisions

Written by \`npm run bench -- --against REVISION\`; [docs/bench.md](../docs/bench.md#compare-with-another-revision) says how. Each table compares the times of a revision with those of an earlier one that took turns with it. A ratio above 1 is slower.
`;

/** One experiment's comparison, in Markdown. */
export function comparisonText(
  environment: Environment,
  verdicts: readonly Verdict[],
  { revision, commit, sameBench }: { revision: string; commit: string; sameBench: boolean },
): string {
  const { source, experiment, title, command, absent, startedAt } = environment;
  const bench = sameBench ? 'The same bench measured both' : 'Each was measured by its own bench';
  const print = ({ unit, p50 }: Verdict['now']) =>
    `${printers[unit](p50)}${unit === 'ns' ? ' µs' : ''}`;
  return [
    `## ${experiment}, ${startedAt.slice(0, 10)}: ${source.commit}${source.dirty ? ' with changes' : ''} and ${commit}`,
    '',
    `${title}. \`${command}\`. ${bench}.`,
    '',
    ...environmentLines(environment).map((line) => `- ${line}`),
    ...absent.map(({ arm, why }) => `- Not measured: ${arm}: ${why}`),
    '',
    `| arm | metric | at ${revision} | now | ratio | 95 % interval | rounds | |`,
    '|---|---|--:|--:|--:|---|--:|---|',
    ...verdicts.map(
      ({ arm, metric, before, now, ratio, low, high, rounds, outcome }) =>
        `| ${arm} | ${metric} | ${print(before)} | ${print(now)} | ${ratio.toFixed(2)} | ${low.toFixed(2)} … ${high.toFixed(2)} | ${rounds} | ${outcome} |`,
    ),
  ].join('\n');
}

/** The overall result, in a line or more. */
export function verdictText(verdicts: readonly Verdict[], revision: string): string {
  const lines = verdicts
    .filter(({ outcome }) => outcome !== 'not slower')
    .map(({ outcome, arm, metric, ratio, rounds }) =>
      outcome === 'slower'
        ? `slower than ${revision}: ${metric}, ${arm}: ${ratio.toFixed(2)} times`
        : `undecided: ${metric}, ${arm}: ${rounds} rounds are too few`,
    );
  if (verdicts.length === 0) return `nothing could be compared with ${revision}`;
  return lines.length === 0 ? `nothing slower than ${revision}` : lines.join('\n');
}
