import { instructions, tracepoint } from '../../cli/hello-program.js';
import { encode, enums, rows } from '../../src/bpf/index.js';
import type { Call, Handle } from '../../src/call.js';

export { instructions, message } from '../../cli/hello-program.js';

const noMaps = { mapSpec: () => undefined, possibleCpus: 1 };

/** PROG_LOAD of the thesis' Figure 2 program, which gets `result` as its handle. */
export function loadCall(result: Handle): Call {
  return encode(
    rows.PROG_LOAD,
    {
      prog_type: enums.ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT,
      insns: instructions,
      // bpf_trace_printk is for GPL-compatible programs only.
      license: 'GPL',
    },
    noMaps,
    result,
  ).call;
}

/** RAW_TRACEPOINT_OPEN of the program behind `handle`; the link gets `result` as its handle. */
export function attachCall(handle: Handle, result: Handle): Call {
  return encode(rows.RAW_TRACEPOINT_OPEN, { name: tracepoint, prog_fd: { handle } }, noMaps, result)
    .call;
}
