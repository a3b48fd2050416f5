import type { GuestFile, Progress } from '../guest/index.js';
import type { Figure } from './chart/figure.js';
import type { Environment, GuestEnvironment } from './environment.js';
import type { Lab } from './lab.js';
import type { Amount, Arm, Comparison, Summary } from './types.js';

/** What {@link Experiment.prepare} returns for one boot. */
export interface Prepared extends AsyncDisposable {
  arms: readonly Arm[];
  /** Arms that this machine cannot offer, and why. They are reported, never guessed. */
  absent: ReadonlyArray<{ arm: string; why: string }>;
  /** The guest, or several in one description, where the experiment booted it by itself. */
  guest?: GuestEnvironment;
  /** Data of this boot to keep beside the samples, by the name of their JSON file. */
  records?: Readonly<Record<string, unknown>>;
}

/** An experiment: data, and a function that prepares its arms. */
export interface Experiment {
  name: string;
  title: string;
  /** What the samples are expected to show. */
  hypothesis: string;
  /** The parameters, constant or varied, for the record and for the charts. */
  parameters: Readonly<Record<string, unknown>>;
  /** How processes are placed on CPUs, in words, for the record and the charts. */
  placement: string;
  /** Further notes for the reader of its figures, in full sentences. */
  remarks: readonly string[];
  /** Whether it needs a guest, booted anew for each boot; quick runs share one where they can. */
  guest: boolean;
  /** Whether that guest is in another guest, with the kernel's vsock at both ends. */
  nested?: boolean;
  /** The suites of the Debian archive whose kernels it boots guests with by itself. */
  suites?: readonly string[];
  /** Further files of that guest, by path. It may have to fetch them. */
  files?(progress?: Progress): Promise<Readonly<Record<string, GuestFile>>>;
  /** The `--profile` of that guest's agent. Default: the agent's default. */
  profile?: string;
  full: Amount;
  quick: Amount;
  comparisons: readonly Comparison[];
  prepare(lab: Lab): Promise<Prepared>;
  figures(summary: Summary, environment: Environment): readonly Figure[];
}

/** A run with what is derived from it. */
export interface DerivedRun {
  experiment: Experiment;
  environment: Environment;
  summary: Summary;
}
