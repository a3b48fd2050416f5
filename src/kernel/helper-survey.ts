/* Which helpers the guest's kernel has, and programs of which types may call them. */
import { encode, enums, insn, KnownMaps, rows } from '../bpf/index.js';
import type { BtfTypes } from '../btf/index.js';
import { errnoName } from '../errno.js';
import { kernelTypes } from './btf.js';
import { type Finding, refusingRule } from './finding.js';
import type { GuestKernel } from './guest-kernel.js';

/** A helper, and who may call it. */
export interface HelperFinding extends Finding {
  /** The types of the programs that may call it, in the order of their numbers. */
  readonly programTypes: readonly string[];
}

/** The results for all helpers. */
export interface HelperSurvey {
  readonly helpers: readonly HelperFinding[];
  /** The program types that helpers could not be asked of, each with the reason. */
  readonly notAskedOf: Readonly<Record<string, string>>;
}

type ProgTypeName = keyof typeof enums.ProgType;

/** Attributes without which the kernel refuses a program of this type like an unknown type. */
export interface Way {
  readonly expected_attach_type?: number;
  readonly prog_flags?: number;
  readonly attach_btf_id?: number;
}

const { AttachType, Helper, ProgFlag, ProgType } = enums;

/**
 * How programs of a type are loaded, for types of which the number alone is not enough, or not all:
 * what a program is for decides in some types which helpers it may call. The first way is the one
 * that bpftool and libbpf use.
 */
const waysOfTypes: Readonly<Partial<Record<ProgTypeName, readonly Way[]>>> = {
  BPF_PROG_TYPE_CGROUP_SOCK_ADDR: [{ expected_attach_type: AttachType.BPF_CGROUP_INET4_CONNECT }],
  BPF_PROG_TYPE_CGROUP_SOCKOPT: [
    { expected_attach_type: AttachType.BPF_CGROUP_GETSOCKOPT },
    { expected_attach_type: AttachType.BPF_CGROUP_SETSOCKOPT },
  ],
  BPF_PROG_TYPE_SK_LOOKUP: [{ expected_attach_type: AttachType.BPF_SK_LOOKUP }],
  BPF_PROG_TYPE_SYSCALL: [{ prog_flags: ProgFlag.BPF_F_SLEEPABLE }],
  BPF_PROG_TYPE_NETFILTER: [{ expected_attach_type: AttachType.BPF_NETFILTER }],
};

/** The first way to load a program of a type. */
export function wayOf(constant: string): Way {
  return waysOfTypes[constant as ProgTypeName]?.[0] ?? {};
}

/** The targets of programs of these types, by their names in the kernel's own types. */
interface Target {
  readonly attachType: number;
  readonly flags?: number;
  readonly function: string;
}

// Before 6.2 a function takes as long to be found as there are others at lower addresses, some 30
// ms for the last ones in an emulated guest. These are among the first.
const targetsOfTypes: Readonly<Partial<Record<ProgTypeName, readonly Target[]>>> = {
  BPF_PROG_TYPE_TRACING: [
    { attachType: AttachType.BPF_TRACE_FENTRY, function: 'do_one_initcall' },
    { attachType: AttachType.BPF_TRACE_ITER, function: 'bpf_iter_task' },
    {
      ...{ attachType: AttachType.BPF_TRACE_FENTRY, function: '__x64_sys_arch_prctl' },
      flags: ProgFlag.BPF_F_SLEEPABLE,
    },
  ],
  BPF_PROG_TYPE_LSM: [
    { attachType: AttachType.BPF_LSM_MAC, function: 'bpf_lsm_file_open' },
    {
      ...{ attachType: AttachType.BPF_LSM_MAC, function: 'bpf_lsm_file_open' },
      flags: ProgFlag.BPF_F_SLEEPABLE,
    },
    { attachType: AttachType.BPF_LSM_CGROUP, function: 'bpf_lsm_socket_post_create' },
  ],
};

/** The operations that stand for all struct_ops programs. */
const OPERATIONS = 'tcp_congestion_ops';
const OPERATION = 'ssthresh';

/** All ways to load a program of a type, or why there is none. */
async function waysOf(session: GuestKernel, constant: string): Promise<readonly Way[] | string> {
  const type = constant as ProgTypeName;
  if (type === 'BPF_PROG_TYPE_EXT') {
    return 'a program of this type replaces a function of another program, and may call the helpers of that program';
  }
  const targets = targetsOfTypes[type];
  const isTyped = targets !== undefined || type === 'BPF_PROG_TYPE_STRUCT_OPS';
  if (!isTyped) return waysOfTypes[type] ?? [{}];
  if (!session.kernel.btf) return 'asking needs the types of the kernel (BTF), and it has none';
  try {
    const types = await kernelTypes(session);
    const ways = targets === undefined ? operationWays(types) : targetWays(types, targets);
    const names = targets?.map((one) => one.function).join(' ') ?? OPERATIONS;
    return ways.length > 0 ? ways : `the types of the kernel (BTF) have none of ${names}`;
  } catch (error) {
    const rule = refusingRule(error);
    if (rule === undefined) throw error;
    return `asking needs the types of the kernel (BTF), which the policy's rule ${rule} refuses`;
  }
}

function targetWays(types: BtfTypes, targets: readonly Target[]): Way[] {
  return targets.flatMap(({ attachType, flags = 0, function: name }) => {
    const id = types.find('func', name);
    if (id === undefined) return [];
    return { expected_attach_type: attachType, prog_flags: flags, attach_btf_id: id };
  });
}

function operationWays(types: BtfTypes): Way[] {
  const id = types.find('struct', OPERATIONS);
  const type = id === undefined ? undefined : types.type(id);
  if (type?.kind !== 'struct') return [];
  const index = type.members.findIndex(({ name }) => name === OPERATION);
  return index < 0 ? [] : [{ expected_attach_type: index, attach_btf_id: type.id }];
}

/** A log has room for the instruction, the verdict and the verifier's statistics. */
const LOG_BYTES = 1024;
/** As the names of the findings have it. */
export const typeName = (constant: string) => constant.replace('BPF_PROG_TYPE_', '').toLowerCase();

/** The verifier's message for a helper that programs of the type, or all programs, lack. */
const NOT_FOR_TYPE = /unknown func |cannot use helper /;
const NOT_AT_ALL = /invalid func /;
/** It has got as far as the call: whatever it says then, it knows the helper. */
const AT_CALL = /\(85\) call /;
/** How many program types are asked at a time. */
const TYPES_AT_A_TIME = 4;

/** The answers about a helper so far. */
interface Heard {
  readonly name: string;
  readonly number: number;
  readonly programTypes: string[];
  /** The policy's rule against it, which holds for programs of every type. */
  refusedBy: string | undefined;
  /** Whether the kernel has no helper of this number at all. */
  absent: boolean;
}

/**
 * Asks for every helper in a program of every type: some six thousand programs, many of which
 * travel at a time. None of them is ever loaded, since each reads a register that nothing was
 * written to; but the verifier looks at the call before.
 *
 * @param types the program types, as preflight has found them
 */
export async function surveyHelpers(
  session: GuestKernel,
  types: readonly Finding[],
): Promise<HelperSurvey> {
  const notAskedOf: Record<string, string> = {};
  const targets: [name: string, type: number, ways: readonly Way[]][] = [];
  for (const [constant, type] of Object.entries(ProgType).slice(1)) {
    const name = typeName(constant);
    const found = types.find((one) => one.name === name);
    const ways = found?.offered === true ? await waysOf(session, constant) : whyNot(found);
    if (typeof ways === 'string') notAskedOf[name] = ways;
    else if (ways !== undefined) targets.push([name, type, ways]);
  }
  const helpers = Object.entries(Helper).map(
    ([constant, number]): Heard => ({
      name: constant.replace('BPF_FUNC_', 'bpf_'),
      number,
      programTypes: [],
      refusedBy: undefined,
      absent: false,
    }),
  );
  const askOf = async ([name, prog_type, ways]: (typeof targets)[number]) => {
    const unclear: (string | undefined)[] = [];
    for (const way of ways) {
      unclear.push(await askAll(session, name, { prog_type, ...way }, helpers));
    }
    // What a kernel does not have a way for, it has no helpers for either, if it has another way.
    const [why] = unclear;
    if (why !== undefined && !unclear.includes(undefined)) notAskedOf[name] = why;
  };
  // The first type's answers tell which helpers nobody has, or may ask for.
  for (const first of targets.slice(0, 1)) await askOf(first);
  for (let at = 1; at < targets.length; at += TYPES_AT_A_TIME) {
    await Promise.all(targets.slice(at, at + TYPES_AT_A_TIME).map(askOf));
  }
  const unasked = types.filter(({ name }) => name !== 'ext' && notAskedOf[name] !== undefined);
  return { helpers: helpers.map((one) => findingOf(one, unasked)), notAskedOf };
}

function whyNot(found: Finding | undefined): string | undefined {
  if (found?.offered === false) return undefined;
  if (found?.refusedBy !== undefined) return `refused by the policy's rule ${found.refusedBy}`;
  return found?.why ?? 'the type was not asked for';
}

/** Asks programs of one type for all helpers; returns why none could be, where that is so. */
async function askAll(
  session: GuestKernel,
  type: string,
  values: Way & { prog_type: number },
  helpers: readonly Heard[],
): Promise<string | undefined> {
  const open = helpers.filter(
    ({ refusedBy, absent, programTypes }) =>
      refusedBy === undefined && !absent && !programTypes.includes(type),
  );
  const noMaps = new KnownMaps(session.kernel.possibleCpus);
  const encoded = open.map(({ number }) =>
    encode(
      rows.PROG_LOAD,
      {
        ...values,
        insns: insn.program(insn.call(number), insn.mov('r0', 'r9'), insn.exit()),
        license: 'GPL',
        log_level: 1,
        log_size: LOG_BYTES,
      },
      noMaps,
      session.newHandle(),
    ),
  );
  const replies = session.callAll(
    encoded.map(({ call }) => call),
    { name: rows.PROG_LOAD.name },
  );
  let why: string | undefined;
  const heard = await Promise.allSettled(replies);
  for (const [index, outcome] of heard.entries()) {
    const helper = open[index] as Heard;
    if (outcome.status === 'rejected') {
      helper.refusedBy = refusingRule(outcome.reason);
      if (helper.refusedBy === undefined) throw outcome.reason;
      continue;
    }
    const { log_buf: log = '' } = encoded[index]?.decode(outcome.value) ?? {};
    if (NOT_AT_ALL.test(log)) helper.absent = true;
    else if (NOT_FOR_TYPE.test(log)) continue;
    else if (AT_CALL.test(log)) helper.programTypes.push(type);
    else
      why = `loading one ends with ${errnoName(outcome.value.errno)} ${log.split('\n')[0]}`.trim();
  }
  return why;
}

function findingOf(heard: Heard, unasked: readonly Finding[]): HelperFinding {
  const { name, programTypes, refusedBy, absent } = heard;
  if (refusedBy !== undefined) return { name, offered: undefined, refusedBy, programTypes };
  if (programTypes.length > 0) return { name, offered: true, refusedBy, programTypes };
  if (absent || unasked.length === 0) return { name, offered: false, refusedBy, programTypes };
  const rules = new Set(unasked.map((one) => one.refusedBy));
  const [rule] = rules;
  if (rules.size === 1 && rule !== undefined) {
    return { name, offered: undefined, refusedBy: rule, programTypes };
  }
  const why = `only programs of these types might have it: ${unasked.map((one) => one.name).join(' ')}`;
  return { name, offered: undefined, why, refusedBy, programTypes };
}
