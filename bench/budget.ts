/* How long each experiment may take, so that all of them end in time on a machine of two cores. */
import colours from 'picocolors';
import { columns } from './table.js';

/** Seconds for a full run and for a quick one, the boots of guests included. */
export interface Budget {
  readonly full: number;
  readonly quick: number;
}

/** By the names of experiments. */
export const budgets: Readonly<Record<string, Budget>> = {
  thesis: { full: 80, quick: 30 },
  rtt: { full: 100, quick: 30 },
  'rtt-one-core': { full: 60, quick: 15 },
  throughput: { full: 50, quick: 12 },
  kernels: { full: 50, quick: 60 },
  'map-ops': { full: 50, quick: 20 },
  'prog-size': { full: 65, quick: 25 },
  pipelining: { full: 40, quick: 12 },
  sessions: { full: 125, quick: 15 },
  events: { full: 200, quick: 25 },
  tools: { full: 125, quick: 25 },
  'software-overhead': { full: 60, quick: 20 },
  loopback: { full: 25, quick: 12 },
  counts: { full: 20, quick: 15 },
  codec: { full: 30, quick: 10 },
};

/**
 * Like {@link budgets}, of the experiments that only `--nested` runs. The guests' boot is in the
 * time of the first of them.
 */
export const nestedBudgets: Readonly<Record<string, Budget>> = {
  'nested-rtt': { full: 900, quick: 600 },
  'nested-thesis': { full: 300, quick: 120 },
};

/** The budget of an experiment that neither lists. */
const others: Budget = { full: 60, quick: 20 };

/** An experiment's budget. */
export function budgetOf(name: string): Budget {
  return budgets[name] ?? nestedBudgets[name] ?? others;
}

/** Says what will run and how long it may take: `seconds` each, or the budgets of this kind. */
export function planTable(
  names: readonly string[],
  kind: keyof Budget,
  seconds: number | undefined,
): string {
  const secondsOf = (name: string) => seconds ?? budgetOf(name)[kind];
  const totalSeconds = names.reduce((sum, name) => sum + secondsOf(name), 0);
  return columns([
    ...names.map((name) => [name, `at most ${secondsOf(name)} s`]),
    [colours.bold('all'), colours.bold(`at most ${(totalSeconds / 60).toFixed(1)} min`)],
  ]);
}
