import { errnoName } from './errno.js';
import { printable } from './printable.js';

/**
 * Every error code of this package, with the sentence it prints.
 *
 * A sentence says what was wrong, what was expected and what to do. Once published, a code keeps
 * its meaning. Codes that begin with `E` but not with `ERR_` are the kernel's own errno names and
 * are made by {@link systemError}.
 */
const messages = {
  // addresses and transport
  ERR_ADDRESS_INVALID: (d: { value: unknown; why: string }) =>
    `Invalid address ${shown(d.value)}: ${d.why}. Expected vsock:CID:PORT, vsock-mux:/path:PORT, vsock-device:/path:PORT, tcp:HOST:PORT or unix:/path.`,
  ERR_CONNECT_TIMEOUT: (d: { address: string; timeoutMs: number }) =>
    `No connection to ${d.address} within ${d.timeoutMs} ms. Check that the peer is running, or raise timeoutMs.`,
  ERR_HANDSHAKE_TIMEOUT: (d: { address: string; timeoutMs: number }) =>
    `${d.address} accepted the connection but did not finish its handshake within ${d.timeoutMs} ms. The guest may not be up yet, or its driver may be missing.`,
  ERR_MUX_REFUSED: (d: { address: string }) =>
    `The vsock multiplexer closed the connection to ${d.address} without an answer. Nothing listens on that port in the guest, or the guest is not running.`,
  ERR_MUX_PROTOCOL: (d: { address: string; received: string }) =>
    `The vsock multiplexer at ${d.address} answered ${JSON.stringify(d.received)}; expected "OK <number>\\n".`,
  ERR_TRANSPORT_UNSUPPORTED: (d: { operation: string; transport: string; cure: string }) =>
    `${d.operation} is not available on the ${d.transport} transport. ${d.cure}`,
  ERR_SOCKET_STATE: (d: { operation: string; state: string; cure: string }) =>
    `${d.operation} is not possible: it is ${d.state}. ${d.cure}`,
  ERR_OPTION_INVALID: (d: { option: string; value: unknown; expected: string }) =>
    `Invalid ${d.option}: ${shown(d.value)}. Expected ${d.expected}.`,
  ERR_OPTION_UNKNOWN: (d: { option: string; operation: string; cure: string }) =>
    `${d.operation} has no option ${JSON.stringify(d.option)}. ${d.cure}`,

  // frames and protocol
  ERR_FRAME_TOO_LARGE: (d: { length: number; maximum: number }) =>
    `A frame of ${d.length} bytes exceeds the limit of ${d.maximum} bytes.`,
  ERR_FRAME_MALFORMED: (d: { why: string }) => `Malformed frame: ${d.why}.`,
  ERR_FRAME_TRUNCATED: (d: { received: number; expected: number }) =>
    `The connection ended inside a frame: ${d.received} of ${d.expected} bytes had arrived.`,
  // What comes over the wire is the agent's, which did not always say so.
  ERR_PROTOCOL_VERSION: (d: {
    offered: unknown;
    supported: number;
    speaker?: 'agent' | 'client';
  }) => {
    const [speaker, other] = d.speaker === 'client' ? ['client', 'agent'] : ['agent', 'client'];
    return `The ${speaker} speaks version ${d.supported} of the protocol, the ${other} version ${JSON.stringify(d.offered)}. Update the older of the two.`;
  },
  ERR_PROTOCOL_UNEXPECTED: (d: { received: string; expected: string }) =>
    `Received ${d.received}; expected ${d.expected}.`,

  // sessions and calls
  ERR_SESSION_CLOSED: (d: { address: string; why: string }) =>
    `The session with ${d.address} is closed: ${d.why}.`,
  ERR_SESSION_INTERRUPTED: (d: { call: string; address: string; why: string }) =>
    `The connection with ${d.address} was lost before ${d.call} was answered: ${d.why.replace(/\.$/, '')}. The call has either taken effect or never will. The session itself can be resumed.`,
  ERR_SESSION_UNKNOWN: (d: { why: string }) =>
    `The agent cannot join the connection to a session: ${d.why}. Begin a new session.`,
  ERR_CALL_TIMEOUT: (d: {
    call: string;
    address: string;
    timeoutMs: number;
    unsent?: boolean;
    suspicion?: string | undefined;
  }) =>
    `No answer to ${d.call} from ${d.address} within ${d.timeoutMs} ms. ${d.unsent ? 'The call could not be sent in that time, so it has no effect.' : 'The call may still take effect in the guest; close the session to undo it.'}${d.suspicion === undefined ? '' : ` ${d.suspicion}.`}`,
  ERR_CALL_ABORTED: (d: { call: string; address: string; unsent?: boolean }) =>
    `${d.call} on ${d.address} was aborted by its AbortSignal. ${d.unsent ? 'The call was not sent yet, so it has no effect.' : 'The guest is asked to cancel the call. If that comes too late, the call takes effect, and an object that it makes is closed.'}`,
  ERR_CALL_CANCELLED: (_: Record<string, never>) =>
    'The call was cancelled on request, without effect.',
  ERR_CALL_MALFORMED: (d: { why: string }) => `Malformed call: ${d.why}.`,
  ERR_CALL_LIMIT: (d: { what: string; value: number; maximum: number }) =>
    `The call exceeds a limit of the session: ${d.what} is ${d.value}, at most ${d.maximum} is allowed.`,
  ERR_HANDLE_UNKNOWN: (d: { handle: number }) =>
    `Handle ${d.handle} does not exist in this session. It was never bound, or it has been closed.`,
  ERR_HANDLE_IN_USE: (d: { handle: number }) =>
    `Handle ${d.handle} is already bound in this session; close it first or choose another.`,
  ERR_HANDLE_LIMIT: (d: { maximum: number }) =>
    `The session already holds its maximum of ${d.maximum} handles; close some first.`,
  ERR_STREAM_LIMIT: (d: { what: string; maximum: number }) =>
    `The session already has its maximum of ${d.maximum} ${d.what}; close some first.`,
  ERR_STREAM_UNKNOWN: (d: { stream: number }) =>
    `Stream ${d.stream} does not exist on this connection. It was never opened, or it has ended.`,
  ERR_OBJECT_CLOSED: (d: { object: string }) =>
    `${d.object} has been closed on this side; open or create it anew.`,
  ERR_POLICY_REFUSED: (d: { rule: string; value: string; command?: string }) =>
    `The guest's policy refuses ${d.command === undefined ? 'this' : d.command}: rule ${d.rule} does not allow ${d.value}. The guest's owner can allow it in the agent's policy.`,
  ERR_POLICY_FILE: (d: {
    file: string;
    line: number;
    column: number;
    value: string;
    expected: string;
    cure: string;
  }) => `${d.file}:${d.line}:${d.column}: found ${d.value}; expected ${d.expected}. ${d.cure}`,
  ERR_AGENT: (d: { why: string }) => `The agent failed: ${d.why}. Its log in the guest says more.`,
  ERR_AGENT_LACKS: (d: { agent: string; what: string }) =>
    `The guest's agent (${d.agent}) cannot ${d.what}: it is older than this client. Give the guest the agent of this version.`,
  ERR_PEER_REFUSED: (d: { peer: string; why: string }) =>
    `The agent refuses connections from ${d.peer}: ${d.why}.`,
  ERR_NO_AGENT: (d: { address: string; why: string }) =>
    `The server at ${d.address} is no agent: ${d.why.replace(/\.$/, '')}. Check the address, and that an agent listens there.`,
  ERR_TLS_ROLE: (d: { address: string; why: string }) =>
    `The server at ${d.address} has no certificate of an agent: ${d.why}. Check the address, and the keys of the agent.`,
  ERR_TLS_CERTIFICATE: (d: { address: string; why: string }) =>
    `The certificate of the server at ${d.address} is not accepted: ${d.why}.`,
  ERR_TLS_PLAIN: (d: { address: string }) =>
    `The server at ${d.address} does not speak TLS. Start its agent with --keys, or connect without keys.`,

  // bpf
  ERR_KERNEL_LACKS: (d: { kernel: string; what: string; cure: string }) =>
    `Linux ${d.kernel} of the guest has no ${d.what}. ${d.cure}`,
  ERR_MAP_OPERATION: (d: { map: string; type: string; operation: string; cure: string }) =>
    `${d.map} is of the type ${d.type}, which has no ${d.operation}(). ${d.cure}`,
  ERR_BPF_UNKNOWN_COMMAND: (d: { command: number | string }) =>
    `bpf command ${d.command} is not in the command table, so its pointers and descriptors are unknown and it cannot be forwarded.`,
  ERR_BPF_FIELD: (d: { command: string; field: string; value: unknown; expected: string }) =>
    `${d.command}: field ${d.field} is ${shown(d.value)}; expected ${d.expected}.`,
  ERR_BPF_UNSUPPORTED: (d: { command: string; what: string; why: string }) =>
    `${d.command}: ${d.what} cannot be forwarded: ${d.why}.`,

  // programs of others
  ERR_RUN_LAUNCH: (d: { why: string }) => `The program could not be started: ${d.why}.`,
  ERR_RUN_GUEST_GONE: (d: { why: string }) =>
    `${d.why.replace(/\.$/, '')}. The program's calls fail with EIO from here on, and it is ended in a few seconds.`,
  ERR_RUN_EVENTS_DROPPED: (d: { dropped: number; perSecond: number; last: boolean }) =>
    `${d.dropped} events have been dropped${d.last ? '' : ' so far'}: the guest's policy lets a session have ${d.perSecond} in a second (quotas.events_per_second).`,
  ERR_STANDBY: (d: { address: string; why: string; instead: string }) =>
    `Cannot stand by for ${d.address}: ${d.why}. ${d.instead}`,
  ERR_RUN_REFUSED: (d: { call: string; why: string; instead: string }) =>
    `${d.call} is refused: ${d.why}. ${d.instead}`,
  ERR_RUN_NOTICE: (d: { what: string; instead: string }) => `${d.what}. ${d.instead}`,

  // keys, values and types
  ERR_CODEC_VALUE: (d: { where: string; value: unknown; expected: string }) =>
    `${d.where === '' ? 'The value' : d.where} is ${shown(d.value)}; expected ${d.expected}.`,
  ERR_BTF_MALFORMED: (d: { why: string }) =>
    `Malformed BTF: ${d.why}. Expected what pahole, clang or a kernel writes.`,
  ERR_BTF_TYPE: (d: { type: string; why: string; cure: string }) =>
    `BTF type ${d.type}: ${d.why}. ${d.cure}`,

  // the machine
  ERR_AGENT_KEEPER: (d: { why: string }) =>
    `The process that starts the agent's executors (waep-keeper) does not run: ${d.why}. Its output on standard error says more.`,
  ERR_ADDON_MISSING: (d: { path: string; why: string; cure: string }) =>
    `The native addon could not be loaded from ${d.path}: ${d.why}. ${d.cure}`,
  ERR_PLATFORM: (d: { what: string; where: string; found: string }) =>
    `${d.what} is made for ${d.where} only; this is ${d.found}.`,
  ERR_TOOL_MISSING: (d: { tool: string; cure: string }) => `${d.tool} is missing. ${d.cure}`,
  ERR_TOOL_FAILED: (d: { tool: string; why: string; log: string }) =>
    `${d.tool} failed: ${d.why}. See ${d.log}.`,
  ERR_FOLDER_UNSAFE: (d: { path: string; why: string; cure: string }) =>
    `The folder ${d.path} cannot be used: ${d.why}. ${d.cure}`,
  ERR_FOLDER_UNUSABLE: (d: { path: string; why: string; cure: string }) =>
    `The folder ${d.path} cannot be made: ${d.why}. ${d.cure}`,
  ERR_PACKAGE_UNAVAILABLE: (d: { name: string; suite: string; why: string }) =>
    `The Debian package ${d.name} could not be fetched from ${d.suite}: ${d.why}`,
  ERR_KERNEL_MISSING: (d: { why: string }) =>
    `There is no kernel for a guest: ${d.why} This machine has no readable kernel in /boot and /lib/modules either. Install this distribution's kernel package, or name a kernel with --kernel and --modules.`,
  ERR_KERNEL_MODULE: (d: { module: string; folder: string }) =>
    `The kernel module ${d.module} is neither in ${d.folder} nor built into that kernel. Choose a kernel that has it.`,
  ERR_GUEST_STOPPED: (d: { why: string; log: string }) =>
    `The guest is no longer running: ${d.why}. Its serial log is ${d.log}.`,
  ERR_GUEST_BOOT: (d: { why: string; log: string }) =>
    `The guest did not boot: ${d.why}. Its serial log is ${d.log}.`,
  ERR_GUEST_FILE: (d: { path: string; maxBytes: number }) =>
    `The guest's file ${d.path} has more than ${d.maxBytes} bytes, which is the most that is read at once. Read the file in parts with session.open() and session.read().`,
  ERR_GUEST_COMMAND: (d: { command: string; status: number | string; output: string }) =>
    `"${d.command}" in the guest ended with ${d.status}: ${d.output}`,
  ERR_KVM_UNUSABLE: (d: { why: string }) =>
    `KVM cannot be used here: ${d.why}. --accel tcg is slower and works everywhere.`,

  // the bench
  ERR_BENCH_INCOMPLETE: (d: { what: string; received: number; expected: number }) =>
    `${d.what} has ${d.received} samples; ${d.expected} were expected. The run is not kept.`,
  ERR_BENCH_EXPERIMENT: (d: { name: string; known: readonly string[] }) =>
    `There is no experiment ${JSON.stringify(d.name)}. Choose from ${d.known.join(', ')}.`,
  ERR_BENCH_RUN: (d: { run: string; folder: string }) =>
    `There is no run ${JSON.stringify(d.run)} in ${d.folder}.`,
} as const;

function shown(value: unknown): string {
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'number') return String(value);
  const bigintsToo = (_: string, part: unknown) => (typeof part === 'bigint' ? `${part}n` : part);
  try {
    return JSON.stringify(value, bigintsToo) ?? String(value);
  } catch {
    return 'an object that contains itself';
  }
}

/** Every code, in the order of the table. */
export const errorCodes = Object.keys(messages) as ErrorCode[];

/** A code of this package, such as `'ERR_FRAME_TOO_LARGE'`. */
export type ErrorCode = keyof typeof messages;

/** The facts that a code's message is made of; they are also found on `error.detail`. */
export type ErrorDetail<C extends ErrorCode> = Parameters<(typeof messages)[C]>[0];

/**
 * An error of this package.
 *
 * `code` is stable and meant for programs; `message` is meant for people; `detail` holds the
 * values in the message, unformatted.
 */
export class WaepError<C extends ErrorCode = ErrorCode> extends Error {
  override readonly name = 'WaepError';
  /** The code of the error, such as `ERR_OPTION_INVALID`. */
  readonly code: C;
  /** The facts that the message was made of. */
  readonly detail: ErrorDetail<C>;

  constructor(code: C, detail: ErrorDetail<C>, options?: { cause?: unknown }) {
    super(printable((messages[code] as (d: ErrorDetail<C>) => string)(detail)), options);
    this.code = code;
    this.detail = detail;
  }
}

/** Makes the error of `code`; the one way errors of this package come to be. */
export function failure<C extends ErrorCode>(
  code: C,
  detail: ErrorDetail<C>,
  cause?: unknown,
): WaepError<C> {
  return new WaepError(code, detail, cause === undefined ? undefined : { cause });
}

/**
 * Whether `code` is one that {@link failure} knows: errors received from the other side are
 * checked with it before they are rebuilt here.
 */
export function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(messages, code);
}

/** An error that a kernel reported, shaped like Node's own system errors. */
export interface SystemError extends Error {
  /** The errno's name, such as `'ECONNRESET'`. */
  code: string;
  /** The negative errno, as Node has it. */
  errno: number;
  /** The system call that failed, such as `'connect'` or `'bpf'`. */
  syscall: string;
  /** The address as text, where one was involved. */
  address?: string;
  /** The port, where one was involved. */
  port?: number;
  /** The bpf command, such as `'BPF_PROG_LOAD'`, where `syscall` is `'bpf'`. */
  command?: string;
  /** Whose kernel reported it. */
  side?: 'guest' | 'host';
  /** The verifier's or BTF loader's log, where the kernel wrote one. */
  log?: string;
  /** How long the whole log would have been, in bytes with its NUL, where the kernel says so. */
  logTrueSize?: number;
  /** What the call was about, such as `map "counts"`. */
  object?: string;
  /** What the errno means for this call, where that is known. */
  why?: string;
}

/** How much of a log a message repeats: its end says why, and `error.log` has all of it. */
const SHOWN_LOG_CHARACTERS = 4096;

function lastOf(log: string): string {
  if (log.length <= SHOWN_LOG_CHARACTERS) return log;
  const start = log.indexOf('\n', log.length - SHOWN_LOG_CHARACTERS) + 1;
  return `(${start} characters of the log before this are in error.log)\n${log.slice(start)}`;
}

/**
 * Makes the error for a failed system call.
 *
 * @param errno a positive or negative errno; its sign does not matter
 */
export function systemError(
  syscall: string,
  errno: number,
  context: Partial<
    Pick<
      SystemError,
      'address' | 'port' | 'command' | 'side' | 'log' | 'logTrueSize' | 'object' | 'why' | 'cause'
    >
  > = {},
): SystemError {
  const number = Math.abs(errno);
  const code = errnoName(number);
  const what = context.command === undefined ? syscall : `${syscall}(${context.command})`;
  const where =
    context.address === undefined
      ? ''
      : ` ${context.address}${context.port === undefined ? '' : `:${context.port}`}`;
  const object = context.object === undefined ? '' : `, ${context.object}`;
  const why = context.why === undefined ? '' : `: ${context.why}`;
  const log = context.log === undefined || context.log === '' ? '' : `\n${lastOf(context.log)}`;
  const error = new Error(
    printable(`${what} ${code}${where}${object}${why}${log}`),
    context.cause === undefined ? undefined : { cause: context.cause },
  ) as SystemError;
  const { cause: _, ...facts } = context;
  return Object.assign(error, { code, errno: -number, syscall }, facts);
}
