import type { Result } from './compare.js';

/** The conditions of a run. */
export interface RunInfo {
  /** The kernel, as `--kernel` names it. */
  readonly name: string;
  readonly at: string;
  readonly suite: string;
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
