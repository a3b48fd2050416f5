/* Why tests that pass in the guest do not pass under `waep run`. */
interface Reason {
  /** The test, as `PACKAGE/TEST`. */
  readonly test: RegExp;
  /** What the test says under `waep run`. */
  readonly says: RegExp;
  readonly why: string;
}

const reasons: readonly Reason[] = [
  {
    test: /^link\/Test(Kprobe|Tracepoint)ProgramCall$/,
    says: /want '1', got '0'/,
    why: 'The test itself makes the system call that the program waits for, on the host, and the program sees those of the guest.',
  },
  {
    test: /^link\/TestUprobeProgramCall\/bash$/,
    says: /want '1', got '0'/,
    why: 'The test runs bash on the host, and the probe is in the bash of the guest.',
  },
  {
    test: /^link\/TestSkLookup$/,
    says: /can't create link: invalid argument/,
    why: "The test attaches to the network namespace of its own process, which is the host's, and waep refuses that by name; a namespace by a path of the guest, such as /proc/1/ns/net, is accepted.",
  },
  {
    test: /^link\/TestSocketFilterAttach$/,
    says: /operation not supported/,
    why: 'A socket of the host cannot run a program of the guest, and waep refuses that by name.',
  },
];

/** Returns why a test differs, or an empty text if nobody has named the reason. */
export function reasonOf(test: string, output: string): string {
  return reasons.find((reason) => reason.test.test(test) && reason.says.test(output))?.why ?? '';
}
