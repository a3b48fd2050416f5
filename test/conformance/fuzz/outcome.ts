/** The outcome of fuzzing one target. */
export interface Outcome {
  readonly target: string;
  readonly inputs: number;
  readonly seconds: number;
  /** How far the inputs got, as the target measures it. */
  readonly coverage: string;
  /** The guard that was removed, if one was. The run must then find something. */
  readonly without?: string;
  /** The finding, and how to reproduce it. */
  readonly found?: string;
}
