/** What a sample's number counts. All times are kept in nanoseconds. */
export type Unit = 'ns' | 'ops/s' | 'B/s' | 'count';

/** The samples of one arm and metric that were measured in one go, in the order of measurement. */
export interface Batch {
  /** Which boot of the guest, counted from 1; always 1 for an experiment without a guest. */
  boot: number;
  /** Which round of that boot, counted from 1. */
  round: number;
  arm: string;
  metric: string;
  unit: Unit;
  values: readonly number[];
}

/** How much is measured. */
export interface Amount {
  /** Fresh boots of the guest, or fresh starts of the processes where there is no guest. */
  boots: number;
  /** Rounds in each boot. In every round each arm is measured once, in a shuffled order. */
  rounds: number;
  /** Samples of each metric that an arm yields in a round. */
  samples: number;
  /** Operations before the samples of a round that are made but not kept. */
  warmup: number;
  /**
   * Like `samples`, for commands after which the kernel needs a pause, if an experiment measures
   * both kinds.
   */
  commands?: number;
}

/**
 * A statement about two arms that is derived from their samples.
 *
 * It is computed for every round, as the difference or the ratio of the two arms' quantiles in that
 * round. So a machine whose speed drifts does not look like a difference between arms. The figure
 * is the median over the rounds.
 */
export interface Comparison {
  kind: 'difference' | 'ratio';
  arm: string;
  /** The arm that `arm` is compared with. */
  against: string;
  metric: string;
  /** What `against` is compared in, where it is another metric. */
  againstMetric?: string;
  quantile: 'p50' | 'p99';
  /** The bound that `arm` should not exceed, if there is one. */
  bound?: number;
  /** What the thesis reports for the same comparison, in the unit of the metric. */
  thesis?: number;
}

/** One side of an experiment, ready to be measured. */
export interface Arm {
  name: string;
  /** Called before each {@link measure}. */
  prepare?(): Promise<void>;
  /** Returns one batch's worth of samples for each of the arm's metrics. */
  measure(amount: Amount): Promise<ReadonlyArray<Pick<Batch, 'metric' | 'unit' | 'values'>>>;
}

/** How a guest came to its lasting speed after its boot. */
export interface Settling {
  transport: string;
  /** The medians of round trips of 64 bytes in plain C, one batch after the other. */
  mediansNs: number[];
  /** Whether the last of them were alike before there was an end of waiting. */
  settled: boolean;
}

/** The figures of one metric of an arm in a run: an item of the run's `summary.json`. */
export interface Row {
  experiment: string;
  arm: string;
  metric: string;
  unit: Unit;
  n: number;
  p50: number;
  p90: number;
  /** Only with 1 000 samples or more. With fewer it would be one of the ten slowest, by chance. */
  p99?: number;
  min: number;
  /** The interval of the median of a round, and how sure it is: see `Interval`. */
  ciLow: number;
  ciHigh: number;
  confidence: number;
  /** The median of each boot, where all rounds of one are above, or below, all of the others'. */
  boots?: readonly number[];
  /** The guest's accelerator, or `none` for an experiment without a guest. */
  accel: string;
  run: string;
}

/** A {@link Comparison} with its figure. */
export interface Compared extends Comparison {
  /** The median over the rounds: in the metric's unit for a difference, a quotient for a ratio. */
  value: number;
  /** The interval of `value`, and how sure it is: see `Interval`. */
  ciLow: number;
  ciHigh: number;
  confidence: number;
  /** How many rounds it is made of. */
  rounds: number;
}

/** Everything that charts and tables are made from. */
export interface Summary {
  rows: readonly Row[];
  comparisons: readonly Compared[];
}
