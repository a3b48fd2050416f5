import { count, labels, printers } from './chart/format.js';
import { conclude } from './conclusion.js';
import { environmentLines } from './environment.js';
import type { DerivedRun, Experiment } from './experiment.js';
import { simulateCoverage, trials } from './simulation.js';
import type { Row } from './types.js';
import { intervalText, verdict } from './verdict.js';

/** `results/README.md`: which command makes which figure, and the figures of the newest runs. */
export function resultsPage(
  experiments: readonly Experiment[],
  newest: readonly DerivedRun[],
): string {
  return [
    '# Results',
    '',
    'This page and everything beside it are made by `npm run bench`; do not edit them. Every',
    'raw sample is kept in `samples.jsonl.gz`, one batch per line; summaries and charts are',
    'derived from the samples alone and are made anew, without a guest, by',
    '`npm run bench -- --render`. [machines.md](machines.md) says what holds on which machine.',
    '',
    ...inShort(newest),
    '## Which command makes which figure',
    '',
    '| figure | what it shows | command | file | status |',
    '|---|---|---|---|---|',
    ...thesisFigures,
    ...experiments.flatMap((experiment) => figureLines(experiment, newest)),
    '',
    ...newest.flatMap(experimentSection),
    '## How to read the figures',
    '',
    '- `n` counts single operations, each timed by itself; `p50`, `p90` and `p99` are quantiles of',
    '  all of them, `min` is the fastest. `p99` is given from 1 000 samples on.',
    '- The interval is that of the median of a round. It is made of the order of the rounds’ medians',
    '  alone (the interval of the sign test), so that it holds for few rounds, too: it covers the',
    '  true median in at least 95 of 100 cases. Fewer than 6 rounds cannot be that sure. Then it is',
    '  the range of the rounds, with how sure that is; of a single round there is none.',
    '- The arms of an experiment take turns, round by round, in one boot of the guest; fresh boots',
    '  repeat that. What each round began with, its warm-up, is not kept.',
    '- A comparison is made within each round; its figure is the median over the rounds, with the',
    '  interval of that median. A bound is kept when the whole interval keeps it, missed when the',
    '  whole interval misses it, and undecided otherwise.',
    '- `<transport>/c` is the limit of a transport: two plain C programs that block in read(2) and exchange',
    '  the same bytes, in the same round.',
    '- Figures of an emulated guest (TCG) say nothing about KVM in absolute terms.',
    '',
    ...coverageLines(),
  ].join('\n');
}

/** The intervals tried on made-up rounds, whose true median is known. */
function coverageLines(): string[] {
  const coverage = simulateCoverage();
  const share = (part: number) => `${(100 * part).toFixed(1)} %`;
  const names = coverage[0] === undefined ? [] : [...coverage[0].found.keys()];
  return [
    `How often an interval has the true median in it, in ${count(trials)} trials each with made-up rounds:`,
    '',
    `| rounds | called | claimed | ${names.join(' | ')} |`,
    `|--:|---|--:|${'--:|'.repeat(names.length)}`,
    ...coverage.map(
      ({ rounds, claimed, sure, found }) =>
        `| ${rounds} | ${sure ? 'interval' : 'range'} | ${share(claimed)} | ${[...found.values()].map(share).join(' | ')} |`,
    ),
    '',
  ];
}

function inShort(newest: readonly DerivedRun[]): string[] {
  const { counts, missed, absent } = conclude(newest);
  return [
    '## In short',
    '',
    `- Of the bounds that were set before the runs, ${counts.kept} are kept, ${counts.MISSED} are missed and ${counts.undecided} are undecided.`,
    ...missed.map(
      ({ experiment, what, value, expectation }) =>
        `- Missed, ${experiment}: ${what}: ${value} (${expectation}).`,
    ),
    ...absent.map((one) => `- Not measured: ${one}.`),
    '',
  ];
}

/** The thesis' figures that are not measurements. */
const thesisFigures = [
  '| Figure 1 | architecture | – | [PROTOCOL.md](../PROTOCOL.md) | not a measurement |',
  '| Figure 2 | the example program | `npm run bench -- --only thesis` | [hello-program.ts](../cli/hello-program.ts) and `proof.json` of each run | reproduced: its line appears at every exec |',
  '| Figure 3 | how a call is sent | – | [PROTOCOL.md](../PROTOCOL.md) | replaced by relocations |',
];

function figureLines(experiment: Experiment, newest: readonly DerivedRun[]): string[] {
  const command = `\`npm run bench -- --only ${experiment.name}\``;
  const derived = newest.find((one) => one.experiment.name === experiment.name);
  if (derived === undefined) {
    return [`| – | ${experiment.title} | ${command} | – | not run yet |`];
  }
  const { environment, summary } = derived;
  return experiment
    .figures(summary, environment)
    .map(
      (figure) =>
        `| ${figure.origin} | ${figure.title} | ${command} | [${figure.file}.svg](${experiment.name}/${environment.run}/${figure.file}.svg) | ${figure.status} |`,
    );
}

function experimentSection({ experiment, environment, summary }: DerivedRun): string[] {
  const folder = `${experiment.name}/${environment.run}`;
  const { amount, rounds } = environment;
  const inTime =
    rounds === undefined || rounds.every((count) => count === amount.rounds)
      ? ''
      : ` (in the time there was: ${rounds.join(' + ')} rounds)`;
  return [
    `## ${experiment.title}`,
    '',
    `Hypothesis: ${environment.hypothesis}`,
    '',
    ...environmentLines(environment).map((line) => `- ${line}`),
    `- Boots × rounds × samples: ${amount.boots} × ${amount.rounds} × ${amount.samples}${inTime}, after ${amount.warmup} operations to warm up · commit ${environment.source.commit}${environment.source.dirty ? ' with changes' : ''} · [environment.json](${folder}/environment.json)`,
    ...environment.absent.map(({ arm, why }) => `- Not measured: ${arm}: ${why}`),
    '',
    ...experiment.remarks.flatMap((remark) => [remark, '']),
    ...experiment
      .figures(summary, environment)
      .flatMap((figure) => [`![${figure.title}](${folder}/${figure.file}.svg)`, '']),
    '| metric | arm | n | min | p50 | 95 % interval | p90 | p99 | unit |',
    '|---|---|--:|--:|--:|:-:|--:|--:|---|',
    ...summary.rows.map(rowLine),
    '',
    ...summary.rows.flatMap(bootLines),
    ...(summary.comparisons.length === 0
      ? []
      : [
          '| comparison | value | 95 % interval | expected |',
          '|---|--:|:-:|---|',
          ...summary.comparisons
            .map(verdict)
            .map((v) => `| ${v.what} | ${v.value} | ${v.interval} | ${v.expectation} |`),
          '',
        ]),
  ];
}

function bootLines({ metric, arm, unit, boots }: Row): string[] {
  if (boots === undefined) return [];
  const medians = boots.map(labels[unit]).join(', ');
  return [`One boot lies apart from the others: ${metric}, ${arm}: ${medians} by boot.`, ''];
}

function rowLine(row: Row): string {
  const print = printers[row.unit];
  const cells = [
    row.metric,
    row.arm,
    count(row.n),
    print(row.min),
    print(row.p50),
    intervalText(row, print),
    print(row.p90),
    row.p99 === undefined ? '–' : print(row.p99),
    row.unit === 'ns' ? 'µs' : '',
  ];
  return `| ${cells.join(' | ')} |`;
}
