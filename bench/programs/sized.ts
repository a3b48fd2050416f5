import { encode, enums, insn, rows } from '../../src/bpf/index.js';
import type { Call, Handle } from '../../src/call.js';

const { exit, mov } = insn;
const noMaps = { mapSpec: () => undefined, possibleCpus: 1 };

/** A program of so many instructions, at least 2, that the verifier has to walk all of. */
function sizedProgram(instructions: number): Uint8Array {
  const one = mov('r0', 0);
  const bytes = new Uint8Array(8 * instructions);
  for (let at = 0; at < instructions - 1; at++) bytes.set(one, 8 * at);
  bytes.set(exit(), 8 * (instructions - 1));
  return bytes;
}

/** PROG_LOAD of {@link sizedProgram}, which gets `result` as its handle. */
export function sizedLoadCall(instructions: number, result: Handle): Call {
  return encode(
    rows.PROG_LOAD,
    {
      prog_type: enums.ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT,
      insns: sizedProgram(instructions),
      license: 'GPL',
    },
    noMaps,
    result,
  ).call;
}
