/* `npm run fuzz`: feeds made-up inputs to every target for a time. */
import { availableParallelism } from 'node:os';
import { Command, InvalidArgumentError } from 'commander';
import { runTool } from '../../../guest/tools.js';
import { packageFolder } from '../../../src/paths.js';
import type { Mutant } from './mutants.js';
import { fuzzObserve } from './observe.js';
import type { Outcome } from './outcome.js';
import { record } from './page.js';
import { fuzzCore, fuzzMutant, mergeCorpus } from './run-core.js';
import { fuzzHost } from './run-host.js';
import { type Target, targets } from './targets.js';

const MAX_SEED = 2 ** 31 - 1;

function wholeNumber(text: string): number {
  const number = Number(text);
  if (Number.isInteger(number) && number > 0 && number <= MAX_SEED) return number;
  throw new InvalidArgumentError(`Expected a whole number from 1 to ${MAX_SEED}.`);
}

interface Options {
  readonly seconds: number;
  readonly seed: number;
  readonly only?: readonly string[];
  readonly sequences?: number;
  readonly mutants?: boolean;
  readonly record?: boolean;
  readonly merge?: boolean;
}

const options = new Command('npm run fuzz --')
  .description(
    'Feeds made-up inputs to what reads bytes of others, and looks for what must not be.',
  )
  .option('--seconds <n>', 'how long each target is fed', wholeNumber, 60)
  .option('--seed <n>', 'begin with this seed', wholeNumber, 1 + (Date.now() % MAX_SEED))
  .option('--only <name...>', `of ${targets.map(({ name }) => name).join(', ')}, these only`)
  .option(
    '--sequences <n>',
    'feed a target in a guest so many sequences of calls, however long it takes',
    wholeNumber,
  )
  .option(
    '--mutants',
    'take out one guard after the other, and expect each target to find what it was for',
  )
  .option('--record', 'add the figures to results/fuzz.md')
  .option('--merge', 'add inputs that reach further to the committed corpus, and fuzz nothing')
  .parse()
  .opts<Options>();

/** A target to fuzz, and the guard to remove from it. */
interface Job {
  readonly target: Target;
  readonly mutant?: Mutant;
}

function fuzz({ target, mutant }: Job): Promise<Outcome> {
  if (target.side === 'host') return fuzzHost(target, options);
  if (target.side === 'core') {
    return mutant === undefined ? fuzzCore(target, options) : fuzzMutant(target, mutant, options);
  }
  const { seed, seconds, sequences } = options;
  return fuzzObserve(
    sequences === undefined
      ? { seed, seconds, sequences: Number.POSITIVE_INFINITY }
      : { seed, sequences },
  );
}

/** Returns whether a run found what it should: something without a guard, and nothing with it. */
const isRight = ({ found, without }: Outcome) => (found === undefined) === (without === undefined);

function print(outcome: Outcome): void {
  const { target, inputs, seconds, coverage, found, without } = outcome;
  const mark = isRight(outcome) ? '✔' : '✘';
  const name = without === undefined ? target : `${target}, without a guard against ${without}`;
  console.log(
    `${mark} ${name}: ${inputs.toLocaleString('en')} inputs in ${seconds.toFixed(0)} s; ${coverage}`,
  );
  if (without !== undefined) console.log(found?.split('\n')[0] ?? 'nothing was found');
  else if (found !== undefined) console.log(found);
}

/** Fuzzes targets, one on each processor at a time. */
async function fuzzAll(jobs: readonly Job[]): Promise<Outcome[]> {
  const waiting = [...jobs];
  const outcomes: Outcome[] = [];
  const worker = async () => {
    for (let job = waiting.shift(); job !== undefined; job = waiting.shift()) {
      const outcome = await fuzz(job);
      print(outcome);
      outcomes.push(outcome);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  return outcomes.sort((a, b) => order(a) - order(b));
}

function order({ target }: Outcome): number {
  return targets.findIndex(({ name }) => name === target);
}

async function main(): Promise<void> {
  const { only, seconds, seed, merge } = options;
  const unknown = only?.filter((name) => !targets.some((target) => target.name === name)) ?? [];
  if (unknown.length > 0) throw new Error(`there is no target ${unknown.join(', ')}`);
  const chosen = targets.filter(({ name, side }) => only?.includes(name) ?? side !== 'guest');
  if (merge === true) {
    for (const target of chosen) if (target.side === 'core') await mergeCorpus(target);
    return;
  }
  const jobs = chosen.flatMap((target): Job[] =>
    options.mutants !== true
      ? [{ target }]
      : target.side === 'core'
        ? (target.mutants ?? []).map((mutant) => ({ target, mutant }))
        : [],
  );
  console.log(`${jobs.length} runs, ${seconds} s each at most, seed ${seed}`);
  const outcomes = await fuzzAll(jobs);
  if (options.record === true) {
    const commit = await runTool('git', ['-C', packageFolder, 'rev-parse', '--short', 'HEAD']);
    console.log(`written: ${await record(outcomes, { commit, seed })}`);
  }
  const failed = outcomes.filter((outcome) => !isRight(outcome)).length;
  console.log(`\n${outcomes.length - failed} passed, ${failed} failed`);
  if (failed > 0) process.exitCode = 1;
}

main().catch((error: Error) => {
  console.error(`fuzz: ${error.message}`);
  process.exitCode = 1;
});
