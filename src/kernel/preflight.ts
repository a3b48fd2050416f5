import { enums, insn, rows } from '../bpf/index.js';
import type { SystemError } from '../errors.js';
import { ask, type Finding, inParallel, lacking, refusingRule } from './finding.js';
import { isMissing } from './guest-file.js';
import type { GuestKernel } from './guest-kernel.js';
import { type HelperFinding, surveyHelpers, typeName, type Way, wayOf } from './helper-survey.js';
import { surveyMaps } from './map-survey.js';

/** The features of a guest's kernel, and which of them the guest's policy allows. */
export interface Preflight {
  /** The release of the guest's kernel. */
  readonly kernel: string;
  /** The name of the agent's profile that applies to the session. */
  readonly profile: string;
  /** Whether the kernel has types (BTF) of its own. */
  readonly btf: boolean;
  /** `none`, `integrity` or `confidentiality`; `undefined` where it cannot be read. */
  readonly lockdown: string | undefined;
  /** How many records a session may be sent in a second; 0 for as many as there are. */
  readonly maxEventsPerSecond: number;
  /** What the kernel has beyond types of programs and maps, and helpers. */
  readonly facilities: readonly Finding[];
  /** The types of programs. */
  readonly programTypes: readonly Finding[];
  /** The types of maps. */
  readonly mapTypes: readonly Finding[];
  /** The helpers, with the types of programs that may call them. */
  readonly helpers: readonly HelperFinding[];
  /** The program types that helpers could not be asked of, each with the reason. */
  readonly helpersNotAskedOf: Readonly<Record<string, string>>;
}

const LOG_BYTES = 4096;
const { ProgType } = enums;

async function load(session: GuestKernel, type: number, way: Way) {
  const outcome = await session.tryBpf(rows.PROG_LOAD, {
    prog_type: type,
    ...way,
    insns: nothing,
    license: 'GPL',
    log_level: 1,
    log_size: LOG_BYTES,
  });
  const { log_buf: log = '' } = outcome.values();
  if (outcome.result >= 0) await session.release([outcome.handle]);
  return { loaded: outcome.result >= 0, errno: outcome.errno, log: String(log) };
}

const nothing = insn.program(insn.mov('r0', 0), insn.exit());

/** A type that the kernel does not know is refused before the verifier says a word. */
const programTypes = (session: GuestKernel) =>
  inParallel(Object.entries(ProgType).slice(1), ([constant, type]) =>
    ask(typeName(constant), async () => {
      const { loaded, errno, log } = await load(session, type, wayOf(constant));
      return loaded || log !== '' || lacking(errno);
    }),
  );

async function read(session: GuestKernel, path: string): Promise<string> {
  const file = await session.open(path);
  const bytes = await session.read(file, 4096);
  await session.release([file]);
  return Buffer.from(bytes ?? []).toString('latin1');
}

/** Whether there is a file, or why that is not known. */
async function isThere(session: GuestKernel, path: string): Promise<boolean | string> {
  try {
    await read(session, path);
    return true;
  } catch (error) {
    if (refusingRule(error) !== undefined || session.closed) throw error;
    return isMissing(error) ? false : `reading ${path} ends with ${(error as SystemError).code}`;
  }
}

/** Files that are there if the kernel has a facility. */
const facilities: Readonly<Record<string, string>> = {
  'types (BTF)': '/sys/kernel/btf/vmlinux',
  'trace events': '/sys/kernel/tracing/available_events',
  'function tracing': '/sys/kernel/tracing/available_filter_functions',
  kprobes: '/sys/bus/event_source/devices/kprobe/type',
  uprobes: '/sys/bus/event_source/devices/uprobe/type',
  symbols: '/proc/kallsyms',
};

/**
 * Asks a guest's kernel what it offers, through the guest's policy: some 6 500 calls, each of which
 * leaves no object behind. The kernel notes in its log that programs with bpf_probe_write_user()
 * were looked at.
 *
 * @throws what {@link Caller.call} throws, refusals by the policy excepted
 */
export async function preflight(session: GuestKernel): Promise<Preflight> {
  const found = await inParallel(Object.entries(facilities), ([name, path]) =>
    ask(name, () => isThere(session, path)),
  );
  const lockdown = await read(session, '/sys/kernel/security/lockdown').catch(() => undefined);
  const types = await programTypes(session);
  const { helpers, notAskedOf } = await surveyHelpers(session, types);
  return {
    kernel: session.kernel.release,
    profile: session.profile,
    btf: session.kernel.btf,
    lockdown: lockdown === undefined ? undefined : (/\[(\w+)\]/.exec(lockdown)?.[1] ?? 'none'),
    maxEventsPerSecond: session.limits.maxEventsPerSecond,
    facilities: found,
    programTypes: types,
    mapTypes: await surveyMaps(session),
    helpers,
    helpersNotAskedOf: notAskedOf,
  };
}
