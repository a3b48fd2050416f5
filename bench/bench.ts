import { setTimeout as sleep } from 'node:timers/promises';
import { Listr } from 'listr2';
import colours from 'picocolors';
import { type MachineOptions, machineChoice } from '../cli/machine-options.js';
import { ensurePrivateNetwork, type Image } from '../guest/index.js';
import { failure } from '../src/errors.js';
import { type Budget, budgetOf, planTable } from './budget.js';
import { compilePrograms } from './compile.js';
import { sourceEnvironment } from './environment.js';
import type { DerivedRun, Experiment } from './experiment.js';
import { allExperiments } from './experiments/index.js';
import { type GuestChoice, openGuestLab, prepareGuest } from './guest-lab.js';
import { runExperiment } from './harness.js';
import { type Lab, openHostLab } from './lab.js';
import { openNestedLab, prepareNestedLab } from './nested-lab.js';
import { SharedLab } from './shared-lab.js';
import { Store } from './store.js';
import { lastLines, listTable, runTables } from './terminal.js';
import type { Amount } from './types.js';

/** The options of the command line. */
export interface BenchOptions extends MachineOptions {
  only?: string[];
  quick?: boolean;
  /** Suites of the Debian archive whose kernels are booted. */
  suite?: string[];
  kernel?: string;
  modules?: string;
  rounds?: number;
  /** Seconds for each experiment, instead of its own. */
  budget?: number;
  /** The revision to compare this tree with. */
  against?: string;
}

/** What `--list` prints. */
export function listing(chosen: readonly Experiment[]): string {
  return listTable(chosen);
}

/**
 * Makes summaries, charts and pages anew from stored samples.
 *
 * @param run the run's name, or `undefined` for all runs
 * @throws ERR_BENCH_RUN when no chosen experiment has that run
 */
export async function rerender(
  chosen: readonly Experiment[],
  run: string | undefined,
  quick = false,
): Promise<void> {
  const store = Store.of(quick ? 'quick' : 'full');
  let rendered = 0;
  for (const experiment of chosen) {
    for (const name of await store.runs(experiment)) {
      if (run !== undefined && name !== run) continue;
      console.log(`${runTables(await store.render(experiment, name))}\n`);
      rendered++;
    }
  }
  if (run !== undefined && rendered === 0) {
    throw failure('ERR_BENCH_RUN', { run, folder: store.folder });
  }
  await store.publish(allExperiments);
}

/** Runs experiments and stores what they yield; prints progress, and tables at the end. */
export async function bench(chosen: readonly Experiment[], options: BenchOptions): Promise<void> {
  const changed = sourceEnvironment().dirty;
  const quick =
    options.quick === true || changed || chosen.some((one) => lessThanFull(one, options));
  const store = Store.of(quick ? 'quick' : 'full');
  const begun = await store.begin(new Date());
  const notices: string[] = [];
  if (changed) {
    notices.push(`This tree has changes that are not committed: see ${store.folder}`);
  }
  const needsNested = chosen.some(({ nested }) => nested === true);
  const needsGuest = chosen.some(({ guest, nested }) => guest && nested !== true);
  const boots = needsGuest || needsNested || chosen.some(({ suites }) => suites !== undefined);
  const choice = guestChoice(options, needsGuest || needsNested, (line) => notices.push(line));
  const progress = (step: string) => console.error(colours.dim(`· ${step}`));
  if (boots) {
    await ensurePrivateNetwork(async () => {
      if (needsGuest) await prepareGuest(choice, progress);
      if (needsNested) await prepareNestedLab(choice, progress);
      // They may have to be fetched, and there is no network later on.
      for (const { files } of chosen) await files?.(progress);
    });
  }
  const image = needsGuest ? await prepareGuest(choice, progress) : undefined;

  const signal = interruption();
  const names = chosen.map(({ name }) => name);
  console.log(planTable(names, kindOf(options), options.budget));
  const startedMs = performance.now();
  const { run } = begun;
  const done = await runAll(chosen, options, { choice, image, signal, store, run, quick });
  begun.end();
  for (const line of notices) console.log(colours.yellow(line));
  for (const derived of done.runs) console.log(`\n${runTables(derived)}`);
  for (const { name, error } of done.failures) {
    console.error(colours.red(`\n${name}: ${error.message}`));
  }
  console.log(
    `\n${done.runs.length} of ${chosen.length} experiments in ${Math.round((performance.now() - startedMs) / 1000)} s`,
  );
  console.log(lastLines(done.runs, done.folder));
  if (signal.aborted) process.exitCode = 130;
  else if (done.failures.length > 0) process.exitCode = 1;
  await leave();
}

/** Aborted when the user or the system wants this process to end. */
export function interruption(): AbortSignal {
  const interrupt = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      // The second signal means: do not wait.
      if (interrupt.signal.aborted) process.exit(130);
      interrupt.abort(new Error('interrupted'));
    });
  }
  return interrupt.signal;
}

interface Surroundings {
  choice: GuestChoice;
  image: Image | undefined;
  signal: AbortSignal;
  store: Store;
  run: string;
  quick: boolean;
}

interface Outcome {
  folder: string;
  runs: DerivedRun[];
  failures: { name: string; error: Error }[];
}

async function runAll(
  chosen: readonly Experiment[],
  options: BenchOptions,
  { choice, image, signal, store, run, quick }: Surroundings,
): Promise<Outcome> {
  const outcome: Outcome = { folder: store.folder, runs: [], failures: [] };
  const programs = await compilePrograms();
  await using shared = new SharedLab();
  await using sharedNested = new SharedLab();
  const openLab = async ({ guest, nested, files, profile }: Experiment): Promise<Lab> => {
    if (nested === true) return sharedNested.use(() => openNestedLab(choice));
    if (!guest || image === undefined) return openHostLab(programs);
    const open = async () => openGuestLab(choice, image, { files: await files?.(), profile });
    const plain = files === undefined && profile === undefined;
    return options.quick === true && plain ? shared.use(open) : open();
  };
  const tasks = new Listr(
    chosen.map((experiment) => ({
      title: experiment.title,
      skip: () => signal.aborted && 'interrupted',
      task: async (_, task) => {
        try {
          const record = await runExperiment(experiment, {
            run,
            quick,
            amount: amountOf(experiment, options),
            budgetSeconds: options.budget ?? budgetOf(experiment.name)[kindOf(options)],
            command: commandOf(experiment, options),
            openLab,
            onProgress: sparingly((line) => {
              task.output = line;
            }),
            signal,
          });
          outcome.runs.push(await store.write(experiment, record));
        } catch (error) {
          outcome.failures.push({ name: experiment.name, error: error as Error });
          // Whatever it has left behind there is nobody else's.
          await Promise.all([shared.drop(), sharedNested.drop()]);
          throw error;
        }
      },
    })),
    { concurrent: false, exitOnError: false, registerSignalListeners: false },
  );
  await tasks.run();
  await store.publish(allExperiments);
  return outcome;
}

/** Prints progress: all of it on a terminal, a line for each tenth in a log. */
export function sparingly(print: (line: string) => void): (what: string, done: number) => void {
  let lastTenth = -1;
  return (what, done) => {
    const tenth = Math.floor(done * 10);
    if (!process.stdout.isTTY && tenth === lastTenth) return;
    lastTenth = tenth;
    print(`${Math.round(done * 100)} % · ${what}`);
  };
}

/** The guest that the options ask for. */
export function guestChoice(
  options: BenchOptions,
  needsGuest: boolean,
  notice: GuestChoice['notice'],
): GuestChoice {
  const { suite, kernel, modules } = options;
  const choice = { ...machineChoice(options), notice };
  if (suite !== undefined && needsGuest) {
    const [only] = suite;
    if (suite.length === 1 && kernel === undefined && modules === undefined) {
      return { ...choice, kernel: { suite: only } };
    }
    throw failure('ERR_OPTION_INVALID', {
      option: '--suite',
      value: suite.join(' '),
      expected:
        'one suite, and neither --kernel nor --modules; --only kernels takes several suites',
    });
  }
  if (kernel === undefined && modules === undefined) return choice;
  if (kernel !== undefined && modules !== undefined) {
    return { ...choice, kernel: { image: kernel, modules } };
  }
  throw failure('ERR_OPTION_INVALID', {
    option: '--kernel and --modules',
    value: kernel ?? modules,
    expected: 'both: a kernel runs with its own modules only',
  });
}

function kindOf({ quick }: BenchOptions): keyof Budget {
  return quick === true ? 'quick' : 'full';
}

/** How much is measured of an experiment. */
export function amountOf(experiment: Experiment, options: BenchOptions): Amount {
  const amount = options.quick === true ? experiment.quick : experiment.full;
  return { ...amount, rounds: options.rounds ?? amount.rounds };
}

function lessThanFull({ name, full }: Experiment, { rounds, budget }: BenchOptions): boolean {
  const lessTime = budget !== undefined && budget < budgetOf(name).full;
  return lessTime || (rounds !== undefined && rounds < full.rounds);
}

/** The command that repeats a run of one experiment. */
function commandOf(experiment: Experiment, options: BenchOptions): string {
  return [
    `npm run bench -- --only ${experiment.name}`,
    ...(options.quick === true ? ['--quick'] : []),
    ...(options.accel === 'auto' ? [] : [`--accel ${options.accel}`]),
    ...(options.machine === undefined ? [] : [`--machine ${options.machine}`]),
    ...(options.cpu === undefined ? [] : [`--cpu '${options.cpu}'`]),
    ...(options.append === undefined ? [] : [`--append '${options.append}'`]),
    ...(options.bootTimeout === undefined ? [] : [`--boot-timeout ${options.bootTimeout}`]),
    ...(options.suite === undefined ? [] : [`--suite ${options.suite.join(' ')}`]),
    ...(options.kernel === undefined ? [] : ['--kernel … --modules …']),
    ...(options.rounds === undefined ? [] : [`--rounds ${options.rounds}`]),
    ...(options.budget === undefined ? [] : [`--budget ${options.budget}`]),
  ].join(' ');
}

/** Ends the process once its output is written, even if an interrupted experiment still waits. */
export async function leave(): Promise<void> {
  await sleep(100, undefined, { ref: false });
  process.exit();
}
