/* `npm run fuzz`: feeds every target made-up inputs for a time. */
import { availableParallelism } from 'node:os';
import { Command, InvalidArgumentError } from 'commander';
import { runTool } from '../../guest/tools.js';
import { packageFolder } from '../../src/paths.js';
import type { Outcome } from './outcome.js';
import { record } from './page.js';
import { fuzzCore, mergeCorpus } from './run-core.js';
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
  .option('--record', 'add the figures to results/fuzz.md')
  .option('--merge', 'add inputs that reach further to the committed corpus, and fuzz nothing')
  .parse()
  .opts<Options>();

function fuzz(target: Target): Promise<Outcome> {
  return target.side === 'core' ? fuzzCore(target, options) : fuzzHost(target, options);
}

function print(outcome: Outcome): void {
  const { target, inputs, seconds, coverage, found } = outcome;
  const mark = found === undefined ? '✔' : '✘';
  console.log(
    `${mark} ${target}: ${inputs.toLocaleString('en')} inputs in ${seconds.toFixed(0)} s; ${coverage}`,
  );
  if (found !== undefined) console.log(found);
}

/** Fuzzes targets, as many at a time as there are processors. */
async function fuzzAll(chosen: readonly Target[]): Promise<Outcome[]> {
  const waiting = [...chosen];
  const outcomes: Outcome[] = [];
  const worker = async () => {
    for (let target = waiting.shift(); target !== undefined; target = waiting.shift()) {
      const outcome = await fuzz(target);
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
  const chosen = targets.filter(({ name }) => only?.includes(name) ?? true);
  if (merge === true) {
    for (const target of chosen) if (target.side === 'core') await mergeCorpus(target);
    return;
  }
  console.log(`${chosen.length} targets, ${seconds} s each, seed ${seed}`);
  const outcomes = await fuzzAll(chosen);
  if (options.record === true) {
    const commit = await runTool('git', ['-C', packageFolder, 'rev-parse', '--short', 'HEAD']);
    console.log(`written: ${await record(outcomes, { commit, seed })}`);
  }
  const failed = outcomes.filter(({ found }) => found !== undefined).length;
  console.log(`\n${outcomes.length - failed} passed, ${failed} failed`);
  if (failed > 0) process.exitCode = 1;
}

main().catch((error: Error) => {
  console.error(`fuzz: ${error.message}`);
  process.exitCode = 1;
});
