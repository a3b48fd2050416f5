import { constants } from 'node:os';
import type { Readable } from 'node:stream';
import { setTimeout } from 'node:timers/promises';
import { failure, type SystemError, WaepError } from '../errors.js';
import { type Listener, native, Verdict } from '../native.js';
import type { Session } from '../session.js';
import { GuestCache, GuestFiles, kernelPaths, RecentFiles } from '../view/index.js';
import type { Context } from './context.js';
import { Folders } from './folders.js';
import { Interruptions } from './interruptions.js';
import { KernelTypes } from './kernel-types.js';
import { type Bind, launch } from './launch.js';
import { MappedEvents } from './mapped-events.js';
import { MappedMaps } from './mapped-maps.js';
import { MappedUserRings } from './mapped-user-rings.js';
import { NetlinkSockets } from './netlink-sockets.js';
import { NetworkNamespace } from './network-namespace.js';
import { Notification } from './notification.js';
import { Objects } from './objects.js';
import { OwnProcesses } from './own-processes.js';
import { Placeholders } from './placeholders.js';
import { ProbeCache } from './probe-cache/index.js';
import { ProbeDefinitions } from './probe-definitions.js';
import { ProbedFiles } from './probed-files.js';
import { StartedPrograms } from './started-programs.js';
import { answerOf } from './system-calls.js';
import { SystemName } from './system-name.js';

const CLOCK_ROUNDS = 4;
/** How long reading what an ended program has printed may take. */
const LAST_WORDS_MS = 1000;
const { errno: Errno, signals } = constants;

/** The exit status of a program whose guest or session ended first. */
export const GUEST_GONE = 124;

/** How a program ended. */
export interface Ending {
  /**
   * The exit status of the program, or 128 plus the number of its signal, as in a shell.
   * {@link GUEST_GONE} if the session ended first, whatever the program's own status was.
   */
  readonly status: number;
}

/** Options of {@link Supervision}. */
export interface SupervisionOptions {
  /** The folder for cached answers of guests' kernels. Without it, every run asks the guest. */
  readonly cacheFolder?: string | undefined;
  /**
   * Called once for each different thing that the program asked for and does not get. The program's
   * call returns after that.
   */
  readonly refused?: (error: Error) => void;
}

/** Options of {@link run}. */
export interface RunOptions extends SupervisionOptions {
  /** The files and folders that the program sees in place of this machine's. */
  readonly binds?: readonly Bind[];
  /** Called when the program is about to begin, with a function that sends it a signal. */
  readonly started?: (kill: (signal: NodeJS.Signals) => void) => void;
  /**
   * If present, waep's messages can be told apart from the program's: the program's standard error
   * is a pipe that `read` reads. Standard error of this process has only waep's messages, and those
   * of the launcher are lines of JSON with the guest's address.
   */
  readonly apart?: { readonly address: string; readonly read: (errors: Readable) => Promise<void> };
}

/**
 * Runs an eBPF application of this machine on the kernel of the guest. Each bpf(2) call of the
 * application, or of a program that it starts, is executed in the guest and never on this machine's
 * kernel.
 *
 * The program is not changed. Its descriptors stand for objects of the guest until their last copy
 * is closed.
 *
 * @param program the program and its arguments, as for execvp(3)
 * @throws ERR_RUN_LAUNCH
 */
export async function run(
  session: Session,
  program: readonly string[],
  { binds = [], started, apart, ...options }: RunOptions = {},
): Promise<Ending> {
  const messagesAbout = apart?.address;
  const surroundings = { binds, clockAhead: () => clockAhead(session), messagesAbout };
  const { child, errors, listener, go, giveUp } = await launch(program, surroundings);
  const read = errors && apart?.read(errors);
  const ended = new Promise<Ending>((resolve) => {
    child.once('exit', (code, signal) => {
      resolve({ status: code ?? 128 + (signal === null ? 0 : signals[signal]) });
    });
  });
  const supervision = new Supervision(session, options);
  supervision.begin({ process: child.pid ?? 0, listener });
  started?.((signal) => child.kill(signal));
  go();
  let isGone = false;
  void supervision.abandoned.then(() => {
    isGone = true;
    giveUp();
  });
  try {
    const ending = await ended;
    // Processes that the program has left behind may keep it open.
    await Promise.race([read, setTimeout(LAST_WORDS_MS, undefined, { ref: false })]);
    return isGone ? { status: GUEST_GONE } : ending;
  } finally {
    await supervision.close();
  }
}

/** A program that waits to be executed. */
export interface Program {
  /** The process of waep-launch, which becomes the program. */
  readonly process: number;
  /** The listener of the program's system calls. */
  readonly listener: number;
}

/** Answers a program's system calls, from {@link begin} until {@link close}. */
export class Supervision {
  /** Resolves when no process is left whose calls could be answered. */
  readonly deserted: Promise<void>;
  /**
   * Resolves when the session has ended and the user has been told. From then on the program's
   * calls fail with EIO, and every wait of the program for events ends.
   */
  readonly abandoned: Promise<void>;
  readonly #forget: () => void;
  readonly #refused: (error: Error) => void;
  readonly #context: Context;
  readonly #desert: () => void;
  #listener = -1;
  #calls: Listener | undefined;

  constructor(session: Session, options: SupervisionOptions) {
    this.#context = contextOf(session, options);
    this.#refused = options.refused ?? (() => {});
    let desert = () => {};
    this.deserted = new Promise((resolve) => {
      desert = resolve;
    });
    this.#desert = desert;
    const { warnOnce, events } = this.#context;
    let abandon = () => {};
    this.abandoned = new Promise((resolve) => {
      abandon = resolve;
    });
    this.#forget = session.onClose((reason) => {
      warnOnce(failure('ERR_RUN_GUEST_GONE', { why: reason.message }));
      events.wakeAll();
      abandon();
    });
  }

  /** @param program its listener is closed by the supervision */
  begin({ process, listener }: Program): void {
    const { probes, own, started } = this.#context;
    own.begin(process);
    started.about(process);
    this.#listener = listener;
    // Fails before Linux 6.6. The answers then only arrive later.
    native.seccompSetSyncWakeUp(listener);
    const onCall = (verdict: number) => {
      if (verdict !== Verdict.UNKNOWN && probes.counting) probes.follow(probes.verdicts.latest);
      if (verdict === Verdict.NOTIFY) return;
      answer(new Notification(listener, words, verdict === Verdict.SUCCEEDS), this.#context);
    };
    const onEnd = () => {
      calls.close();
      this.#desert();
    };
    const calls = new native.Listener(
      listener,
      process,
      probes.verdicts,
      kernelPaths,
      started.begins,
      onCall,
      onEnd,
    );
    this.#calls = calls;
    const { words } = calls;
  }

  /** Stops answering. The guest may release the program's objects later. */
  async close(): Promise<void> {
    const { userRings, events, mapped, definitions, recent, placeholders, probes, netlink } =
      this.#context;
    this.#forget();
    this.#calls?.close();
    this.#context.interruptions.close();
    if (this.#listener >= 0) native.close(this.#listener);
    try {
      await userRings.push();
    } finally {
      userRings.close();
      await this.#end(events);
      mapped.close();
      definitions.close();
      netlink.close();
      recent.close();
      placeholders.close();
      await probes.close();
    }
  }

  /**
   * Ends the event streams. Reports the records that were dropped because of the guest's policy.
   */
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
  const types = new KernelTypes(files);
  const objects = new Objects(session, (name) => types.named(name));
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
    // Tools ask the same about many processes and descriptors.
    const kind = error.message.replace(/\/proc\/\S+/g, (path) => path.replace(/\d+/g, ''));
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
  const name = new SystemName(session, files);
  const interruptions = new Interruptions();
  const started = new StartedPrograms(session.kernel, warnOnce);
  const netlink = new NetlinkSockets();
  const network = new NetworkNamespace(session, objects);
  const known = {
    session,
    objects,
    placeholders,
    probes,
    interruptions,
    started,
    own,
    name,
    netlink,
    network,
    ...views,
  };
  return { ...known, events, userRings, mapped, warnOnce };
}

/** Returns by how many nanoseconds the guest's monotonic clock is ahead of this machine's. */
export async function clockAhead(session: Session): Promise<bigint> {
  const best = (await session.readClock(CLOCK_ROUNDS)).best;
  if (best === undefined) return 0n;
  const agoMs = performance.now() - (best.afterMs + best.beforeMs) / 2;
  return BigInt(Math.round(best.guestNs + agoMs * 1e6)) - process.hrtime.bigint();
}

function answer(call: Notification, context: Context): void {
  context.started.first(call);
  const failed = (error: unknown) => {
    try {
      // The program reports errors of the kernel itself. The user has already been told that the
      // session ended.
      if (error instanceof WaepError && error.code !== 'ERR_SESSION_CLOSED') {
        context.warnOnce(error);
      }
    } finally {
      // The call fails last: the user must read the reason before the program's own message.
      call.fail(errnoOf(error));
    }
  };
  try {
    answerOf(call)(call, context)?.catch(failed);
  } catch (error) {
    failed(error);
  }
}

/** Returns whether an error is the policy's refusal to look at, list, read or change a file. */
function isRefusalOfFile(error: unknown): boolean {
  if (!(error instanceof WaepError) || error.code !== 'ERR_POLICY_REFUSED') return false;
  const { rule, command = '' } = (error as WaepError<'ERR_POLICY_REFUSED'>).detail;
  if (rule === 'readable_paths' || rule === 'cgroup_paths') return true;
  return rule === 'pin_paths' && /^[a-z]+$/.test(command);
}

/** The errno that the program gets. The user gets the reason. */
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
