import type { Range } from './rules.js';

/**
 * What a guest's owner lets a host do, in the owner's words. Sets of numbers are ranges, so that a
 * policy can also speak of what came after it.
 */
export interface Policy {
  /** The name that clients are told: a profile's, or the file's. */
  readonly name: string;
  /** Commands of bpf(2). */
  readonly commands: readonly Range[];
  readonly map_types: readonly Range[];
  readonly program_types: readonly Range[];
  /** Where programs may be attached, and for what they may be loaded. */
  readonly attach_types: readonly Range[];
  /** Helpers that programs may call. */
  readonly helpers: readonly Range[];
  /** Kernel functions that programs may call, by name; `*` for all, those of modules included. */
  readonly kfuncs: readonly string[];
  /**
   * Types of perf events: `software` and the others that every kernel has, the devices of
   * /sys/bus/event_source/devices such as `kprobe`, or numbers; `*` for all.
   */
  readonly perf_types: readonly string[];
  /** Whether perf events may interrupt the programs in which they happen. */
  readonly perf_signals: boolean;
  /** Globs of the names of what programs may be attached to; a leading `!` excludes. */
  readonly hooks: readonly string[];
  /**
   * Places in files that may be probed, each `FILE:SYMBOL` or, for one of USDT, `FILE:PROVIDER:NAME`;
   * the part behind the file may have the wildcards * and ?. The file's own table of symbols, or its
   * notes, say where that is. `*` for any place, inside of an instruction, too.
   */
  readonly uprobes: readonly string[];
  /** Interfaces that programs may be attached to, by name; `*` for all. */
  readonly interfaces: readonly string[];
  /** Folders of bpffs, each with a `/` at its end, in which objects may be pinned and found; `*` for all. */
  readonly pin_paths: readonly string[];
  /** Files that may be read; a path that ends in `/` stands for what is below it. */
  readonly readable_paths: readonly string[];
  /** What may be done with objects that other sessions and processes have made. */
  readonly foreign_objects: 'inspect' | 'use';
  readonly quotas: Quotas;
  readonly accept: Acceptance;
  readonly leases: Leases;
}

/** How long sessions may outlive the loss of their connection, if their clients ask for that. */
export interface Leases {
  readonly max_seconds: number;
}

/** Which peers may connect. */
export interface Acceptance {
  /** The context identifiers of vsock peers; the host's is 2, that of the guest's own processes 1. */
  readonly cids: readonly number[];
  /**
   * From which ports. On the host only privileged processes get one below 1024, which its kernel
   * sees to; multiplexers choose the ports themselves, so that they say nothing there. The guest's
   * own processes need a privileged port in either case.
   */
  readonly source_ports: 'privileged' | 'any';
  /** The common names that a client's certificate may have, where mutual TLS is asked for; `*` for all. */
  readonly subjects: readonly string[];
}

/** What a session may have at a time, or send; `undefined` for any number. */
export interface Quotas {
  readonly programs: number | undefined;
  readonly maps: number | undefined;
  readonly links: number | undefined;
  /**
   * An estimate of what the session's objects take of the kernel's memory, in bytes: entries of maps,
   * programs, types, and, counted apart, the buffers of perf events.
   */
  readonly map_bytes: number | undefined;
  /** The records that the session's streams send in a second. The others are dropped, and counted. */
  readonly events_per_second: number | undefined;
}
