import { enums, rows } from '../bpf/index.js';
import { type OptionNames, refuseUnknownOptions } from '../known-options.js';
import type { Patience } from '../session/caller.js';
import { type BpfOptions, patient } from './bpf-calls.js';
import type { GuestObject } from './guest-object.js';

/** Options of a test run. */
export interface TestRunOptions extends Patience {
  /** The packet, for programs that see packets. */
  data?: Uint8Array;
  /** The context: a `struct xdp_md`, a `struct __sk_buff`, a raw tracepoint's arguments. */
  context?: Uint8Array;
  /** Room for the packet as the program leaves it. Default: that of `data` and 512 bytes more. */
  dataOutBytes?: number;
  /** Room for the context as the program leaves it. Default: that of `context`. */
  contextOutBytes?: number;
  /** How often to run it; the time is the average. Default once. Not for tracing programs. */
  repeat?: number;
  /** The guest's CPU to run it on. Only for raw tracepoint programs. */
  cpu?: number;
  /** `BPF_F_TEST_*`. Default 0. */
  flags?: number;
  /** How many packets are in flight at a time, of XDP programs that send them on. */
  batchSize?: number;
}

const optionNames: OptionNames<TestRunOptions> = {
  data: true,
  context: true,
  dataOutBytes: true,
  contextOutBytes: true,
  repeat: true,
  cpu: true,
  flags: true,
  batchSize: true,
  timeoutMs: true,
  signal: true,
};

/** The result of a test run. */
export interface TestRun {
  /** What the program has returned in its last run. */
  readonly returnValue: number;
  /** The average time of a run, in nanoseconds of the guest's clock. */
  readonly durationNs: number;
  /** The packet as the program left it; empty for programs that see none. */
  readonly data: Uint8Array;
  /** The context as the program left it. */
  readonly context: Uint8Array;
}

const { BPF_F_TEST_RUN_ON_CPU } = enums.TestRunFlag;
const HEADROOM_BYTES = 512;
const none = new Uint8Array(0);

/** Runs a program on data; see {@link Program.testRun}. */
export async function testRun(
  program: GuestObject<'prog'> & { readonly type: number },
  options: TestRunOptions,
  about: BpfOptions,
): Promise<TestRun> {
  refuseUnknownOptions('testRun()', options, optionNames);
  const { data, context, cpu } = options;
  const dataOut = options.dataOutBytes ?? (data === undefined ? 0 : data.length + HEADROOM_BYTES);
  const isSyscall = program.type === enums.ProgType.BPF_PROG_TYPE_SYSCALL;
  // SYSCALL programs have their context written back to where it came from, and others, which see
  // no packet, may have none at all.
  const contextOut = isSyscall ? 0 : (options.contextOutBytes ?? (data && context?.length) ?? 0);
  const flags = (options.flags ?? 0) | (cpu === undefined ? 0 : BPF_F_TEST_RUN_ON_CPU);
  const results = await program.session.bpf(
    rows.PROG_TEST_RUN,
    {
      prog_fd: program,
      ...(data === undefined ? {} : { data_in: data }),
      ...(dataOut === 0 ? {} : { data_size_out: dataOut }),
      ...(context === undefined ? {} : { ctx_in: context }),
      ...(contextOut === 0 ? {} : { ctx_size_out: contextOut }),
      ...(options.repeat === undefined ? {} : { repeat: options.repeat }),
      ...(flags === 0 ? {} : { flags }),
      ...(cpu === undefined ? {} : { cpu }),
      ...(options.batchSize === undefined ? {} : { batch_size: options.batchSize }),
    },
    patient(about, options),
  );
  return {
    returnValue: results.retval,
    durationNs: results.duration,
    data: results.data_out ?? none,
    context: (isSyscall ? results.ctx_in : results.ctx_out) ?? none,
  };
}
