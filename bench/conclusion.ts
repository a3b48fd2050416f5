import type { DerivedRun } from './experiment.js';
import { type Outcome, type Verdict, verdict } from './verdict.js';

/** What runs came to, in a few words. */
export interface Conclusion {
  /** How many bounds have each outcome. */
  readonly counts: Readonly<Record<Outcome, number>>;
  /** The bounds that were missed. */
  readonly missed: readonly (Verdict & { readonly experiment: string })[];
  /** What could not be measured, once each, with why. */
  readonly absent: readonly string[];
}

/** Counts the bounds that runs have kept. */
export function conclude(runs: readonly DerivedRun[]): Conclusion {
  const verdicts = runs.flatMap(({ experiment, summary }) =>
    summary.comparisons.map((one) => ({ ...verdict(one), experiment: experiment.name })),
  );
  const of = (outcome: Outcome) => verdicts.filter((one) => one.outcome === outcome);
  const absent = runs.flatMap(({ environment }) =>
    environment.absent.map(({ arm, why }) => `${arm}: ${why}`),
  );
  return {
    counts: {
      kept: of('kept').length,
      MISSED: of('MISSED').length,
      undecided: of('undecided').length,
    },
    missed: of('MISSED'),
    absent: [...new Set(absent)],
  };
}
