/* Why tests that pass in the guest do not pass under `waep run`. */
interface Reason {
  /** The test, as `PACKAGE/TEST`. */
  readonly test: RegExp;
  /** What the test says under `waep run`. */
  readonly says: RegExp;
  readonly why: string;
}

const reasons: readonly Reason[] = [];

/** Returns why a test differs, or an empty text if nobody has named the reason. */
export function reasonOf(test: string, output: string): string {
  return reasons.find((reason) => reason.test.test(test) && reason.says.test(output))?.why ?? '';
}
