import type { Session } from '../session.js';
import type { GuestFiles, RecentFiles } from '../view/index.js';
import type { Folders } from './folders.js';
import type { Interruptions } from './interruptions.js';
import type { MappedEvents } from './mapped-events.js';
import type { MappedMaps } from './mapped-maps.js';
import type { MappedUserRings } from './mapped-user-rings.js';
import type { NetlinkSockets } from './netlink-sockets.js';
import type { NetworkNamespace } from './network-namespace.js';
import type { Objects } from './objects.js';
import type { OwnProcesses } from './own-processes.js';
import type { Placeholders } from './placeholders.js';
import type { ProbeCache } from './probe-cache/index.js';
import type { ProbeDefinitions } from './probe-definitions.js';
import type { ProbedFiles } from './probed-files.js';
import type { StartedPrograms } from './started-programs.js';
import type { SystemName } from './system-name.js';

/** What the supervisor needs to answer the calls of one program. */
export interface Context {
  readonly session: Session;
  /** The objects that the program holds. */
  readonly objects: Objects;
  /** The descriptors that stand for these objects. */
  readonly placeholders: Placeholders;
  /** The event buffers that the program has mapped. */
  readonly events: MappedEvents;
  /** The user ring buffers that the program has mapped. */
  readonly userRings: MappedUserRings;
  /** The maps that the program has mapped. */
  readonly mapped: MappedMaps;
  /** The cached results of feature probes. */
  readonly probes: ProbeCache;
  /** The processes of the program. */
  readonly own: OwnProcesses;
  /** Prepares each program that a process has just started. */
  readonly started: StartedPrograms;
  /** Ends calls in the guest whose callers no longer wait. */
  readonly interruptions: Interruptions;
  /** What uname(2) tells. */
  readonly name: SystemName;
  /** The guest's files about its kernel. */
  readonly files: GuestFiles;
  /** Copies of the files that the guest's processes run. */
  readonly recent: RecentFiles;
  /** Compares the files that the program probes with the guest's. */
  readonly probed: ProbedFiles;
  /** The probes that the program has defined in the tracing file system. */
  readonly definitions: ProbeDefinitions;
  /** The guest's folders that the program has opened. */
  readonly folders: Folders;
  /** The sockets of netlink that the program has opened. */
  readonly netlink: NetlinkSockets;
  /** The program's network namespace, in calls of bpf(2). */
  readonly network: NetworkNamespace;
  /** Tells the user once about something that the program does not get. */
  readonly warnOnce: (error: Error) => void;
}
