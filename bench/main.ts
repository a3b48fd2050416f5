import { Command, InvalidArgumentError } from 'commander';
import { addMachineOptions } from '../cli/machine-options.js';
import { failure } from '../src/errors.js';
import { against, comparable } from './against/against.js';
import type { BenchOptions } from './bench.js';
import { bench, leave, listing, rerender } from './bench.js';
import { experimentsWith } from './experiments/index.js';

function positiveInteger(text: string): number {
  const number = Number(text);
  if (Number.isInteger(number) && number > 0) return number;
  throw new InvalidArgumentError('Expected a whole number of at least 1.');
}

const program = addMachineOptions(new Command('npm run bench --'))
  .description('Run the experiments, and write samples, tables and charts to results/.')
  .option('--list', 'list the experiments')
  .option('--only <name...>', 'run these experiments only')
  .option(
    '--nested',
    'run the experiments with a guest in a guest, which have the kernel’s vsock at both ends; takes some 20 minutes',
  )
  .option('--quick', 'measure less, and keep the results in results/.quick/')
  .option(
    '--render [run]',
    'write summaries and charts again from the stored samples of a run, or of all runs; needs no guest',
  )
  .option(
    '--suite <suite...>',
    'boot the newest kernel of this suite of the Debian archive; `kernels` compares several',
  )
  .option('--kernel <file>', 'boot this kernel instead of the stock one')
  .option('--modules <folder>', 'the modules of --kernel')
  .option(
    '--rounds <n>',
    'rounds in each boot; fewer than those of a full run count as --quick',
    positiveInteger,
  )
  .option(
    '--budget <seconds>',
    'begin no round of an experiment after this time; less than that of a full run counts as --quick',
    positiveInteger,
  )
  .option(
    '--against <revision>',
    `compare this tree with another revision, and end with status 1 if anything is slower (default experiments: ${comparable.join(', ')})`,
  );

type Options = BenchOptions & { list?: boolean; nested?: boolean; render?: string | true };

async function main(): Promise<void> {
  const options = program.parse().opts<Options>();
  const chosen = chooseExperiments(options);
  if (options.list === true) {
    console.log(listing(chosen));
  } else if (options.render !== undefined) {
    await rerender(chosen, options.render === true ? undefined : options.render, options.quick);
  } else if (options.against !== undefined) {
    const names = options.only ?? comparable;
    const compared = chosen.filter(({ name }) => names.includes(name));
    process.exitCode = (await against(compared, options.against, options)) ? 0 : 1;
    await leave();
  } else {
    await bench(chosen, options);
  }
}

function chooseExperiments({ only: names, suite, nested, render }: Options) {
  const all = experimentsWith(suite);
  const experiments = nested === true ? all.filter((one) => one.nested === true) : all;
  for (const name of names ?? []) {
    if (experiments.some((experiment) => experiment.name === name)) continue;
    const known = experiments.map((experiment) => experiment.name);
    throw failure('ERR_BENCH_EXPERIMENT', { name, known });
  }
  if (names !== undefined) return experiments.filter(({ name }) => names.includes(name));
  if (render !== undefined) return experiments;
  return nested === true ? experiments : experiments.filter((one) => one.nested !== true);
}

main().catch((error: Error) => {
  console.error(`bench: ${error.message}`);
  process.exitCode = 1;
});
