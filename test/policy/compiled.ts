/*
 * Prints what the rules of a policy come to for a kernel that is made up: what the agent gives the
 * executor, a line for each rule. The argument is one of the names below. The folder compiled/ keeps what
 * this prints, so that a change of the rules is seen where it is read. After a change that is
 * meant, write it there anew: node dist/test/policy/compiled.js observe >test/policy/compiled/observe.txt
 */
import { pathToFileURL } from 'node:url';
import { Decoder } from 'cbor-x';
import { commands, enums, netlink } from '../../src/bpf/index.js';
import { compile, parsePolicy, profiles } from '../../src/policy/index.js';
import { encodeRules, IOCTLS, NETLINK, PERF_EVENT_OPEN } from '../../src/policy/rules.js';
import { madeUpKernel } from './made-up-kernel.js';

const every = `profile: full
commands: { deny: [prog_bind_map] }
map_types: [hash, array, 200]
program_types: { deny: [lsm] }
attach_types: { deny: [lsm_mac] }
helpers: { deny: [bpf_send_signal] }
kfuncs: [bpf_one]
perf_types: [software, kprobe, uprobe]
perf_signals: false
hooks: ["vfs_*", "!vfs_write"]
uprobes: ["/bin/x:main", "/lib/y:provider:name"]
interfaces: [lo, eth0]
pin_paths: [/sys/fs/bpf/x/]
cgroup_paths: [/sys/fs/cgroup/x/]
readable_paths: [/proc/kallsyms, /sys/kernel/tracing/]
foreign_objects: inspect
`;

/** The policies, by the name of the file that has what they come to. */
export const policies = {
  observe: profiles.observe,
  full: profiles.full,
  every: parsePolicy(every, 'every rule'),
};

type Rule = [rule: string, command: number | bigint, ...rest: unknown[]];

function nameOf(number: number | bigint): string {
  if (number === PERF_EVENT_OPEN) return 'perf_event_open';
  if (number >= NETLINK) {
    return netlink.netlinkMessages[Number(number) - NETLINK]?.name ?? `message ${number}`;
  }
  if (number >= IOCTLS) {
    const [name] =
      Object.entries(enums.PerfIoctl).find(([, one]) => one === Number(number) - IOCTLS) ?? [];
    return name ?? `ioctl ${Number(number) - IOCTLS}`;
  }
  return commands.find(({ command }) => command === number)?.name ?? `command ${number}`;
}

const text = (value: unknown) =>
  JSON.stringify(value, (_, one) => (typeof one === 'bigint' ? `${one}` : one));

/** Who may connect, and what the rules of a policy come to, a line for each rule. */
export function compiled(policy: (typeof policies)[keyof typeof policies]): string {
  const bytes = encodeRules(compile(policy, madeUpKernel));
  const items: unknown[] = new Decoder({ useRecords: false }).decode(bytes);
  const lines = items.flatMap((item, at) => {
    if (at === VOCABULARIES) return (item as string[][]).map((names) => `names ${names.join(' ')}`);
    if (at !== CHECKS && at !== REPORTS) return [text(item)];
    return (item as Rule[]).map((rule) =>
      at === CHECKS
        ? `${rule[0]} ${nameOf(rule[1])} ${text(rule.slice(2))}`
        : `reports ${nameOf(rule[0] as unknown as number)} ${text(rule.slice(1))}`,
    );
  });
  const { name, accept, leases } = policy;
  return `${[name, `accepts ${text(accept)}`, `leases ${text(leases)}`, ...lines].join('\n')}\n`;
}

// Where encodeRules() puts them.
const VOCABULARIES = 4;
const CHECKS = 5;
const REPORTS = 6;

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  process.stdout.write(compiled(policies[process.argv[2] as keyof typeof policies]));
}
