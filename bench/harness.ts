import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  type Environment,
  hostEnvironment,
  processorTicks,
  sourceEnvironment,
} from './environment.js';
import type { Experiment } from './experiment.js';
import type { Lab } from './lab.js';
import { expectSamples } from './samples.js';
import { settleGuest } from './settling.js';
import type { RunRecord } from './store.js';
import type { Amount, Batch, Settling } from './types.js';

/** How an experiment is to be run. */
export interface RunOptions {
  run: string;
  quick: boolean;
  amount: Amount;
  /**
   * Seconds after which no further round is begun; each boot has an equal share of them, and one
   * round at least.
   */
  budgetSeconds: number;
  /** The command that repeats the run, for the record. */
  command: string;
  /** Opens what the experiment runs on, anew for each boot. */
  openLab(experiment: Experiment): Promise<Lab>;
  /** Called with what is being done, and the part of the whole that is done (0…1). */
  onProgress(what: string, done: number): void;
  signal: AbortSignal;
}

/**
 * Runs an experiment: boots × rounds × arms, the arms taking turns in every round.
 *
 * @throws ERR_BENCH_INCOMPLETE when rounds differ in what they yielded
 */
export async function runExperiment(
  experiment: Experiment,
  options: RunOptions,
): Promise<RunRecord> {
  const { amount, signal } = options;
  const startedAt = new Date();
  const source = sourceEnvironment();
  const ticks = processorTicks();
  const batches: Batch[] = [];
  const records: Record<string, unknown[]> = {};
  const absent = new Map<string, string>();
  const rounds: number[] = [];
  const settling: ({ boot: number } & Settling)[] = [];
  let guest: Environment['guest'];

  for (let boot = 1; boot <= amount.boots; boot++) {
    const bootDone = (boot - 1) / amount.boots;
    options.onProgress(
      experiment.guest || experiment.suites !== undefined
        ? `boot ${boot}: starting the guest`
        : 'starting',
      bootDone,
    );
    signal.throwIfAborted();
    await using lab = await unlessAborted(options.openLab(experiment), signal);
    if (lab.guest !== undefined) {
      const settled = await unlessAborted(settleGuest(lab.guest), signal);
      settling.push(...settled.map((one) => ({ boot, ...one })));
    }
    await using prepared = await unlessAborted(experiment.prepare(lab), signal);
    guest = prepared.guest ?? lab.guest?.environment;
    for (const { arm, why } of prepared.absent) absent.set(arm, why);
    for (const [name, value] of Object.entries(prepared.records ?? {})) {
      records[name] = [...(records[name] ?? []), { boot, [name]: value }];
    }
    const untilMs = startedAt.getTime() + (options.budgetSeconds * 1000 * boot) / amount.boots;
    let round = 0;
    while (round === 0 || (round < amount.rounds && Date.now() < untilMs)) {
      round++;
      for (const arm of takingTurns(prepared.arms, round, `${options.run} ${boot}`)) {
        signal.throwIfAborted();
        options.onProgress(
          `boot ${boot} of ${amount.boots}, round ${round} of ${amount.rounds}: ${arm.name}`,
          bootDone + (round - 1) / amount.rounds / amount.boots,
        );
        await arm.prepare?.();
        for (const batch of await unlessAborted(arm.measure(amount), signal)) {
          batches.push({ boot, round, arm: arm.name, ...batch });
        }
      }
    }
    rounds.push(round);
  }
  assertComplete(batches, rounds);

  return {
    batches,
    records,
    environment: {
      experiment: experiment.name,
      run: options.run,
      quick: options.quick,
      accel: guest?.accel ?? 'none',
      startedAt: startedAt.toISOString(),
      finishedAt: new Date().toISOString(),
      command: options.command,
      title: experiment.title,
      hypothesis: experiment.hypothesis,
      parameters: experiment.parameters,
      placement: experiment.placement,
      amount,
      rounds,
      ...(settling.length === 0 ? {} : { settling }),
      absent: [...absent].map(([arm, why]) => ({ arm, why })),
      source,
      host: hostEnvironment(ticks),
      ...(guest === undefined ? {} : { guest }),
    },
  };
}

/**
 * Waits for `work`, but not beyond the abortion. What the work still makes then is left to the end
 * of the process.
 */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const settled = new AbortController();
  const aborted = once(signal, 'abort', { signal: settled.signal }).then(() => {
    throw signal.reason;
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    settled.abort();
    aborted.catch(() => {});
    work.catch(() => {});
  }
}

/**
 * Returns the arms in the order of a round: shuffled, as only `seed` determines, so that no arm always
 * has the same one before it. Every second round is the one before backwards, so that each of two
 * arms comes first equally often.
 */
export function takingTurns<T>(arms: readonly T[], round: number, seed: string): T[] {
  const pair = Math.ceil(round / 2);
  const key = (index: number) =>
    createHash('sha256').update(`${seed} ${pair} ${index}`).digest('hex');
  const shuffled = arms
    .map((arm, index) => ({ arm, key: key(index) }))
    .sort((a, b) => (a.key < b.key ? -1 : 1))
    .map(({ arm }) => arm);
  return round % 2 === 1 ? shuffled : shuffled.reverse();
}

/**
 * Every round must have yielded what the first one did: the same arms, metrics and numbers of
 * samples. Each arm has checked by itself that it got as many samples as it asked for.
 */
function assertComplete(batches: readonly Batch[], rounds: readonly number[]): void {
  const total = rounds.reduce((sum, count) => sum + count, 0);
  const firstCounts = new Map<string, number>();
  const counts = new Map<string, number>();
  for (const { arm, metric, boot, round, values } of batches) {
    const name = `${arm} ${metric}`;
    if (boot === 1 && round === 1) firstCounts.set(name, values.length);
    counts.set(name, (counts.get(name) ?? 0) + values.length);
  }
  for (const [name, count] of counts) {
    expectSamples(name, count, total * (firstCounts.get(name) ?? 0));
  }
}
