/* Valid inputs for the C++ targets, made by the product's own encoders. */
import { netlink } from '../../../src/bpf/index.js';
import { type Call, FileOperation, Relocation } from '../../../src/call.js';
import {
  callFrameParts,
  chainFrame,
  FrameFlag,
  FrameType,
  messageFrame,
  netlinkBody,
} from '../../../src/frame/index.js';
import { compile, encodeRules, type KernelNames, profiles } from '../../../src/policy/index.js';

/** The modes of core/agent.cc. */
const Mode = { FRAMES: 0, OWN_RULES: 1, STREAM: 2 } as const;

const zeros = (length: number) => new Uint8Array(length);
const { POINTER, FD32, FD64, PID } = Relocation;

/** Calls of every shape: each direction of a buffer, each kind of relocation, chains of pointers. */
const calls: readonly Call[] = [
  { command: 0, args: 1, result: 7, buffers: [Buffer.from([1, 0, 0, 0, 4])], relocations: [] },
  {
    command: 1,
    args: 1,
    result: 0,
    buffers: [zeros(32), Buffer.from([1, 0, 0, 0]), 8],
    relocations: [0, 0, FD32, 7, 0, 8, POINTER, 1, 0, 16, POINTER, 2],
  },
  {
    command: 5,
    args: 1,
    result: 8,
    buffers: [{ inout: zeros(168) }, zeros(24), Buffer.from('GPL\0'), 64],
    relocations: [0, 8, POINTER, 1, 0, 16, POINTER, 2, 0, 40, POINTER, 3, 1, 4, FD64, 7],
  },
  {
    command: 15,
    args: 1,
    result: 0,
    buffers: [{ inout: zeros(16) }, { inout: zeros(232) }, 16, 40],
    relocations: [0, 0, FD32, 7, 0, 8, POINTER, 1, 1, 24, POINTER, 2, 1, 56, POINTER, 3],
  },
  {
    command: 12,
    args: 1,
    result: 0,
    buffers: [zeros(16), 24, 8],
    relocations: [0, 0, POINTER, 1, 1, 8, POINTER, 2, 1, 0, FD32, 7],
  },
  {
    command: 0x10014,
    args: 2,
    result: 0,
    buffers: [{ inout: zeros(48) }, { inout: zeros(16) }, 128],
    relocations: [0, 0, PID, 0, 0, 16, POINTER, 2, 1, 0, POINTER, 2],
  },
];

/** A call without handles. Its number decides what the fake kernel makes of it. */
const numbered = (number: number): Call => ({
  command: 12,
  args: 1,
  result: 0,
  buffers: [Buffer.concat([Buffer.of(number), zeros(23)]), 24, { inout: zeros(8) }],
  relocations: [0, 8, POINTER, 1, 0, 16, POINTER, 2],
});

/** Chains whose calls take what earlier ones return, as a buffer, as the attribute or as nothing. */
const chains: readonly Uint8Array[] = [
  chainFrame(1, calls),
  ...Array.from({ length: 16 }, (_, i) => {
    const [attribute = 0, out = 0, inout = 0] = numbered(i + 16).buffers;
    return chainFrame(i, [
      numbered(i),
      { ...numbered(0), buffers: [attribute, { call: 0, output: i % 2 }, inout] },
      { ...numbered(0), buffers: [{ call: 0, output: 0 }, out, { call: 1, output: 0 }] },
    ]);
  }),
];

const requests: readonly Uint8Array[] = [
  messageFrame(FrameType.OPEN, 1, ['/proc/version', 5]),
  messageFrame(FrameType.READ, 2, [5, 300]),
  messageFrame(FrameType.CLOSE, 3, [5]),
  mayWait(messageFrame(FrameType.PING, 4, undefined)),
  mayWait(messageFrame(FrameType.CLOCK, 5, [])),
];

/** A message of netlink of each kind that is known, and an operation of each kind on a file. */
const asked: readonly Uint8Array[] = [
  ...netlink.netlinkMessages
    .filter(({ kind }) => kind !== undefined)
    .map((known, at) => {
      const message = netlink.leastNetlinkMessage(known, 1);
      const body = netlinkBody({ protocol: known.protocol, options: 0, message });
      return messageFrame(FrameType.NETLINK, at, body);
    }),
  ...Object.values(FileOperation).map((operation) =>
    messageFrame(FrameType.FILE, operation, [operation, '/sys/fs/bpf/a', 0, '/sys/fs/bpf/b/']),
  ),
];

function mayWait(frame: Uint8Array): Uint8Array {
  frame[5] = FrameFlag.ANSWER_MAY_WAIT;
  return frame;
}

/** A kernel that has none of the names in profiles. */
const noKernel: KernelNames = {
  possibleCpus: 2,
  functions: () => [],
  hooks: () => [],
  tracepoints: () => [],
  perfType: () => undefined,
  probes: () => [],
};

/**
 * Returns inputs of core/agent.cc: frames, frames in pieces, and frames under each profile's rules.
 */
export function agentSeeds(): Uint8Array[] {
  const frames = Buffer.concat([
    ...calls.flatMap((call, at) => callFrameParts(at, call)),
    ...requests,
    ...asked,
    ...calls.flatMap((call, at) => callFrameParts(10 + at, { ...call, result: 0 })),
    ...chains,
  ]);
  const each = [
    ...calls.map((call) => Buffer.concat(callFrameParts(1, call))),
    ...chains,
    ...asked,
  ];
  const ruled = Object.values(profiles).map((profile) => {
    const rules = encodeRules(compile(profile, noKernel));
    return [Buffer.of(Mode.OWN_RULES, rules.length & 0xff, rules.length >> 8), rules, frames];
  });
  return [
    ...each.map((frame) => Buffer.concat([Buffer.of(Mode.FRAMES), frame])),
    Buffer.concat([Buffer.of(Mode.FRAMES), frames]),
    Buffer.concat([Buffer.of(Mode.STREAM | (7 << 4)), frames]),
    ...ruled.map((parts) => Buffer.concat(parts)),
  ];
}
