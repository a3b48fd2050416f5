/* results/fuzz.md: how much was fed to what, and what came of it. */
import type { Outcome } from './outcome.js';
import { targets } from './targets.js';

const thousands = (count: number) => count.toLocaleString('en').replaceAll(',', ' ');

/** Renders the page. */
export function renderFuzzing(
  outcomes: readonly Outcome[],
  { commit, seed }: { commit: string; seed: number },
): string {
  const total = outcomes.reduce((sum, { inputs }) => sum + inputs, 0);
  const rows = outcomes.map(({ target, inputs, seconds, coverage, found }) => {
    const what = found === undefined ? 'nothing' : (found.split('\n')[0] ?? '');
    return `| ${target} | ${thousands(inputs)} | ${seconds.toFixed(0)} | ${coverage} | ${what} |`;
  });
  const descriptions = targets
    .filter(({ name }) => outcomes.some(({ target }) => target === name))
    .map(({ name, side, what }) => {
      const how = side === 'core' ? 'C++, libFuzzer, ASan and UBSan' : 'TypeScript, generated';
      return `- **${name}** (${how}): ${what}.`;
    });
  return `${[
    '# Fuzzing',
    '',
    'Written by `npm run fuzz -- --record`; do not edit. Looked for are crashes, leaks, hangs,',
    'out-of-bounds accesses, undefined behaviour, and answers that contradict a reading of the same',
    'bytes by other code.',
    '',
    `Commit ${commit}, seed ${seed}: **${thousands(total)} inputs**.`,
    '',
    '| target | inputs | seconds | coverage | found |',
    '|---|--:|--:|---|---|',
    ...rows,
    '',
    ...descriptions,
  ].join('\n')}\n`;
}
