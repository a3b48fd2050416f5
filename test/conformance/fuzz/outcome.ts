/** What came of fuzzing one target. */
export interface Outcome {
  readonly target: string;
  readonly inputs: number;
  readonly seconds: number;
  /** How far the inputs got, as the target measures it. */
  readonly coverage: string;
  /** The guard that was taken out before, where one was: then something is to be found. */
  readonly without?: string;
  /** What was found, and how to see it again. */
  readonly found?: string;
}
