import { Cmd, Helper, ProgType } from '../bpf/enums.js';
import { originOf } from './describe.js';
import type { PolicyFile } from './file.js';
import type { Policy } from './policy.js';
import { contains } from './rules.js';

/** A thing that a policy allows and that its owner may not have meant. */
export interface Warning {
  /** The rules that together allow it. */
  rules: readonly (keyof Policy)[];
  /** The consequence. */
  what: string;
  cure: string;
  /** Where the first of the rules was written: `file:line`, or the profile's name. */
  from: string;
}

const combinations: readonly (Omit<Warning, 'from'> & { allows(policy: Policy): boolean })[] = [
  {
    rules: ['helpers', 'program_types'],
    // Only BPF_PROG_TEST_RUN runs a program of this type.
    allows: ({ commands, helpers, program_types }) =>
      contains(helpers, Helper.BPF_FUNC_sys_bpf) &&
      contains(program_types, ProgType.BPF_PROG_TYPE_SYSCALL) &&
      contains(commands, Cmd.BPF_PROG_LOAD) &&
      contains(commands, Cmd.BPF_PROG_TEST_RUN),
    what: 'programs of the type syscall may call bpf_sys_bpf: they make calls of bpf(2) inside the kernel, which no rule of this policy and no line of the audit log sees',
    cure: 'Deny one of them, such as helpers: { deny: [bpf_sys_bpf] }.',
  },
];

/** Returns what a policy allows by rules that weaken other rules. */
export function warningsOf(policy: PolicyFile): Warning[] {
  return combinations
    .filter(({ allows }) => allows(policy.policy))
    .map(({ rules, what, cure }) => {
      const written = rules.find((rule) => policy.places.has(rule)) ?? rules[0] ?? 'helpers';
      return { rules, what, cure, from: originOf(policy, written) };
    });
}
