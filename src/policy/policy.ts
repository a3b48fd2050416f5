import type { Range } from './rules.js';

/**
 * What a guest's owner lets a host do, in the owner's words. Sets of numbers are ranges, so that a
 * policy can include numbers that a later kernel adds.
 */
export interface Policy {
  /** The name that clients see: the profile's or the file's. */
  readonly name: string;
  /** The allowed commands of bpf(2). */
  readonly commands: readonly Range[];
  readonly map_types: readonly Range[];
  readonly program_types: readonly Range[];
  /** The types by which programs may be attached, and for which they may be loaded. */
  readonly attach_types: readonly Range[];
  /** The helpers that programs may call. */
  readonly helpers: readonly Range[];
  /**
   * The names of kernel functions that programs may call; `*` for all, including those of modules.
   */
  readonly kfuncs: readonly string[];
  /**
   * The types of perf events: `software` and the others that every kernel has, the devices of
   * /sys/bus/event_source/devices such as `kprobe`, or numbers; `*` for all.
   */
  readonly perf_types: readonly string[];
  /** Whether perf events may interrupt the programs in which they happen. */
  readonly perf_signals: boolean;
  /** Globs for the names of the hooks to which programs may be attached; a leading `!` excludes. */
  readonly hooks: readonly string[];
  /**
   * Places in files that may be probed, each `FILE:SYMBOL` or, for USDT, `FILE:PROVIDER:NAME`. The
   * part after the file may have the wildcards * and ?. The file's own symbol table or notes give
   * the offsets. `*` allows any place, even inside an instruction.
   */
  readonly uprobes: readonly string[];
  /** The names of interfaces to which programs may be attached; `*` for all. */
  readonly interfaces: readonly string[];
  /**
   * The kinds of messages of netlink(7) that may be sent: `read_network`, `read_sockets`,
   * `attach_xdp` and `attach_tc`; `*` for all. `interfaces` bounds those that attach.
   */
  readonly netlink: readonly string[];
  /**
   * Folders of bpffs, each with a `/` at its end, in which objects may be pinned and opened; `*`
   * for all.
   */
  readonly pin_paths: readonly string[];
  /**
   * Folders of version 2 of cgroups, each with a `/` at its end, in which cgroups may be made and
   * removed; `*` for all.
   */
  readonly cgroup_paths: readonly string[];
  /** Files that may be read. A path that ends in `/` includes everything below it. */
  readonly readable_paths: readonly string[];
  /** What a session may do with objects that other sessions and processes have made. */
  readonly foreign_objects: 'inspect' | 'use';
  readonly quotas: Quotas;
  readonly accept: Acceptance;
  readonly leases: Leases;
}

/** How long sessions may outlive the loss of their connection, if their clients ask for it. */
interface Leases {
  readonly max_seconds: number;
}

/** Which peers may connect. */
export interface Acceptance {
  /**
   * The context identifiers of vsock peers. The host has 2, and the guest's own processes have 1.
   */
  readonly cids: readonly number[];
  /**
   * The allowed source ports. On the host, only privileged processes get a port below 1024; the
   * host's kernel enforces this. A multiplexer chooses the ports itself, so they prove nothing
   * there. The guest's own processes need a privileged port in either case.
   */
  readonly source_ports: 'privileged' | 'any';
  /**
   * The common names that a client's certificate may have, where mutual TLS is required; `*` for
   * all.
   */
  readonly subjects: readonly string[];
}

/** How much a session may hold at once, or send. `undefined` means no limit. */
interface Quotas {
  readonly programs: number | undefined;
  readonly maps: number | undefined;
  readonly links: number | undefined;
  /**
   * An estimate of the kernel memory that the session's objects take, in bytes: map entries,
   * programs and types. The buffers of perf events are counted separately, with the same limit.
   */
  readonly map_bytes: number | undefined;
  /**
   * How many records the session's streams may send per second. Further records are dropped and
   * counted.
   */
  readonly events_per_second: number | undefined;
}
