/* The targets. A new target is a row here and the file that it names. */

import { deviceSeeds } from './device-seeds.js';
import { eventSeeds } from './event-seeds.js';
import { type Mutant, policyMutants } from './mutants.js';
import { oracleRules, oracleSeeds, plainOracleSeeds } from './oracle.js';
import { agentSeeds } from './seeds.js';

/** C++ of addon/core, under libFuzzer with AddressSanitizer and UndefinedBehaviorSanitizer. */
export interface CoreTarget {
  readonly name: string;
  readonly side: 'core';
  /** Completes the sentence "It is fed …". */
  readonly what: string;
  /** The files of test/conformance/fuzz/core. One of them has LLVMFuzzerTestOneInput. */
  readonly harness: readonly string[];
  /** The files of addon/core that the target is linked with. */
  readonly sources: readonly string[];
  /** Functions that the harness replaces, as `__wrap_NAME`. */
  readonly wrapped?: readonly string[];
  readonly maxInputBytes: number;
  /** The most bytes of an input in the committed corpus, so that the corpus stays small. */
  readonly committedInputBytes: number;
  /** Initial inputs, in addition to those in test/conformance/fuzz/corpus. */
  seeds?(): readonly Uint8Array[];
  /**
   * AddressSanitizer is left out if it would be in the way. With its shadow in the process,
   * AddressGuard takes most pairs of small numbers for addresses.
   */
  readonly withoutAddresses?: true;
  /**
   * Encoded rules, and the rest of the file that the environment variable `WAEP_FUZZ_RULES` names.
   */
  rules?(): Uint8Array;
  /** Guards without which the target must find something, and initial inputs without attacks. */
  readonly mutants?: readonly Mutant[];
  plainSeeds?(): readonly Uint8Array[];
}

/** TypeScript. A generator makes valid inputs and spoils them. */
export interface HostTarget {
  readonly name: string;
  readonly side: 'host';
  readonly what: string;
}

/** A real guest. A client on the host fuzzes it, only when it is named. */
interface GuestTarget {
  readonly name: string;
  readonly side: 'guest';
  readonly what: string;
}

export type Target = CoreTarget | HostTarget | GuestTarget;

export const targets: readonly Target[] = [
  {
    name: 'agent',
    side: 'core',
    what: 'a session’s rules and what its client sends, over a fake kernel that checks and fills all memory',
    harness: ['agent.cc'],
    sources: [
      'executor/call_loop.cc',
      'executor/call_memory.cc',
      'executor/audit_trail.cc',
      'executor/call_image.cc',
      'executor/cancellation.cc',
      'executor/executor.cc',
      'executor/file_operations.cc',
      'executor/interface_names.cc',
      'executor/netlink.cc',
      'executor/readable_file.cc',
      'executor/rule_checker.cc',
      'executor/rules.cc',
      'sockets.cc',
    ],
    maxInputBytes: 16_384,
    committedInputBytes: 512,
    seeds: agentSeeds,
  },
  {
    name: 'policy',
    side: 'core',
    what: 'sequences of calls under a policy, over a fake kernel that reads memory as the real one does and knows in words what it may be given',
    harness: ['policy.cc', 'call_mutator.cc'],
    sources: [
      'executor/audit_trail.cc',
      'executor/call_image.cc',
      'executor/call_memory.cc',
      'executor/cancellation.cc',
      'executor/executor.cc',
      'executor/file_operations.cc',
      'executor/interface_names.cc',
      'executor/netlink.cc',
      'executor/readable_file.cc',
      'executor/rule_checker.cc',
      'executor/rules.cc',
    ],
    wrapped: ['close'],
    maxInputBytes: 4096,
    committedInputBytes: 512,
    withoutAddresses: true,
    seeds: oracleSeeds,
    rules: oracleRules,
    mutants: policyMutants,
    plainSeeds: plainOracleSeeds,
  },
  {
    name: 'events',
    side: 'core',
    what: 'requests about streams, and buffers whose contents somebody else has chosen',
    harness: ['events.cc'],
    sources: [
      'executor/address_arena.cc',
      'executor/event_connection.cc',
      'executor/event_source.cc',
      'executor/event_stream.cc',
      'sockets.cc',
    ],
    maxInputBytes: 8192,
    committedInputBytes: 512,
    seeds: eventSeeds,
  },
  {
    name: 'device',
    side: 'core',
    what: 'a guest’s rings, descriptors and packets and a VMM’s messages, in memory whose edges are watched',
    harness: ['device.cc', 'fake_kernel.cc'],
    sources: [
      'transport/guest_memory.cc',
      'transport/vhost_backend.cc',
      'transport/vhost_user.cc',
      'transport/virtqueue.cc',
      'transport/vsock_connection.cc',
      'transport/vsock_device.cc',
    ],
    wrapped: [
      'clock_gettime',
      'close',
      'epoll_create1',
      'epoll_ctl',
      'epoll_wait',
      'eventfd',
      'fcntl',
      'fstat',
      'getrandom',
      'madvise',
      'mmap',
      'munmap',
      'poll',
      'read',
      'recvmsg',
      'sendmsg',
      'timerfd_create',
      'timerfd_settime',
      'write',
    ],
    maxInputBytes: 1024,
    committedInputBytes: 512,
    seeds: deviceSeeds,
  },
  {
    name: 'host',
    side: 'host',
    what: 'frames, messages, results and events of an agent’s, addresses, policy files, BTF, and values for codecs',
  },
  {
    name: 'observe',
    side: 'guest',
    what: 'sequences of calls under the profile `observe`, in a guest in which a second session, a process and settings of tracefs are not to change, and no object is to stay',
  },
];
