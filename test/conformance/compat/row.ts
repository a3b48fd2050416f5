import type { VolatileName } from './volatile.js';

/** How a tool that goes on until it is told to end is run. */
export interface Watch {
  /** What is done in the guest once the tool has loaded its programs. Default: `$COMPAT/stimulus`. */
  readonly stimulus?: string;
  /** How often it is done, half a second apart. Default: 2. */
  readonly times?: number;
  /** How it is told: `SIGINT` by default. What is killed is compared by what it leaves behind. */
  readonly signal?: 'SIGINT' | 'SIGKILL';
  /** Whether it ends by itself; it is done until then. */
  readonly ends?: boolean;
}

/** One invocation of a tool, which is made in the guest and from the host. */
export interface Row {
  readonly tool: string;
  /** What a shell is told on both sides. `$COMPAT` is the folder of test/conformance/compat/programs, built. */
  readonly command: string;
  /** A script for the guest's shell before either; what it makes must not outlive `teardown`. */
  readonly setup?: string;
  readonly teardown?: string;
  /** What differs between any two runs, and is left out of the comparison. */
  readonly volatile?: readonly VolatileName[];
  /** Which lines are compared, where others are about whatever else happens in the guest. */
  readonly lines?: RegExp;
  /**
   * How outputs are compared: all lines in their order; as a set of lines, where they repeat or
   * come as they like; or only which kinds of lines there are, in figures that no two runs share.
   */
  readonly compares?: 'text' | 'set' | 'shape';
  readonly watch?: Watch;
  /** Whether it is of no use to compare how it fails, if it does in the guest. */
  readonly mustWork?: boolean;
  /** Default 60. */
  readonly timeoutS?: number;
}

/** How a command ended that was never started, for want of what `setup` makes. */
export const NOT_RUN = 'not run';

/** What a side printed and how it ended. */
export interface Outcome {
  /** The exit status, or `signal N`, or `no end within N s`, or {@link NOT_RUN}. */
  readonly ending: string;
  readonly stdout: string;
  readonly stderr: string;
  readonly tookMs: number;
  /**
   * What was still in the guest afterwards: of its objects, such as `prog 17`, and what went on
   * there a second after its end.
   */
  readonly left: readonly string[];
}

export const verdicts = {
  same: 'both sides print the same and end alike, apart from the volatile fields that are named',
  'same-but-volatile':
    'both sides print the same kinds of lines; the figures in them are of two different moments',
  different: 'the sides differ',
  refused: 'not forwarded; the tool ends with an error that names what and why',
  'unsupported-in-guest':
    'the tool does not work in the guest itself, for what its kernel or machine lacks',
  'failing-in-guest': 'the tool fails in the guest itself, for a reason that nobody has named',
} as const;

export type Verdict = keyof typeof verdicts;

/** The verdicts that make a run fail. */
export const failing: ReadonlySet<Verdict> = new Set(['different', 'failing-in-guest']);

/** One row's result, as results/compat.json has it. */
export interface Result {
  readonly tool: string;
  readonly args: string;
  readonly guest: string;
  readonly host: string;
  readonly verdict: Verdict;
  readonly why: string;
  readonly volatile: readonly VolatileName[];
  readonly guestMs: number;
  readonly hostMs: number;
  /** When the run began that it is of. */
  readonly run: string;
}

/** What a run of the matrix, or of some of its rows, was made on, and what was watched meanwhile. */
export interface RunInfo {
  readonly at: string;
  readonly kernel: string;
  readonly kernelOrigin: string;
  readonly accel: string;
  readonly tookS: number;
  /** How many rows it had. */
  readonly rows: number;
  /** What this machine's own kernel had of it, in words. */
  readonly host: string;
}

/** A run, as far as it has come. */
export interface Run {
  readonly info: RunInfo;
  readonly results: readonly Result[];
  /** All rows of the matrix, in their order. */
  readonly rows: readonly Row[];
}
