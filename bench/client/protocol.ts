export type Codec = 'fixed-shape' | 'cbor-x';

/** A request to measure something. Times are in milliseconds, sizes in bytes. */
export type MeasureRequest =
  | ({ task: 'commands'; address: string; settleMs: number } & Counts)
  | ({ task: 'lookup'; address: string } & Counts)
  | ({ task: 'echo'; address: string; payloadBytes: number } & Counts)
  | ({ task: 'elements'; address: string } & Counts)
  | ({ task: 'entries'; address: string; entries: number; batchEntries: number } & Counts)
  | ({ task: 'load'; address: string; instructions: number } & Counts)
  | ({ task: 'crowd'; address: string } & Crowd & Counts)
  | ({ task: 'opening'; address: string } & Counts)
  | ({ task: 'bulk'; address: string; requestBytes: number; replyBytes: number } & Counts)
  | { task: 'codec'; codec: Codec; samples: number };

/** Look-ups that overlap: of several sessions, or in one. */
export interface Crowd {
  sessions: number;
  /** How many look-ups each session has under way at any time. */
  depth: number;
}

/** A request for a profile. */
export interface ProfileRequest {
  task: 'profile';
  address: string;
  calls: number;
}

/** A request to serve a vsock device, for addresses at `path`. */
export interface DeviceRequest {
  task: 'device';
  /** For QEMU. */
  socket: string;
  path: string;
  guestCid: number;
}

/** A request to let a guest emit events, and to read them. */
export interface FollowRequest {
  task: 'follow';
  /** The agent's address. Requests one after the other share a session, and so an address. */
  address: string;
  ringBytes: number;
  recordBytes: number;
  /** Whether the latency of each record is measured. Records must then be rare. */
  stamped: boolean;
}

/** The result of a {@link FollowRequest}. */
export interface Followed {
  delivered: number;
  /** The time from the first record to the last; 0 if latencies are measured. */
  elapsedNs: number;
  /** The number of records, and the number of lost ones. */
  emitted: number;
  refused: number;
  /** The latency of each record, and its possible error; empty if it is not measured. */
  latencies: readonly { latencyNs: number; errorNs: number }[];
}

/** A request for the result of a {@link FollowRequest}, or to end its session. */
type FollowedRequest = { task: 'followed' } | { task: 'leave' };

/** A request to run the Figure 2 program in a guest until the second kind. */
type AttachRequest = { task: 'attach'; address: string } | { task: 'detach' };

/** The number of measured operations, and of those before them that are not measured. */
export interface Counts {
  warmup: number;
  samples: number;
}

/** Where a client's time goes, in microseconds per call. */
export interface Profile {
  calls: number;
  elapsedUsPerCall: number;
  /** The processor time of the client's process, all threads together. */
  cpuUsPerCall: number;
  /** The functions that took most of the elapsed time, without the functions that they call. */
  functions: { name: string; usPerCall: number }[];
}

/** A request to a client. */
export type ClientRequest =
  | MeasureRequest
  | ProfileRequest
  | DeviceRequest
  | FollowRequest
  | FollowedRequest
  | AttachRequest;

/** An answer of a client: samples by metric, a profile, or the result of following events. */
export type ClientAnswer =
  | { samples: Record<string, number[]> }
  | { profile: Profile }
  | { followed: Followed };
