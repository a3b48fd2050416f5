import type { Session } from '../session.js';
import type { GuestFiles, RecentFiles } from '../view/index.js';
import type { Folders } from './folders.js';
import type { Interruptions } from './interruptions.js';
import type { MappedEvents } from './mapped-events.js';
import type { MappedMaps } from './mapped-maps.js';
import type { MappedUserRings } from './mapped-user-rings.js';
import type { Objects } from './objects.js';
import type { OwnProcesses } from './own-processes.js';
import type { Placeholders } from './placeholders.js';
import type { ProbeCache } from './probe-cache/index.js';
import type { ProbeDefinitions } from './probe-definitions.js';
import type { ProbedFiles } from './probed-files.js';
import type { StartedPrograms } from './started-programs.js';

/** The context in which the supervisor answers the calls of a program: its guest, and its objects. */
export interface Context {
  readonly session: Session;
  /** What is known of the objects that the program holds. */
  readonly objects: Objects;
  /** Its descriptors of them. */
  readonly placeholders: Placeholders;
  /** The buffers of events that it has mapped. */
  readonly events: MappedEvents;
  /** The buffers that it has mapped to submit records to programs. */
  readonly userRings: MappedUserRings;
  /** The maps that it has mapped. */
  readonly mapped: MappedMaps;
  /** What it has been asked before. */
  readonly probes: ProbeCache;
  /** Its processes. */
  readonly own: OwnProcesses;
  /** The programs that it has just become. */
  readonly started: StartedPrograms;
  /** What ends its calls before the guest does. */
  readonly interruptions: Interruptions;
  /** The files of the guest's kernel. */
  readonly files: GuestFiles;
  /** Those of what the guest's processes run. */
  readonly recent: RecentFiles;
  /** Those that it probes. */
  readonly probed: ProbedFiles;
  /** Where it defines probes by name. */
  readonly definitions: ProbeDefinitions;
  /** Those of its folders that the program has opened. */
  readonly folders: Folders;
  /** Tells the user of something that the program does not get, once. */
  readonly warnOnce: (error: Error) => void;
}
