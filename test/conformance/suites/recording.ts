import type { Result } from './compare.js';

/** The conditions of a run. */
export interface RunInfo {
  /** The kernel, as `--kernel` names it. */
  readonly name: string;
  /** The names of the programs of tests that ran. */
  readonly programs: readonly string[];
  /** Which tests ran, as `--only` says it. Without it, all did. */
  readonly only?: string;
  /** What the programs are built from. */
  readonly suite: string;
  readonly at: string;
  readonly kernel: string;
  readonly kernelOrigin: string;
  readonly accel: string;
  readonly tookS: number;
}

/** All that was recorded. */
export interface Recording {
  readonly runs: readonly RunInfo[];
  readonly results: readonly Result[];
}
