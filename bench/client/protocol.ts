export type Codec = 'fixed-shape' | 'cbor-x';

/** What a client is asked to measure. Times are in milliseconds, sizes in bytes. */
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

/** What a client is asked to explain. */
export interface ProfileRequest {
  task: 'profile';
  address: string;
  calls: number;
}

/** A device that a client is asked to have, for addresses at `path`. */
export interface DeviceRequest {
  task: 'device';
  /** For QEMU. */
  socket: string;
  path: string;
  guestCid: number;
}

/** Events that a client is asked to have emitted in a guest, and to read. */
export interface FollowRequest {
  task: 'follow';
  /** The agent's. What is followed one after the other shares a session, and so an address. */
  address: string;
  ringBytes: number;
  recordBytes: number;
  /** Whether each record's way is timed, for which they have to come seldom. */
  stamped: boolean;
}

/** What came of a {@link FollowRequest}. */
export interface Followed {
  delivered: number;
  /** From the first record to the last; 0 where they are stamped. */
  elapsedNs: number;
  /** How many records there were, and how many there was no room for. */
  emitted: number;
  refused: number;
  /** How long each took to get here, give or take; none where they are not stamped. */
  latencies: readonly { latencyNs: number; errorNs: number }[];
}

/** Asks for what has been followed, or ends the session that it was followed in. */
export type FollowedRequest = { task: 'followed' } | { task: 'leave' };

/** How many operations are measured, after how many that are not. */
export interface Counts {
  warmup: number;
  samples: number;
}

/** Where a client's time goes, in microseconds per call. */
export interface Profile {
  calls: number;
  elapsedUsPerCall: number;
  /** What the client's process used of a processor, in all of its threads. */
  cpuUsPerCall: number;
  /** The functions that took most of the elapsed time, by themselves. */
  functions: { name: string; usPerCall: number }[];
}

/** All that a client can be asked. */
export type ClientRequest =
  | MeasureRequest
  | ProfileRequest
  | DeviceRequest
  | FollowRequest
  | FollowedRequest;

/** What a client answers: samples by metric, a profile, or what was followed. */
export type ClientAnswer =
  | { samples: Record<string, number[]> }
  | { profile: Profile }
  | { followed: Followed };
