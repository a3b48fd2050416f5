/* The policy of core/policy.cc, and sequences of calls under it. */
import { enums, insn, perf } from '../../../src/bpf/index.js';
import { type Call, Relocation } from '../../../src/call.js';
import {
  callFrameParts,
  chainFrame,
  FrameType,
  ioctlBody,
  messageFrame,
  perfOpenBody,
} from '../../../src/frame/index.js';
import { compile, type KernelNames } from '../../../src/policy/compile.js';
import { profiles } from '../../../src/policy/profiles.js';
import { encodeRules } from '../../../src/policy/rules.js';

const { POINTER, FD32, FD64 } = Relocation;
const { AttachType, CallFlag, Cmd, MapType, PerfIoctl } = enums;

const kernel: KernelNames = {
  possibleCpus: 2,
  functions: () => [],
  hooks: () => [],
  tracepoints: () => [],
  probes: () => [{ offset: 16, counter: 32 }],
  perfType: (device) => ({ kprobe: 6, uprobe: 7 })[device],
};

/**
 * Returns the rules, and behind them the calls that make a session's objects. Every input uses
 * these.
 */
export function oracleRules(): Uint8Array {
  const policy = {
    ...profiles.observe,
    commands: [[0, 63]] as const,
    attach_types: profiles.full.attach_types,
    hooks: ['sched_*', '!*_not'],
    uprobes: ['/probed:f'],
    pin_paths: ['/pins/'],
  };
  const objects = preparation({ map: 1, program: 1, link: 1 });
  const frames = objects.flatMap((one, at) => callFrameParts(at, one));
  return Buffer.concat([encodeRules(compile(policy, kernel)), ...frames]);
}

const zeros = (length: number) => new Uint8Array(length);
const text = (value: string) => Buffer.from(`${value}\0`);
const words = (...numbers: number[]) => Buffer.from(Uint32Array.from(numbers).buffer);

/** Returns an attribute with words at their offsets. */
function attribute(bytes: number, numbers: Readonly<Record<number, number>> = {}): Buffer {
  const image = Buffer.alloc(bytes);
  for (const [offset, value] of Object.entries(numbers)) image.writeUInt32LE(value, Number(offset));
  return image;
}

const call = (
  command: number,
  result: number,
  buffers: Call['buffers'],
  relocations: number[] = [],
): Call => ({ command, args: 1, result, buffers, relocations });

const end = insn.program(insn.mov('r0', 0), insn.exit());
const Handle = { MAP: 1, FOREIGN_MAP: 2, PROGRAM: 3, FOREIGN_PROGRAM: 4, LINK: 5 } as const;
const Further = { FOREIGN_LINK: 6, PROGRAMS: 7, NEW: 8, NEWER: 9 } as const;

/** The size of a verifier's log. The kernel accepts no less than 128. */
const LOG_BYTES = 1024;

/**
 * Returns a load of instructions. With `array`, the last instruction uses an array of descriptors.
 */
function load(result: number, code: Uint8Array, relocations: number[] = [], array?: Uint8Array) {
  const image = attribute(128, { 0: 17, 4: code.length / 8, 24: 1, 28: LOG_BYTES });
  const buffers = [image, code, text('GPL'), LOG_BYTES, ...(array === undefined ? [] : [array])];
  return call(Cmd.BPF_PROG_LOAD, result, buffers, [
    ...[0, 8, POINTER, 1, 0, 16, POINTER, 2, 0, 32, POINTER, 3],
    ...(array === undefined ? [] : [0, 120, POINTER, 4]),
    ...relocations,
  ]);
}

/** Ids of objects of others. */
export interface OthersIds {
  readonly map: number;
  readonly program: number;
  readonly link: number;
}

/** Returns the calls that make a session's objects and find those of others. */
export const preparation = (others: OthersIds): readonly Call[] => [
  call(Cmd.BPF_MAP_CREATE, Handle.MAP, [attribute(64, { 0: 1, 4: 4, 8: 8, 12: 4 })]),
  call(Cmd.BPF_MAP_GET_FD_BY_ID, Handle.FOREIGN_MAP, [attribute(16, { 0: others.map, 8: 8 })]),
  load(Handle.PROGRAM, end),
  call(Cmd.BPF_PROG_GET_FD_BY_ID, Handle.FOREIGN_PROGRAM, [attribute(16, { 0: others.program })]),
  call(
    Cmd.BPF_RAW_TRACEPOINT_OPEN,
    Handle.LINK,
    [attribute(16), text('sched_switch')],
    [0, 0, POINTER, 1, 0, 8, FD32, Handle.PROGRAM],
  ),
  call(Cmd.BPF_LINK_GET_FD_BY_ID, Further.FOREIGN_LINK, [attribute(16, { 0: others.link })]),
  call(Cmd.BPF_MAP_CREATE, Further.PROGRAMS, [
    attribute(64, { 0: MapType.BPF_MAP_TYPE_PROG_ARRAY, 4: 4, 8: 4, 12: 4 }),
  ]),
];

const element = (command: number, map: number, valueBytes: number, ...more: number[]) =>
  call(
    command,
    0,
    [attribute(32), zeros(4), command === Cmd.BPF_MAP_LOOKUP_ELEM ? valueBytes : zeros(valueBytes)],
    [0, 0, FD32, map, 0, 8, POINTER, 1, 0, 16, POINTER, 2, ...more],
  );

const byIndex = Buffer.concat([words(0x5018, 0, 0, 0), end]);
const bySecond = Buffer.concat([words(0x5018, 1, 0, 0), end]);
const valueBySecond = Buffer.concat([words(0x6018, 1, 0, 0), end]);
const byDescriptor = Buffer.concat([words(0x1018, 0, 0, 0), end]);
const helper = Buffer.concat([words(0x85, 14), end]);

/** Uses of these objects, each on its own. */
export const followed: readonly Call[] = [
  load(Further.NEW, helper),
  load(Further.NEW, byDescriptor, [1, 4, FD32, Handle.MAP]),
  load(Further.NEW, byIndex, [4, 0, FD32, Handle.MAP], zeros(8)),
  // As long as a log, so that a log that is written over the array is noticed.
  load(Further.NEW, bySecond, [4, 4, FD32, Handle.MAP], zeros(64)),
  load(Further.NEW, valueBySecond, [4, 4, FD32, Handle.MAP], zeros(64)),
  element(Cmd.BPF_MAP_LOOKUP_ELEM, Handle.MAP, 8),
  element(Cmd.BPF_MAP_LOOKUP_ELEM, Handle.FOREIGN_MAP, 8),
  element(Cmd.BPF_MAP_UPDATE_ELEM, Handle.MAP, 8),
  element(Cmd.BPF_MAP_UPDATE_ELEM, Further.PROGRAMS, 4, 2, 0, FD32, Handle.PROGRAM),
  call(
    Cmd.BPF_OBJ_PIN,
    0,
    [attribute(16), text('/pins/one')],
    [0, 0, POINTER, 1, 0, 8, FD32, Handle.MAP],
  ),
  call(Cmd.BPF_OBJ_GET, Further.NEW, [attribute(16), text('/pins/one')], [0, 0, POINTER, 1]),
  call(Cmd.BPF_MAP_FREEZE, 0, [attribute(8)], [0, 0, FD32, Handle.MAP]),
  call(
    Cmd.BPF_MAP_UPDATE_BATCH,
    0,
    [{ inout: attribute(56, { 32: 2 }) }, zeros(8), zeros(16)],
    [0, 16, POINTER, 1, 0, 24, POINTER, 2, 0, 36, FD32, Handle.MAP],
  ),
  call(
    Cmd.BPF_MAP_LOOKUP_BATCH,
    0,
    [{ inout: attribute(56, { 32: 2 }) }, 4, 8, 16],
    [0, 8, POINTER, 1, 0, 16, POINTER, 2, 0, 24, POINTER, 3, 0, 36, FD32, Handle.MAP],
  ),
  call(
    Cmd.BPF_OBJ_GET_INFO_BY_FD,
    0,
    [{ inout: attribute(16, { 4: 232 }) }, { inout: attribute(232, { 20: 16, 52: 2 }) }, 16, 8],
    [0, 0, FD32, Handle.PROGRAM, 0, 8, POINTER, 1, 1, 32, POINTER, 2, 1, 56, POINTER, 3],
  ),
  call(
    Cmd.BPF_BTF_LOAD,
    Further.NEW,
    [attribute(40, { 16: 32, 20: LOG_BYTES, 24: 1 }), zeros(32), LOG_BYTES],
    [0, 0, POINTER, 1, 0, 8, POINTER, 2],
  ),
  call(Cmd.BPF_PROG_TEST_RUN, 0, [attribute(64)], [0, 0, FD32, Handle.PROGRAM]),
  call(
    Cmd.BPF_PROG_BIND_MAP,
    0,
    [attribute(12)],
    [0, 0, FD32, Handle.PROGRAM, 0, 4, FD32, Handle.MAP],
  ),
  call(
    Cmd.BPF_LINK_UPDATE,
    0,
    [attribute(16)],
    [0, 0, FD32, Handle.LINK, 0, 4, FD32, Handle.PROGRAM],
  ),
  call(Cmd.BPF_LINK_DETACH, 0, [attribute(8)], [0, 0, FD32, Handle.LINK]),
  call(
    Cmd.BPF_LINK_CREATE,
    Further.NEW,
    [
      attribute(48, { 8: AttachType.BPF_TRACE_KPROBE_MULTI, 20: 2 }),
      Buffer.concat([words(0, 0), words(8, 0)]),
      Buffer.concat([text('sched_a'), text('sched_b')]),
    ],
    [0, 0, FD32, Handle.PROGRAM, 0, 24, POINTER, 1, 1, 0, POINTER, 2, 1, 8, POINTER, 2],
  ),
  call(
    Cmd.BPF_LINK_CREATE,
    Further.NEW,
    [
      attribute(64, { 8: AttachType.BPF_TRACE_UPROBE_MULTI, 48: 1 }),
      text('/probed'),
      words(16, 0),
      words(32, 0),
    ],
    [0, 0, FD32, Handle.PROGRAM, 0, 16, POINTER, 1, 0, 24, POINTER, 2, 0, 32, POINTER, 3],
  ),
  call(
    Cmd.BPF_LINK_CREATE,
    Further.NEW,
    [attribute(48, { 8: AttachType.BPF_TRACE_ITER, 24: 4 }), zeros(4)],
    [0, 0, FD32, Handle.PROGRAM, 0, 16, POINTER, 1, 1, 0, FD32, Handle.MAP],
  ),
  // A process by its number.
  call(
    Cmd.BPF_LINK_CREATE,
    Further.NEW,
    [attribute(48, { 8: AttachType.BPF_TRACE_ITER, 24: 4 }), words(1)],
    [0, 0, FD32, Handle.PROGRAM, 0, 16, POINTER, 1],
  ),
  call(Cmd.BPF_MAP_GET_FD_BY_ID, Further.NEW, [attribute(16, { 0: 1, 8: 8 })]),
  {
    ...call(
      Cmd.BPF_MAP_GET_NEXT_ID | CallFlag.BPF_COMMON_ATTRS,
      0,
      [attribute(16), attribute(24, { 8: LOG_BYTES, 12: 1 }), LOG_BYTES],
      [1, 0, POINTER, 2],
    ),
    args: 2,
  },
];

function perfOpen(
  type: number,
  name: string,
  config = 0n,
  config2 = 0n,
  result: number = Further.NEW,
): Uint8Array {
  const { PERF_EVENT_ATTR, PERF_ATTR_SIZE_VER5 } = perf;
  const image = attribute(PERF_ATTR_SIZE_VER5, { 0: type, 4: PERF_ATTR_SIZE_VER5 });
  const { config: place, config1, config2: offset } = PERF_EVENT_ATTR.fields;
  image.writeBigUInt64LE(config, place.offset);
  image.writeBigUInt64LE(config2, offset.offset);
  return messageFrame(
    FrameType.PERF_OPEN,
    2,
    perfOpenBody({
      result,
      pid: -1,
      cpu: 0,
      group: 0,
      flags: 0,
      buffers: [image, text(name)],
      relocations: [0, config1.offset, POINTER, 1],
    }),
  );
}

/** Calls that once got round the rules, or are one step from doing so. */
export const attacks: readonly (readonly Call[])[] = [
  // An index beyond an array, across an inaccessible page into the memory of another buffer.
  ...[0x400, 0x800].map((index) => {
    const code = Buffer.concat([words(0x5018, index, 0, 0), end]);
    const one = load(Further.NEW, code, [], zeros(8));
    return [{ ...one, buffers: [...one.buffers, Buffer.alloc(4096, 9)] }];
  }),
  // The found object has no handle, and is named by its number in a word that may be a number.
  [
    call(Cmd.BPF_MAP_GET_FD_BY_ID, 0, [attribute(16, { 0: 1, 8: 8 })]),
    ...[10, 11, 12, 13].map((number) =>
      call(
        Cmd.BPF_LINK_CREATE,
        Further.NEW,
        [attribute(48, { 8: AttachType.BPF_TRACE_ITER, 24: 4 }), words(number)],
        [0, 0, FD32, Handle.PROGRAM, 0, 16, POINTER, 1],
      ),
    ),
  ],
  // A call leaves bytes behind its argument, and another call reads them there.
  [
    call(
      Cmd.BPF_MAP_LOOKUP_ELEM,
      0,
      [attribute(512, { 16: 512 }), zeros(4)],
      [0, 0, FD32, Handle.MAP, 0, 8, POINTER, 1, 0, 16, POINTER, 0],
    ),
    call(
      Cmd.BPF_PROG_LOAD,
      Further.NEW,
      [attribute(512, { 0: 17, 4: 1, 8: 512 }), text('GPL')],
      [0, 8, POINTER, 0, 0, 16, POINTER, 1],
    ),
  ],
  // An array that begins inside a buffer, with an index before it, and with one inside it.
  ...[-1, 0].map((index) => {
    const code = Buffer.concat([words(0x5018, index >>> 0, 0, 0), end]);
    const { buffers, ...rest } = load(
      Further.NEW,
      code,
      [4, 4, FD32, Handle.FOREIGN_MAP, 4, 8, FD32, Handle.MAP],
      zeros(16),
    );
    (buffers[0] as Buffer).writeUInt32LE(8, 120);
    return [{ ...rest, buffers }];
  }),
  // A log that is written over an array of descriptors.
  [
    {
      ...load(Further.NEW, byIndex, [], zeros(32)),
      relocations: [0, 8, POINTER, 1, 0, 16, POINTER, 2, 0, 32, POINTER, 4, 0, 120, POINTER, 4],
    },
  ],
  [element(Cmd.BPF_MAP_UPDATE_ELEM, Further.PROGRAMS, 4, 2, 0, FD32, Handle.FOREIGN_PROGRAM)],
  [
    call(
      Cmd.BPF_PROG_BIND_MAP,
      0,
      [attribute(12)],
      [0, 0, FD32, Handle.FOREIGN_PROGRAM, 0, 4, FD32, Handle.MAP],
    ),
  ],
];

/** Calls that the policy must refuse. */
const refused: readonly (readonly Call[])[] = [
  [
    call(
      Cmd.BPF_RAW_TRACEPOINT_OPEN,
      Further.NEW,
      [attribute(16), text('sched_is_not')],
      [0, 0, POINTER, 1, 0, 8, FD32, Handle.PROGRAM],
    ),
  ],
  [
    call(Cmd.BPF_MAP_GET_FD_BY_ID, Further.NEW, [attribute(16, { 0: 1, 8: 8 })]),
    call(
      Cmd.BPF_LINK_CREATE,
      Further.NEWER,
      [attribute(48, { 8: AttachType.BPF_TRACE_ITER, 24: 4 }), zeros(4)],
      [0, 0, FD32, Handle.PROGRAM, 0, 16, POINTER, 1, 1, 0, FD32, Further.NEW],
    ),
  ],
];

const read = element(Cmd.BPF_MAP_LOOKUP_ELEM, Handle.MAP, 8);
const copy = { call: 0, output: 0 };

/** Calls that take what an earlier one has returned: as a key, as a value and as the attribute. */
const chains: readonly Uint8Array[] = [
  chainFrame(1, [read, read]),
  chainFrame(2, followed),
  chainFrame(3, [
    read,
    { ...read, buffers: [attribute(32), copy, 8] },
    {
      ...element(Cmd.BPF_MAP_UPDATE_ELEM, Handle.MAP, 8),
      buffers: [attribute(32), zeros(4), copy],
    },
  ]),
  chainFrame(4, [
    read,
    {
      ...element(Cmd.BPF_MAP_UPDATE_ELEM, Further.PROGRAMS, 4),
      buffers: [attribute(32), zeros(4), copy],
    },
  ]),
  chainFrame(5, [read, { ...call(Cmd.BPF_MAP_FREEZE, 0, []), buffers: [copy] }]),
];

const framesOf = (calls: readonly Call[]) =>
  Buffer.concat(calls.flatMap((one, at) => callFrameParts(at, one)));

/** Returns inputs of core/policy.cc: each call of the tables above. */
export function plainOracleSeeds(): Uint8Array[] {
  const setProgram = messageFrame(
    FrameType.IOCTL,
    3,
    ioctlBody({
      handle: Further.NEW,
      request: PerfIoctl.PERF_EVENT_IOC_SET_BPF,
      buffers: [zeros(8)],
      relocations: [0, 0, FD64, Handle.PROGRAM],
    }),
  );
  const each = followed.map((one) => framesOf([one]));
  return [
    ...each,
    perfOpen(1, ''),
    // Calls that the policy refuses, each for its own reason.
    ...refused.map((calls) => framesOf(calls)),
    ...chains,
    Buffer.concat([perfOpen(6, 'sched_a'), setProgram]),
    // Behind a shorter attribute there would be bytes of the call before.
    Buffer.concat([
      perfOpen(7, '/probed', 32n << 32n, 16n),
      perfOpen(6, 'sched_a', 0n, 0n, Further.NEWER),
    ]),
    Buffer.concat(each),
  ];
}

/** Returns the same, and the calls that once got round the rules. */
export function oracleSeeds(): Uint8Array[] {
  return [...plainOracleSeeds(), ...attacks.map(framesOf)];
}
