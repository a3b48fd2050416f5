import { readFileSync } from 'node:fs';
import { encodeRules } from '../../guest/agent/rules.js';
import { type Arguments, type Command, encode, KnownMaps } from '../../src/bpf/index.js';
import type { Results } from '../../src/bpf/types.js';
import type { Handle, Reply } from '../../src/call.js';
import {
  callFrameBound,
  FrameType,
  HEADER_BYTES,
  outputLengths,
  parseError,
  parseReply,
  putCallFrame,
} from '../../src/frame/index.js';
import { native } from '../../src/native.js';

const rules = encodeRules({
  commands: Array.from({ length: 64 }, (_, number) => number),
  otherCommands: true,
  words: [],
  readablePaths: [],
  limits: {
    maxFrameBytes: 2 ** 26,
    maxCallBytes: 2 ** 26,
    maxBuffers: 256,
    maxRelocations: 2 ** 16,
    maxHandles: 4096,
  },
});

/** How many CPUs this machine can have. */
export const possibleCpus: number =
  Number(readFileSync('/sys/devices/system/cpu/possible', 'utf8').trim().split('-').at(-1)) + 1;

/** What came of a call: its results, and the error that it would have been thrown as. */
export interface Outcome<C extends Command> {
  reply: Reply;
  results: Results<C>;
  errno: number;
  error(): Error;
}

/** This machine's own kernel, reached through frames as a guest's would be. */
export class LocalKernel {
  readonly maps = new KnownMaps(possibleCpus);
  readonly #executor = new native.Executor(rules);
  #handles = 0;

  /** Makes a call and returns what came of it, error or not. */
  try<C extends Command>(shape: C, values: Arguments<C>): Outcome<C> & { handle: Handle } {
    const handle = shape.returns === 'fd' ? ++this.#handles : 0;
    const encoded = encode(shape, values, this.maps, handle);
    const frame = new Uint8Array(callFrameBound(encoded.call));
    const length = putCallFrame(frame, 1, encoded.call);
    const answer = this.#executor.execute(frame.subarray(0, length));
    const type = answer[4];
    if (type !== FrameType.RESULT) throw parseError(answer.subarray(HEADER_BYTES));
    const lengths = outputLengths(encoded.call);
    const reply = parseReply(answer, HEADER_BYTES, answer.length, lengths, false);
    const results = encoded.decode(reply);
    return { reply, results, errno: reply.errno, error: () => encoded.error(reply), handle };
  }

  /** Makes a call that must succeed. */
  call<C extends Command>(shape: C, values: Arguments<C>): Results<C> & { handle: Handle } {
    const { errno, error, results, handle } = this.try(shape, values);
    if (errno !== 0) throw error();
    return { ...results, handle };
  }

  close(): void {
    this.#executor.close();
  }
}

/** Why this machine cannot run tests against its own kernel, or `false`. */
export function whyNoKernel(): string | false {
  if (process.getuid?.() !== 0) return 'bpf(2) needs privileges (try: run the tests as root)';
  const probe = new native.Executor(rules);
  try {
    // MAP_GET_NEXT_ID from 0: harmless, and needs what everything else here needs.
    const call = {
      command: 12,
      args: 1 as const,
      result: 0,
      buffers: [{ inout: new Uint8Array(16) }],
      relocations: [],
    };
    const frame = new Uint8Array(callFrameBound(call));
    const answer = probe.execute(frame.subarray(0, putCallFrame(frame, 1, call)));
    const { errno } = parseReply(answer, HEADER_BYTES, answer.length, undefined, false);
    if (errno === 1) return 'bpf(2) is not permitted here (try: outside of the container)';
    if (errno === 38) return 'this kernel has no bpf(2) (try: one with CONFIG_BPF_SYSCALL)';
    return false;
  } finally {
    probe.close();
  }
}
