import { constants } from 'node:os';
import { BtfTypes } from '../btf/index.js';
import { failure, type SystemError, WaepError } from '../errors.js';
import { type Listener, native, Verdict } from '../native.js';
import type { Session } from '../session.js';
import { GuestCache, GuestFiles, RecentFiles } from '../view/index.js';
import type { Context } from './context.js';
import { Folders } from './folders.js';
import { Interruptions } from './interruptions.js';
import { type Bind, launch } from './launch.js';
import { MappedEvents } from './mapped-events.js';
import { MappedMaps } from './mapped-maps.js';
import { MappedUserRings } from './mapped-user-rings.js';
import { Notification } from './notification.js';
import { Objects } from './objects.js';
import { OwnProcesses } from './own-processes.js';
import { Placeholders } from './placeholders.js';
import { ProbeCache } from './probe-cache/index.js';
import { ProbeDefinitions } from './probe-definitions.js';
import { ProbedFiles } from './probed-files.js';
import { StartedPrograms } from './started-programs.js';
import { answerOf } from './system-calls.js';

const CLOCK_ROUNDS = 4;
const { errno: Errno, signals } = constants;

/** The status of a program whose guest, or the session with it, ended first. */
export const GUEST_GONE = 124;

/** How a program ended. */
export interface Ending {
  /**
   * Its exit status, or 128 and the signal's number, as a shell has it; {@link GUEST_GONE} when its
   * session ended first, whatever it made of that.
   */
  readonly status: number;
}

/** Options of {@link Supervision}. */
export interface SupervisionOptions {
  /** The folder to keep what a guest's kernel has said in. Absent: it is asked every time. */
  readonly cacheFolder?: string | undefined;
  /**
   * Told of everything that the program asked for and does not get, once for each. The program's
   * call returns after that.
   */
  readonly refused?: (error: Error) => void;
}

/** Options of {@link run}. */
export interface RunOptions extends SupervisionOptions {
  /** What the program sees of this machine's files in the place of the machine's own. */
  readonly binds?: readonly Bind[];
  /** Told when the program is about to begin, with what sends it a signal. */
  readonly started?: (kill: (signal: NodeJS.Signals) => void) => void;
}

/**
 * Runs an eBPF application of this machine on the kernel of the guest: each bpf(2) call that it,
 * or a program that it starts, makes is executed there, and none on this machine's kernel.
 *
 * The program is not changed and need not know. Its descriptors stand for objects of the guest
 * until their last copy is closed.
 *
 * @param program the program and its arguments, as execvp(3) takes them
 * @throws ERR_RUN_LAUNCH
 */
export async function run(
  session: Session,
  program: readonly string[],
  { binds = [], started, ...options }: RunOptions = {},
): Promise<Ending> {
  const clockAheadNs = await clockAhead(session);
  const { child, listener, go, giveUp } = await launch(program, { binds, clockAheadNs });
  const ended = new Promise<Ending>((resolve) => {
    child.once('exit', (code, signal) => {
      resolve({ status: code ?? 128 + (signal === null ? 0 : signals[signal]) });
    });
  });
  const supervision = new Supervision(session, listener, options);
  started?.((signal) => child.kill(signal));
  go();
  let isGone = false;
  void supervision.abandoned.then(() => {
    isGone = true;
    giveUp();
  });
  try {
    const ending = await ended;
    return isGone ? { status: GUEST_GONE } : ending;
  } finally {
    await supervision.close();
  }
}

/** The answering of a program's system calls, from when it is made until {@link close}. */
export class Supervision {
  /** Resolves when nobody is left whose calls could be answered. */
  readonly deserted: Promise<void>;
  /**
   * Resolves when the session has ended, and the user has been told. The program's calls fail with
   * EIO from then on, and what it waits for wakes it.
   */
  readonly abandoned: Promise<void>;
  readonly #forget: () => void;
  readonly #refused: (error: Error) => void;
  readonly #context: Context;
  readonly #listener: number;
  readonly #calls: Listener;

  /** Owns the listener of the program's system calls. */
  constructor(session: Session, listener: number, options: SupervisionOptions) {
    this.#context = contextOf(session, options);
    this.#refused = options.refused ?? (() => {});
    this.#listener = listener;
    // Not before Linux 6.6; the answers are the same without, only later.
    native.seccompSetSyncWakeUp(listener);
    let desert = () => {};
    this.deserted = new Promise((resolve) => {
      desert = resolve;
    });
    const { probes, warnOnce, events } = this.#context;
    let abandon = () => {};
    this.abandoned = new Promise((resolve) => {
      abandon = resolve;
    });
    this.#forget = session.onClose((reason) => {
      warnOnce(failure('ERR_RUN_GUEST_GONE', { why: reason.message }));
      events.wakeAll();
      abandon();
    });
    const onCall = (verdict: number) => {
      if (verdict !== Verdict.UNKNOWN && probes.counting) probes.follow(probes.verdicts.latest);
      if (verdict === Verdict.NOTIFY) return;
      answer(new Notification(listener, words, verdict === Verdict.SUCCEEDS), this.#context);
    };
    this.#calls = new native.Listener(listener, probes.verdicts, onCall, () => {
      this.#calls.close();
      desert();
    });
    const { words } = this.#calls;
  }

  /** Ends the answering. What the program had of the guest's is let go, not all of it at once. */
  async close(): Promise<void> {
    const { userRings, events, mapped, definitions, recent, placeholders, probes } = this.#context;
    this.#forget();
    this.#calls.close();
    this.#context.interruptions.close();
    native.close(this.#listener);
    try {
      await userRings.push();
    } finally {
      userRings.close();
      await this.#end(events);
      mapped.close();
      definitions.close();
      recent.close();
      placeholders.close();
      await probes.close();
    }
  }

  /** Ends the events, and tells of those that the guest's policy has taken away. */
  async #end(events: MappedEvents): Promise<void> {
    const perSecond = this.#context.session.limits.maxEventsPerSecond;
    const closed = events.close();
    if (perSecond === 0) return;
    await closed;
    const dropped = events.droppedRecords;
    if (dropped === 0) return;
    this.#refused(failure('ERR_RUN_EVENTS_DROPPED', { dropped, perSecond, last: true }));
  }
}

function contextOf(
  session: Session,
  { cacheFolder, refused = () => {} }: SupervisionOptions,
): Context {
  const cache = new GuestCache(session, cacheFolder);
  const files = new GuestFiles(session, cache);
  const folders = new Folders(files);
  const objects = new Objects(
    session,
    async () => new BtfTypes(await files.bytes('/sys/kernel/btf/vmlinux')),
  );
  const probes = new ProbeCache(session, cache);
  const placeholders = new Placeholders({
    used: (handle) => probes.use(handle),
    gone: (handle) => {
      objects.remove(handle);
      folders.remove(handle);
      if (!probes.drop(handle)) session.release([handle]).catch(() => {});
    },
  });
  const warned = new Set<string>();
  const warnOnce = (error: Error) => {
    // Tools ask the same of many processes.
    const kind = error.message.replace(/\/proc\/\d+\//g, '/proc/');
    if (warned.has(kind)) return;
    warned.add(kind);
    refused(error);
  };
  const perSecond = session.limits.maxEventsPerSecond;
  const events = new MappedEvents(session, placeholders, (dropped) =>
    warnOnce(failure('ERR_RUN_EVENTS_DROPPED', { dropped, perSecond, last: false })),
  );
  const mapped = new MappedMaps(session, objects, placeholders);
  const userRings = new MappedUserRings(session, placeholders, events);
  const recent = new RecentFiles(files);
  const definitions = new ProbeDefinitions();
  const own = new OwnProcesses();
  const probed = new ProbedFiles(session, own, warnOnce);
  const views = { files, recent, probed, folders, definitions };
  const interruptions = new Interruptions();
  const started = new StartedPrograms(session.kernel, warnOnce);
  const known = { session, objects, placeholders, probes, interruptions, started, own, ...views };
  return { ...known, events, userRings, mapped, warnOnce };
}

/** How far the guest's monotonic clock is ahead of this machine's, in nanoseconds. */
export async function clockAhead(session: Session): Promise<bigint> {
  const best = (await session.readClock(CLOCK_ROUNDS)).best;
  if (best === undefined) return 0n;
  const agoMs = performance.now() - (best.afterMs + best.beforeMs) / 2;
  return BigInt(Math.round(best.guestNs + agoMs * 1e6)) - process.hrtime.bigint();
}

function answer(call: Notification, context: Context): void {
  context.own.begin(call.thread);
  context.started.first(call.thread);
  const failed = (error: unknown) => {
    try {
      // The kernel's own errors are the program's to tell, and the end of the session has been told.
      if (error instanceof WaepError && error.code !== 'ERR_SESSION_CLOSED') {
        context.warnOnce(error);
      }
    } finally {
      // Last: whoever reads a terminal is to see why before the program says what came of it.
      call.fail(errnoOf(error));
    }
  };
  try {
    answerOf(call)(call, context)?.catch(failed);
  } catch (error) {
    failed(error);
  }
}

/** Whether the guest's policy does not let a file be looked at, listed, read or changed. */
function isRefusalOfFile(error: unknown): boolean {
  if (!(error instanceof WaepError) || error.code !== 'ERR_POLICY_REFUSED') return false;
  const { rule, command = '' } = (error as WaepError<'ERR_POLICY_REFUSED'>).detail;
  return rule === 'readable_paths' || (rule === 'pin_paths' && /^[a-z]+$/.test(command));
}

/** What the program is told; why is told to the user. */
const errnos: Readonly<Record<string, number>> = {
  ERR_POLICY_REFUSED: Errno.EPERM,
  ERR_BPF_UNKNOWN_COMMAND: Errno.EINVAL,
  ERR_CALL_TIMEOUT: Errno.ETIMEDOUT,
  ERR_SESSION_CLOSED: Errno.EIO,
  ERR_SESSION_INTERRUPTED: Errno.EIO,
};

function errnoOf(error: unknown): number {
  if (isRefusalOfFile(error)) return Errno.EACCES;
  if (error instanceof WaepError) return errnos[error.code] ?? Errno.EOPNOTSUPP;
  const number = (error as Partial<SystemError>).errno;
  return number === undefined ? Errno.EIO : Math.abs(number);
}
