/* The capabilities and files of a guest that the processes behind sessions keep. */

import { Cmd, Helper, MapType, ProgType } from '../bpf/enums.js';
import { Encoder } from '../cbor.js';
import type { Policy } from './policy.js';
import { type Confinement, contains, type Range, rangesOf, subtract } from './rules.js';

/** A capability of an executor, with its reason and the policies that need it. */
export interface Capability {
  readonly name: string;
  /** The number in <linux/capability.h>. */
  readonly number: number;
  readonly why: string;
  needed(policy: Policy): boolean;
}

const someOf = (ranges: readonly Range[], ...numbers: number[]) =>
  numbers.some((number) => contains(ranges, number));
const reads = ({ readable_paths }: Policy, ...paths: string[]) =>
  readable_paths.some((path) => path === '/' || paths.includes(path));
const isEverything = (patterns: readonly string[]) => patterns.includes('*');

/** The folder in which cgroups may be made and removed under a policy that allows any. */
const CGROUP_ROOT = '/sys/fs/cgroup/';

/** Returns the folders in which a policy allows cgroups. */
export function cgroupFolders({ cgroup_paths }: Policy): readonly string[] {
  return isEverything(cgroup_paths) ? [CGROUP_ROOT] : cgroup_paths;
}

/**
 * Program types for which the kernel does not require CAP_NET_ADMIN. Later types may require it.
 */
const unrelatedToNetworks = rangesOf([
  ProgType.BPF_PROG_TYPE_UNSPEC,
  ProgType.BPF_PROG_TYPE_SOCKET_FILTER,
  ProgType.BPF_PROG_TYPE_KPROBE,
  ProgType.BPF_PROG_TYPE_TRACEPOINT,
  ProgType.BPF_PROG_TYPE_PERF_EVENT,
  ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT,
  ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE,
  ProgType.BPF_PROG_TYPE_TRACING,
  ProgType.BPF_PROG_TYPE_LSM,
  ProgType.BPF_PROG_TYPE_SYSCALL,
]);

/** All capabilities that an executor may have. No policy gives it any other capability. */
export const capabilities: readonly Capability[] = [
  {
    name: 'CAP_BPF',
    number: 39,
    why: 'the commands of bpf(2); for some of them also a capability below. Before Linux 5.8 it is CAP_SYS_ADMIN',
    needed: () => true,
  },
  {
    name: 'CAP_PERFMON',
    number: 38,
    why: 'tracing programs, probes and perf events, and what the verifier allows such programs to do with pointers. Before Linux 5.8 it is CAP_SYS_ADMIN',
    needed: () => true,
  },
  {
    name: 'CAP_SYS_ADMIN',
    number: 21,
    why: 'objects by id (`*_get_next_id`, `*_get_fd_by_id`), `task_fd_query` and `enable_stats`, on all kernels from 5.10 to 6.12, and the helper `bpf_probe_write_user`',
    needed: ({ commands, helpers }) =>
      someOf(
        commands,
        Cmd.BPF_PROG_GET_NEXT_ID,
        Cmd.BPF_MAP_GET_NEXT_ID,
        Cmd.BPF_BTF_GET_NEXT_ID,
        Cmd.BPF_LINK_GET_NEXT_ID,
        Cmd.BPF_PROG_GET_FD_BY_ID,
        Cmd.BPF_MAP_GET_FD_BY_ID,
        Cmd.BPF_BTF_GET_FD_BY_ID,
        Cmd.BPF_LINK_GET_FD_BY_ID,
        Cmd.BPF_TASK_FD_QUERY,
        Cmd.BPF_ENABLE_STATS,
      ) || someOf(helpers, Helper.BPF_FUNC_probe_write_user),
  },
  {
    name: 'CAP_NET_ADMIN',
    number: 12,
    why: 'programs for packets, sockets and cgroups, maps that hold sockets or devices, `prog_query`, and netlink messages that attach',
    needed: ({ commands, program_types, map_types, netlink }) =>
      netlink.some((kind) => !kind.startsWith('read_')) ||
      someOf(commands, Cmd.BPF_PROG_QUERY) ||
      someOf(
        map_types,
        MapType.BPF_MAP_TYPE_DEVMAP,
        MapType.BPF_MAP_TYPE_DEVMAP_HASH,
        MapType.BPF_MAP_TYPE_CPUMAP,
        MapType.BPF_MAP_TYPE_XSKMAP,
        MapType.BPF_MAP_TYPE_SOCKMAP,
        MapType.BPF_MAP_TYPE_SOCKHASH,
      ) ||
      subtract(program_types, unrelatedToNetworks).length > 0,
  },
  {
    name: 'CAP_SYSLOG',
    number: 34,
    why: "addresses of the kernel in `/proc/kallsyms` and in programs' instructions, which `kernel.kptr_restrict` and `kernel.perf_event_paranoid` hide from others",
    needed: (policy) =>
      reads(policy, '/proc/kallsyms', '/proc/') ||
      someOf(policy.commands, Cmd.BPF_OBJ_GET_INFO_BY_FD),
  },
  {
    name: 'CAP_IPC_LOCK',
    number: 14,
    why: 'buffers of perf events, if the agent may not raise RLIMIT_MEMLOCK',
    needed: ({ perf_types, uprobes }) => perf_types.length + uprobes.length > 0,
  },
  {
    name: 'CAP_SYS_PTRACE',
    number: 19,
    why: 'files of other processes in `/proc`, when all of it may be read',
    needed: (policy) => reads(policy, '/proc/'),
  },
  {
    name: 'CAP_DAC_READ_SEARCH',
    number: 2,
    why: "files of other users' processes in `/proc`, when all of it may be read",
    needed: (policy) => reads(policy, '/proc/'),
  },
  {
    name: 'CAP_DAC_OVERRIDE',
    number: 1,
    why: 'pins and cgroups in folders that belong to other users',
    needed: ({ pin_paths, cgroup_paths }) => pin_paths.length + cgroup_paths.length > 0,
  },
  {
    name: 'CAP_KILL',
    number: 5,
    why: 'perf events that signal processes of other users (`perf_signals`)',
    needed: ({ perf_signals }) => perf_signals,
  },
];

/**
 * From this quota on, a tenth of the quota is enough for the process itself and for calls of some
 * size.
 */
const LEAST_LARGE_BYTES = 160 * 1024 * 1024;

/** The memory for frames and calls in executors that reserve it, as `Limits::kResidentBytes`. */
const RESIDENT_BYTES = 4 * 1024 * 1024;

function isSmall({ quotas: { map_bytes } }: Policy): boolean {
  return map_bytes !== undefined && map_bytes < LEAST_LARGE_BYTES;
}

/**
 * Returns the size limit of frames and calls under a policy. With a small quota, an executor
 * reserves the memory for them at its start, so that the kernel cannot use this memory for objects.
 */
export function largestCall(policy: Policy): number | undefined {
  return isSmall(policy) ? RESIDENT_BYTES : undefined;
}

/**
 * Returns the memory limit of a session, which the kernel enforces. It is a tenth above the quota,
 * because the process's own memory counts as well, including the buffers of a large call. With a
 * small quota, the reserved memory is added.
 */
function memoryBytes(policy: Policy): number {
  const { map_bytes } = policy.quotas;
  if (map_bytes === undefined) return 0;
  return Math.floor(1.1 * map_bytes) + (isSmall(policy) ? 2 * RESIDENT_BYTES : 0);
}

/** Returns the confinement of the processes that serve sessions under a policy. */
export function confinementOf(policy: Policy): Confinement {
  const { readable_paths, uprobes, pin_paths } = policy;
  return {
    capabilities: capabilities
      .filter(({ needed }) => needed(policy))
      .reduce((bits, { number }) => bits | (1n << BigInt(number)), 0n),
    wholeRoot: [uprobes, pin_paths].some(isEverything) || readable_paths.includes('/'),
    readable: readable_paths,
    probed: uprobes.map((uprobe) => uprobe.split(':')[0] ?? ''),
    pins: pin_paths,
    cgroups: cgroupFolders(policy),
    memoryBytes: memoryBytes(policy),
  };
}

const encoder = new Encoder({ useRecords: false });

/** Encodes a confinement as addon/core/executor/confinement.h reads it. */
export function encodeConfinement(confinement: Confinement): Uint8Array {
  const { capabilities, wholeRoot, readable, probed, pins, cgroups, memoryBytes } = confinement;
  // As a plain number, a value beyond 32 bits would be encoded as a floating-point number.
  const paths = [readable, probed, pins, cgroups];
  return encoder.encode([capabilities, wholeRoot, ...paths, BigInt(memoryBytes)]);
}
