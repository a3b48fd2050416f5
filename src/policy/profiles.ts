import { failure } from '../errors.js';
import type { Policy } from './policy.js';
import { MAX_VALUE, type Range, rangesOf } from './rules.js';
import { numberOf, type VocabularyName, vocabularies } from './vocabulary.js';

const everything: readonly Range[] = [[0, MAX_VALUE]];

function named(kind: VocabularyName, names: string): readonly Range[] {
  return rangesOf(
    names
      .trim()
      .split(/\s+/)
      .map((name) => {
        const number = numberOf(kind, name);
        if (number === undefined) throw new TypeError(`there is no ${kind} ${name}`);
        return number;
      }),
  );
}

function allBut(kind: VocabularyName, names: string): readonly Range[] {
  const refused = new Set(names.trim().split(/\s+/));
  const rest = vocabularies[kind].names.filter((name) => name !== undefined && !refused.has(name));
  return named(kind, rest.join(' '));
}

const readable = [
  '/sys/kernel/tracing/',
  '/sys/kernel/debug/tracing/',
  '/sys/kernel/btf/',
  '/sys/kernel/security/lockdown',
  '/sys/devices/system/cpu/possible',
  '/sys/devices/system/cpu/online',
  '/sys/bus/event_source/devices/',
  '/proc/kallsyms',
  '/proc/modules',
  '/proc/config.gz',
  '/proc/version',
  // Facts about the machine and its load that every user of the machine may read.
  ...[
    'cpuinfo',
    'devices',
    'diskstats',
    'filesystems',
    'loadavg',
    'meminfo',
    'partitions',
    'stat',
    'swaps',
    'uptime',
  ].map((name) => `/proc/${name}`),
  '/proc/version_signature',
  ...[
    'bpf_stats_enabled',
    'hostname',
    'kptr_restrict',
    'osrelease',
    'perf_event_max_sample_rate',
    'perf_event_max_stack',
    'perf_event_paranoid',
    'pid_max',
    'randomize_va_space',
    'unprivileged_bpf_disabled',
    'version',
  ].map((name) => `/proc/sys/kernel/${name}`),
  ...['enable', 'harden', 'kallsyms', 'limit'].map((name) => `/proc/sys/net/core/bpf_jit_${name}`),
  '/sys/devices/system/cpu/present',
  '/sys/devices/system/cpu/kernel_max',
  '/sys/kernel/debug/kprobes/',
  '/sys/kernel/notes',
  '/sys/kernel/kheaders.tar.xz',
  '/boot/',
];

/**
 * The folders of programs and libraries. A client compares the files with its own before it probes
 * them.
 */
const programs = ['/usr/', '/bin/', '/sbin/', '/lib/', '/lib64/'];

/** The policies that are known by name. */
export const profiles: Readonly<Record<'observe' | 'full', Policy>> = {
  /**
   * Read-only access: tracing programs and the maps that they fill. It has no packet, cgroup, LSM
   * or struct_ops programs, no helper that changes anything but maps and the trace log, and no
   * pinning. Objects of others can only be read.
   */
  observe: {
    name: 'observe',
    commands: named(
      'commands',
      `map_create map_lookup_elem map_update_elem map_delete_elem map_get_next_key prog_load
       obj_pin obj_get prog_get_next_id map_get_next_id prog_get_fd_by_id map_get_fd_by_id
       obj_get_info_by_fd raw_tracepoint_open btf_load btf_get_fd_by_id task_fd_query
       map_lookup_and_delete_elem map_freeze btf_get_next_id map_lookup_batch
       map_lookup_and_delete_batch map_update_batch map_delete_batch link_create
       link_get_fd_by_id link_get_next_id enable_stats iter_create prog_bind_map
       prog_stream_read_by_fd`,
    ),
    // Maps that steer packets or sockets, and maps of maps, are left out.
    map_types: named(
      'map_types',
      `hash array prog_array perf_event_array percpu_hash percpu_array stack_trace cgroup_array
       lru_hash lru_percpu_hash lpm_trie queue stack sk_storage ringbuf inode_storage
       task_storage bloom_filter user_ringbuf cgrp_storage`,
    ),
    // No allowed command can attach a socket filter. Libraries use socket filters to probe
    // features.
    program_types: named(
      'program_types',
      'socket_filter kprobe tracepoint perf_event raw_tracepoint tracing',
    ),
    attach_types: named(
      'attach_types',
      `trace_raw_tp trace_fentry trace_fexit trace_iter perf_event trace_kprobe_multi
       trace_kprobe_session trace_fsession trace_fentry_multi trace_fexit_multi
       trace_fsession_multi`,
    ),
    helpers: allBut(
      'helpers',
      `bpf_probe_write_user bpf_override_return bpf_send_signal bpf_send_signal_thread
       bpf_setsockopt bpf_sys_bpf bpf_sys_close`,
    ),
    kfuncs: [],
    perf_types: ['hardware', 'software', 'tracepoint', 'hw_cache', 'raw', 'breakpoint', 'kprobe'],
    perf_signals: false,
    hooks: ['*'],
    // A probe changes the program that contains it.
    uprobes: [],
    interfaces: [],
    // Everybody may send these messages in the guest.
    netlink: ['read_network', 'read_sockets'],
    pin_paths: [],
    cgroup_paths: [],
    readable_paths: readable,
    foreign_objects: 'inspect',
    quotas: {
      programs: 1024,
      maps: 1024,
      links: 2048,
      map_bytes: 512 * 1024 * 1024,
      events_per_second: undefined,
    },
    accept: { cids: [1, 2], source_ports: 'privileged', subjects: ['*'] },
    leases: { max_seconds: 60 },
  },
  /** Everything that bpf(2) and perf_event_open(2) can do. */
  full: {
    name: 'full',
    commands: everything,
    map_types: everything,
    program_types: everything,
    attach_types: everything,
    helpers: everything,
    kfuncs: ['*'],
    perf_types: ['*'],
    perf_signals: true,
    hooks: ['*'],
    uprobes: ['*'],
    interfaces: ['*'],
    netlink: ['*'],
    pin_paths: ['*'],
    cgroup_paths: ['*'],
    readable_paths: [...readable, '/sys/', '/proc/', ...programs],
    foreign_objects: 'use',
    quotas: {
      programs: undefined,
      maps: undefined,
      links: undefined,
      map_bytes: undefined,
      events_per_second: undefined,
    },
    accept: { cids: [1, 2], source_ports: 'privileged', subjects: ['*'] },
    leases: { max_seconds: 60 },
  },
};

/**
 * Returns the profile of this name.
 *
 * @throws ERR_OPTION_INVALID when there is none
 */
export function profileNamed(name: string): Policy {
  const found = Object.entries(profiles).find(([known]) => known === name)?.[1];
  if (found !== undefined) return found;
  const expected = `one of ${Object.keys(profiles).join(', ')}`;
  throw failure('ERR_OPTION_INVALID', { option: 'profile', value: name, expected });
}
