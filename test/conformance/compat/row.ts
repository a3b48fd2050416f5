import type { VolatileName } from './volatile.js';

/** How to run a tool that goes on until it is interrupted. */
export interface Watch {
  /**
   * The script that runs in the guest once the tool has loaded its programs. Default:
   * `$COMPAT/stimulus`.
   */
  readonly stimulus?: string;
  /** How many times the script runs, half a second apart. Default: 2. */
  readonly times?: number;
  /**
   * The signal that ends the tool. Default: `SIGINT`. A killed tool is compared by what it leaves
   * behind.
   */
  readonly signal?: 'SIGINT' | 'SIGKILL';
  /** Whether the tool ends by itself. The script then runs until that. */
  readonly ends?: boolean;
}

/** One invocation of a tool, which runs in the guest and on the host. */
export interface Row {
  readonly tool: string;
  /** The shell command for both sides. `$COMPAT` is the folder of the built test programs. */
  readonly command: string;
  /**
   * A script for the guest's shell before each side. `teardown` must remove everything that it
   * makes.
   */
  readonly setup?: string;
  readonly teardown?: string;
  /** Parts of the output that differ between any two runs. They are not compared. */
  readonly volatile?: readonly VolatileName[];
  /** The compared lines, if the other lines are about unrelated things in the guest. */
  readonly lines?: RegExp;
  /**
   * How outputs are compared. `text`: all lines in their order. `set`: as a set of lines, because
   * lines repeat or have no fixed order. `shape`: only the kinds of lines, because no two runs have
   * the same figures.
   */
  readonly compares?: 'text' | 'set' | 'shape';
  readonly watch?: Watch;
  /** Whether it must work in the guest. If it fails there, the sides are not compared. */
  readonly mustWork?: boolean;
  /** Default 60. */
  readonly timeoutS?: number;
}

/** The ending of a command that never started, because `setup` failed. */
export const NOT_RUN = 'not run';

/** What a side printed, and how it ended. */
export interface Outcome {
  /** The exit status, or `signal N`, or `no end within N s`, or {@link NOT_RUN}. */
  readonly ending: string;
  readonly stdout: string;
  readonly stderr: string;
  readonly tookMs: number;
  /**
   * What was still in the guest afterwards: objects, such as `prog 17`, and what went on there a
   * second after the end.
   */
  readonly left: readonly string[];
}

export const verdicts = {
  same: 'both sides print the same and end alike, apart from the volatile fields that are named',
  'same-but-volatile':
    'both sides print the same kinds of lines; the figures in them are of two different moments',
  'failing-alike':
    'the tool fails on both sides with the same ending and the same messages; nothing else of it was tried',
  different: 'the sides differ',
  refused: 'not forwarded; the tool ends with an error that names what and why',
  'unsupported-in-guest':
    'the tool does not work in the guest itself, for what its kernel or machine lacks',
  'failing-in-guest': 'the tool fails in the guest itself, for a reason that nobody has named',
} as const;

export type Verdict = keyof typeof verdicts;

/** The verdicts that make a run fail. */
export const failing: ReadonlySet<Verdict> = new Set(['different', 'failing-in-guest']);

/** What of a command's outcomes is compared, beside its ending and what it leaves in the guest. */
export interface Compared {
  /** `nothing` of what a killed tool prints. */
  readonly output: 'text' | 'set' | 'shape' | 'nothing';
  /** Whether the figures in the output are. */
  readonly figures: boolean;
  /** What the compared lines match, if others are left out. */
  readonly lines?: string;
}

/** What became of a command in the guest and on the host. */
export interface Comparison {
  readonly tool: string;
  readonly args: string;
  readonly guest: string;
  readonly host: string;
  readonly verdict: Verdict;
  readonly why: string;
  readonly compared: Compared;
  readonly volatile: readonly VolatileName[];
  readonly guestMs: number;
  readonly hostMs: number;
  /** The time at which the run of this result began. */
  readonly run: string;
}

/** One row's result, as in results/compat.json. */
export interface Result extends Comparison {
  /** What became of the command on the host with a standby. Missing in results of before. */
  readonly standby?: string;
  readonly standbyMs?: number;
}

/** The conditions of a run of the matrix, or of some of its rows. */
export interface RunInfo {
  readonly at: string;
  /** The suite of Debian that the tools are from, if they are not those of the machine. */
  readonly suite?: string;
  /** The versions of the tools, if they are from a suite. */
  readonly versions?: string;
  readonly kernel: string;
  readonly kernelOrigin: string;
  readonly accel: string;
  readonly tookS: number;
  /** The number of rows. */
  readonly rows: number;
  /** What the watch of this machine's own kernel found, in words. */
  readonly host: string;
}

/** Returns which tools a run was about, and on which kernel, such as `sid, Linux 7.2`. */
export function conditionsOf({ suite = 'installed', kernel }: RunInfo): string {
  return `${suite}, Linux ${kernel.match(/^\d+\.\d+/)?.[0] ?? kernel}`;
}

/** A run, as far as it has come. */
export interface Run {
  readonly info: RunInfo;
  readonly results: readonly Result[];
  /** All rows of the matrix, in their order. */
  readonly rows: readonly Row[];
}
