import type { GuestFile, Progress } from '../guest/index.js';
import type { Figure } from './chart/figure.js';
import type { Environment, GuestEnvironment } from './environment.js';
import type { Lab } from './lab.js';

/** What a sample's number counts. All times are kept in nanoseconds. */
export type Unit = 'ns' | 'ops/s' | 'B/s';

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
  /** Rounds in each boot. In every round each arm is measured once, in a rotating order. */
  rounds: number;
  /** Samples of each metric that an arm yields in a round. */
  samples: number;
  /** Operations before the samples of a round that are made but not kept. */
  warmup: number;
  /**
   * As `samples`, for commands that the kernel has to settle after, where an experiment measures
   * both.
   */
  commands?: number;
}

/**
 * A statement about two arms that is derived from their samples.
 *
 * It is made for every round, as the difference or the ratio of the two arms' quantiles in that
 * round, so that a machine whose speed drifts does not pass for a difference between arms; the
 * figure is the median over the rounds.
 */
export interface Comparison {
  kind: 'difference' | 'ratio';
  arm: string;
  /** The arm that `arm` is compared with. */
  against: string;
  metric: string;
  quantile: 'p50' | 'p99';
  /** The figure that `arm` should not exceed, where one was promised. */
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

/** What {@link Experiment.prepare} made for one boot. */
export interface Prepared extends AsyncDisposable {
  arms: readonly Arm[];
  /** Arms that this machine cannot offer, and why. They are reported, never guessed. */
  absent: ReadonlyArray<{ arm: string; why: string }>;
  /** The guest, or several in one description, where the experiment booted it by itself. */
  guest?: GuestEnvironment;
  /** Facts of this boot to keep beside the samples, by the name of their JSON file. */
  records?: Readonly<Record<string, unknown>>;
}

/** An experiment is data, and a function that gets its arms ready. */
export interface Experiment {
  name: string;
  title: string;
  /** What the samples are expected to show. */
  hypothesis: string;
  /** What was held constant or swept, for the record and for the charts. */
  parameters: Readonly<Record<string, unknown>>;
  /** How processes are placed on CPUs, in words, for the record and the charts. */
  placement: string;
  /** What the reader of its figures should know besides. Full sentences. */
  remarks: readonly string[];
  /** Whether it needs a guest, booted anew for each boot; quick runs share one where they can. */
  guest: boolean;
  /** The suites of the Debian archive of whose kernels it boots guests by itself. */
  suites?: readonly string[];
  /** What that guest has beside the bench’s own programs, by path; may have to fetch it. */
  files?(progress?: Progress): Promise<Readonly<Record<string, GuestFile>>>;
  /** What that guest's agent allows, as its `--profile`. Default: what it allows by itself. */
  profile?: string;
  full: Amount;
  quick: Amount;
  comparisons: readonly Comparison[];
  prepare(lab: Lab): Promise<Prepared>;
  figures(summary: Summary, environment: Environment): readonly Figure[];
}

/** A line of `summary.json`. */
export interface Row {
  experiment: string;
  arm: string;
  metric: string;
  unit: Unit;
  n: number;
  p50: number;
  p90: number;
  p99: number;
  min: number;
  /** The 95 % confidence interval of `p50`. */
  ciLow: number;
  ciHigh: number;
  /** The guest's accelerator, or `none` for an experiment without a guest. */
  accel: string;
  run: string;
}

/** A {@link Comparison} with its figure. */
export interface Compared extends Comparison {
  /** The median over the rounds: in the metric's unit for a difference, a quotient for a ratio. */
  value: number;
  /** The 95 % confidence interval of `value`. */
  ciLow: number;
  ciHigh: number;
  /** How many rounds it is made of. */
  rounds: number;
}

/** Everything that charts and tables are made from. */
export interface Summary {
  rows: readonly Row[];
  comparisons: readonly Compared[];
}
