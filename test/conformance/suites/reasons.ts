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
    test: /^link\/Test(KprobeCreatePMU|KprobePMUUnavailable|KprobeTraceFS|UprobeWithPID|UprobeProgramWrongPID)$/,
    says: /opening (tracepoint )?perf event: operation not supported/,
    why: 'The test sets a probe of its own process, which does not run in the guest, and waep refuses that by name.',
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
  {
    test: /^test_verifier\/\S.* (invalid (per-cpu )?cgroup storage access 2|test12 ld_imm64|invalid map_fd for function call)$/,
    says: /EXP: .*not pointing to valid bpf_map/,
    why: "An instruction names a descriptor that is none of the guest's, and the agent refuses that by its rule descriptors before the verifier sees it.",
  },
  {
    test: /^test_verifier\/\S.* calls: wrong src reg$/,
    says: /EXP: BPF_CALL uses reserved fields/,
    why: 'The instruction is a kind of call that no kernel has, and the agent refuses that by its rule descriptors before the verifier sees it.',
  },
];

/** Returns why a test differs, or an empty text if nobody has named the reason. */
export function reasonOf(test: string, output: string): string {
  return reasons.find((reason) => reason.test.test(test) && reason.says.test(output))?.why ?? '';
}
