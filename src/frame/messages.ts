import { Encoder } from '../cbor.js';
import { type ErrorCode, failure, isErrorCode, WaepError } from '../errors.js';
import { printable } from '../printable.js';
import { decodeBody } from './body.js';
import { HEADER_BYTES, PROTOCOL_VERSION, putHeader } from './header.js';

/** The first message of a client. */
export interface Hello {
  /** The protocol's version: {@link PROTOCOL_VERSION}. */
  protocol: number;
  /** The client's name and version, for the audit log. */
  client: string;
  /** How long the session should outlive the loss of its connection, in milliseconds. Default 0. */
  leaseMs?: number;
}

/** The first message of a client on a further connection of a session. */
export interface Join {
  protocol: number;
  /** The token of the session, from its {@link Welcome}. */
  token: Uint8Array;
  /**
   * The purpose of the connection. `resume` carries the session's calls from now on. `events`
   * carries the session's events. `cancel` cancels a call, and then the connection ends.
   */
  purpose: JoinPurpose;
  /** With `cancel`: the id of the call. */
  call?: number;
}

export type JoinPurpose = 'resume' | 'events' | 'cancel';

const purposes: readonly string[] = ['resume', 'events', 'cancel'] satisfies JoinPurpose[];

/** The agent's answer to a {@link Hello} or a {@link Join}. */
export interface Welcome {
  protocol: number;
  /** The agent's name and version. */
  agent: string;
  kernel: KernelInfo;
  limits: SessionLimits;
  /** The name of the policy's profile that applies to the session. */
  profile: string;
  session: SessionTerms;
  /**
   * How many other sessions were open, and how many the agent allows. Older agents do not report
   * this.
   */
  sessions?: { open: number; most: number };
  /** Whether the agent answers FILE. Absent: no. */
  files?: boolean;
  /**
   * How many operations of FILE the agent knows. With ten or more it knows the flags of RENAME, too.
   * Absent: eight.
   */
  fileOperations?: number;
  /** How many calls a CHAIN may have, and 0 or absent: the agent does not answer CHAIN. */
  chainCalls?: number;
  /** Whether the agent answers NETLINK. Absent: no. */
  netlink?: boolean;
}

/**
 * The token with which a client joins connections to its session, and how long the session outlives
 * them.
 */
export interface SessionTerms {
  /** {@link TOKEN_BYTES} random bytes that only this client may know. */
  token: Uint8Array;
  /** How long the session outlives the loss of its connection, in milliseconds. */
  leaseMs: number;
  /**
   * How long the client may be silent before its connection counts as lost, in milliseconds. With
   * 0, silence is no loss, because the transport itself reports a loss.
   */
  silenceMs: number;
}

/** The length of a session's token in bytes. */
export const TOKEN_BYTES = 32;

/** Facts about the guest's kernel that a client needs to make calls. */
export interface KernelInfo {
  /** `uname -r`. */
  release: string;
  /** `uname -v`. */
  version: string;
  /** `uname -m`. */
  machine: string;
  /** /proc/sys/kernel/random/boot_id. */
  bootId: string;
  /** The number of possible CPUs, which is the number of slots in a per-CPU value. */
  possibleCpus: number;
  /** In bytes. */
  pageSize: number;
  /** Whether the kernel offers its own BTF in /sys/kernel/btf/vmlinux. */
  btf: boolean;
}

/** Limits of a session, in bytes where the name says so. */
export interface SessionLimits {
  /** The bytes of the largest frame. */
  maxFrameBytes: number;
  /** The bytes of a call's buffers together. */
  maxCallBytes: number;
  /** The buffers of a call. */
  maxBuffers: number;
  /** The relocations of a call. */
  maxRelocations: number;
  /** The handles that a session may have at a time. */
  maxHandles: number;
  /** How many event streams may be open at once. */
  maxStreams: number;
  /** How many records all streams may send per second; 0 for no limit. */
  maxEventsPerSecond: number;
}

const encoder = new Encoder({ useRecords: false, mapsAsObjects: true, tagUint8Array: false });

/**
 * Returns a whole frame of any type from a value, or without a body. For frames that are not
 * frequent.
 */
export function messageFrame(type: number, id: number, body: unknown): Uint8Array {
  const encoded = body === undefined ? new Uint8Array(0) : encoder.encode(body);
  const frame = new Uint8Array(HEADER_BYTES + encoded.byteLength);
  putHeader(frame, 0, encoded.byteLength, type, id);
  frame.set(encoded, HEADER_BYTES);
  return frame;
}

/** The type of a field: a number within bounds, a text that can be shown, and so on. */
type Kind = 'number' | 'boolean' | 'bytes' | 'string' | 'text' | { least: number; most: number };
type Shape = { [key: string]: Kind | Shape };

/** Names and versions are shown to people. They are no longer than those of a kernel. */
const MAX_TEXT_CHARACTERS = 256;
const between = (least: number, most: number): Kind => ({ least, most });
const uint32 = between(0, 2 ** 32 - 1);

function isShape(kind: Kind | Shape): kind is Shape {
  return typeof kind === 'object' && typeof kind.least !== 'number';
}

/** Returns the fault of a value, or undefined. */
function fault(value: unknown, kind: Kind): string | undefined {
  const found = value instanceof Uint8Array ? 'bytes' : typeof value;
  if (value === undefined) return 'is missing';
  if (typeof kind === 'object') {
    const fits =
      Number.isInteger(value) && Number(value) >= kind.least && Number(value) <= kind.most;
    const shown = typeof value === 'number' ? value : `a ${found}`;
    return fits ? undefined : `is ${shown}; expected ${kind.least} to ${kind.most}`;
  }
  if (found !== (kind === 'text' ? 'string' : kind)) return `is a ${found}; expected a ${kind}`;
  if (kind !== 'text') return undefined;
  const text = value as string;
  if (text.length <= MAX_TEXT_CHARACTERS && printable(text) === text) return undefined;
  return `has ${text.length} characters, or control characters; expected ${MAX_TEXT_CHARACTERS} plain ones at most`;
}

function check(value: unknown, shape: Shape, path: string): void {
  if (typeof value !== 'object' || value === null) {
    throw failure('ERR_FRAME_MALFORMED', { why: `${path} is not a map` });
  }
  for (const [key, kind] of Object.entries(shape)) {
    const member = (value as Record<string, unknown>)[key];
    const wrong = isShape(kind) ? check(member, kind, `${path}.${key}`) : fault(member, kind);
    if (wrong !== undefined) {
      throw failure('ERR_FRAME_MALFORMED', { why: `${path}.${key} ${wrong}` });
    }
  }
}

function checkVersion(value: unknown, speaker: 'agent' | 'client'): void {
  check(value, { protocol: 'number' }, 'the handshake');
  const offered = (value as { protocol: number }).protocol;
  if (offered !== PROTOCOL_VERSION) {
    throw failure('ERR_PROTOCOL_VERSION', { offered, supported: PROTOCOL_VERSION, speaker });
  }
}

/** Decodes the body of a HELLO frame and checks its version and shape. */
export function parseHello(body: Uint8Array): Hello {
  const value = decodeBody(body);
  checkVersion(value, 'agent');
  check(value, { client: 'string' }, 'HELLO');
  const hello = value as Hello;
  if (hello.leaseMs !== undefined && !isDuration(hello.leaseMs)) {
    throw failure('ERR_FRAME_MALFORMED', { why: 'HELLO.leaseMs is no number of milliseconds' });
  }
  return hello;
}

const isUint = (value: unknown, bits: number): boolean =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** bits;

/** Returns whether a timer can be set for a number of milliseconds. */
const isDuration = (value: unknown): boolean => isUint(value, 31);

/** Decodes the body of a JOIN frame and checks its version and shape. */
export function parseJoin(body: Uint8Array): Join {
  const value = decodeBody(body);
  checkVersion(value, 'agent');
  check(value, { token: 'bytes', purpose: 'string' }, 'JOIN');
  const join = value as Join;
  if (!purposes.includes(join.purpose)) {
    const why = `JOIN.purpose is ${join.purpose}; expected ${purposes.join(' or ')}`;
    throw failure('ERR_FRAME_MALFORMED', { why });
  }
  if (join.purpose === 'cancel' && !isUint(join.call, 32)) {
    throw failure('ERR_FRAME_MALFORMED', { why: 'JOIN.call is no id of a call' });
  }
  return join;
}

const limitsShape: Shape = {
  maxFrameBytes: uint32,
  maxCallBytes: uint32,
  maxBuffers: uint32,
  maxRelocations: uint32,
  maxHandles: uint32,
  maxStreams: uint32,
  maxEventsPerSecond: uint32,
};
const kernelShape: Shape = {
  release: 'text',
  version: 'text',
  machine: 'text',
  bootId: 'text',
  // CONFIG_NR_CPUS of the largest kernels.
  possibleCpus: between(1, 8192),
  pageSize: between(4096, 65_536),
  btf: 'boolean',
};

/** Decodes the body of a WELCOME frame and checks its version and shape. */
export function parseWelcome(body: Uint8Array): Welcome {
  const value = decodeBody(body);
  checkVersion(value, 'client');
  const duration = between(0, 2 ** 31 - 1);
  check(
    value,
    {
      agent: 'text',
      profile: 'text',
      kernel: kernelShape,
      limits: limitsShape,
      session: { token: 'bytes', leaseMs: duration, silenceMs: duration },
    },
    'WELCOME',
  );
  const { sessions } = value as Welcome;
  if (sessions !== undefined) check(sessions, { open: uint32, most: uint32 }, 'WELCOME.sessions');
  const { files = false, fileOperations = 0, chainCalls = 0, netlink = false } = value as Welcome;
  check(
    { files, fileOperations, chainCalls, netlink },
    { files: 'boolean', fileOperations: uint32, chainCalls: uint32, netlink: 'boolean' },
    'WELCOME',
  );
  if ((value as Welcome).session.token.byteLength !== TOKEN_BYTES) {
    throw failure('ERR_FRAME_MALFORMED', {
      why: `WELCOME.session.token has not ${TOKEN_BYTES} bytes`,
    });
  }
  return value as Welcome;
}

/** Returns the body of an ERROR frame for `error`: its code and the facts of its message. */
export function errorBody(error: unknown): [string, unknown] {
  if (error instanceof WaepError) return [error.code, error.detail];
  return ['ERR_AGENT', { why: error instanceof Error ? error.message : String(error) }];
}

/** The size limit of an ERROR frame's body. An error is a sentence for people. */
const MAX_ERROR_BYTES = 64 * 1024;

/** Rebuilds the error that the other side reported in an ERROR frame. */
export function parseError(body: Uint8Array): Error {
  if (body.length > MAX_ERROR_BYTES) {
    const why = `an ERROR has ${body.length} bytes; expected at most ${MAX_ERROR_BYTES}`;
    return failure('ERR_FRAME_MALFORMED', { why });
  }
  const value = decodeBody(body);
  if (!Array.isArray(value) || typeof value[0] !== 'string' || typeof value[1] !== 'object') {
    return failure('ERR_FRAME_MALFORMED', { why: 'an ERROR is not [code, details]' });
  }
  const [code, detail] = value as [string, Record<string, unknown>];
  try {
    if (isErrorCode(code)) return failure(code as ErrorCode, detail as never);
    return failure('ERR_PROTOCOL_UNEXPECTED', {
      received: `the error ${code} (${JSON.stringify(detail)})`,
      expected: 'an error code that this version knows',
    });
  } catch (cause) {
    // The other side's details may not fit the message of the code.
    return failure('ERR_FRAME_MALFORMED', { why: `the details of ${code} are not its own` }, cause);
  }
}
