/* What a case about a rule consists of, and what cases have in common. */
import { provideFileSystems } from '../../guest/agent/file-systems.js';
import { kernelNames } from '../../guest/agent/kernel-names.js';
import { enums, insn, rows } from '../../src/bpf/index.js';
import { type KernelNames, type Policy, profiles } from '../../src/policy/index.js';
import type { Session } from '../../src/session.js';

export { raw } from '../raw-call.js';

const { ProgType } = enums;
export const RAW_TRACEPOINT = ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT;
export const TRACING = ProgType.BPF_PROG_TYPE_TRACING;
export const end = insn.program(insn.mov('r0', 0), insn.exit());
// Names come from tracefs, which this machine need not have mounted.
provideFileSystems();
const kernel = kernelNames();
const tracepoints = ['sched_switch', 'sched_wakeup', 'sys_enter', 'sys_exit'];
/**
 * This machine's kernel, which plays the guest's. Where it has no probes, or shows no tracepoints,
 * they have a number all the same: rules come before the kernel's own answer.
 */
export const names: KernelNames = {
  ...kernel,
  tracepoints: (matches) => {
    const ids = kernel.tracepoints(matches);
    return ids.length > 0 ? ids : tracepoints.flatMap((name, i) => (matches(name) ? 300 + i : []));
  },
  perfType: (device) => kernel.perfType(device) ?? { kprobe: 60, uprobe: 61 }[device],
};
export const observe: Policy = profiles.observe;

export interface Case {
  name: string;
  rule: string;
  /** For a session that nothing else has been done in. */
  apart?: true;
  /** What the policy has beside what `observe` has. */
  policy?: Partial<Policy>;
  refused(session: Session): Promise<unknown>;
  /** What the refusal says of the value. */
  value: RegExp;
  allowed(session: Session): Promise<unknown>;
}

/** Ids of a program, a map and a link of another session, which lives as long as the test. */
export const others = { program: 0, map: 0, link: 0 };
export const foreignMap = (session: Session, flags: number = enums.ObjectFlag.BPF_F_RDONLY) =>
  session.bpf(rows.MAP_GET_FD_BY_ID, { map_id: others.map, open_flags: flags });

export const foreignProgram = (session: Session) =>
  session.bpf(rows.PROG_GET_FD_BY_ID, { prog_id: others.program });
export const foreignLink = (session: Session) =>
  session.bpf(rows.LINK_GET_FD_BY_ID, { link_id: others.link });

export const load = (
  session: Session,
  instructions: Uint8Array = end,
  type: number = RAW_TRACEPOINT,
) => session.loadProgram({ type, instructions, license: 'GPL' });
export const map = (session: Session, type: number, maxEntries = 1) =>
  session.createMap({ type, keySize: 4, valueSize: 8, maxEntries });
