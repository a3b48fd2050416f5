import type { Experiment } from '../../bench/experiment.js';
import { runExperiment } from '../../bench/harness.js';
import type { Lab } from '../../bench/lab.js';
import { summarise } from '../../bench/summary.js';
import type { Amount } from '../../bench/types.js';

/** Runs an experiment for as little as `amount` says, and returns its record and its summary. */
export async function tinyRun(
  experiment: Experiment,
  amount: Amount,
  openLab: () => Promise<Lab>,
): Promise<Awaited<ReturnType<typeof runExperiment>> & { summary: ReturnType<typeof summarise> }> {
  const record = await runExperiment(experiment, {
    run: 'test',
    quick: true,
    amount,
    budgetSeconds: 3600,
    command: '',
    openLab,
    onProgress: () => {},
    signal: new AbortController().signal,
  });
  const { accel } = record.environment;
  const labels = { experiment: experiment.name, accel, run: 'test' };
  return { ...record, summary: summarise(record.batches, experiment.comparisons, labels) };
}
