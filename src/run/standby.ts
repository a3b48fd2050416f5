import { readFileSync, write } from 'node:fs';
import { constants } from 'node:os';
import { isatty } from 'node:tty';
import { errnoName } from '../errno.js';
import { failure } from '../errors.js';
import { native, type Poller } from '../native.js';
import type { Session } from '../session.js';
import { readable, receiveListener, SHUT_WR } from './launch.js';
import { clockAhead, Supervision, type SupervisionOptions } from './supervisor.js';

const READABLE = 1;
const { errno } = constants;
/** kMaxNameBytes of addon/core/supervisor/standby_socket.h. */
const MAX_NAME_BYTES = 255;
/** The time limit for a program from its connection until its start. */
const PATIENCE_MS = 10_000;
/**
 * The time limit for the guest to release the objects of an ended program. A tool with many probes
 * takes several seconds in an emulated guest.
 */
export const RELEASE_MS = 10_000;
/** The maximum age of a reading of the guest's clock. */
const CLOCK_AGE_MS = 15_000;

/** A session that waits for a program. */
interface Ready {
  readonly session: Session;
  readonly clockAheadNs: bigint;
  /** The time of the clock reading, by performance.now(). */
  readonly clockReadMs: number;
}

/** The standard error of a program. */
export class ProgramOutput {
  readonly #fd: number;
  readonly isTerminal: boolean;
  #writing: Promise<void> | undefined;

  /** @param fd the descriptor; {@link close} closes it */
  constructor(fd: number) {
    this.#fd = fd;
    this.isTerminal = isatty(fd);
  }

  /** Writes at once if there is room. Otherwise writes when the reader has made room. */
  write(text: string): void {
    const bytes = Buffer.from(text);
    if (this.#writing === undefined && native.standbyTell(this.#fd, bytes) >= 0) return;
    const before = this.#writing ?? Promise.resolve();
    const writing = before.then(
      () => new Promise<void>((resolve) => write(this.#fd, bytes, () => resolve())),
    );
    this.#writing = writing;
    void writing.then(() => {
      if (this.#writing === writing) this.#writing = undefined;
    });
  }

  /** Closes the descriptor after everything has been written. */
  async close(): Promise<void> {
    await this.#writing;
    native.close(this.#fd);
  }
}

/** Options of {@link Standby.open}. */
export interface StandbyOptions {
  /** Opens a session with the guest, for one program after another. */
  readonly connect: () => Promise<Session>;
  /** As in {@link SupervisionOptions}. */
  readonly cacheFolder?: string | undefined;
  /** As in {@link SupervisionOptions}, with the standard error of the program. */
  readonly refused?: (error: Error, output: ProgramOutput) => void;
  /**
   * Called with the reason why a program cannot be served. The program then runs without this
   * process.
   */
  readonly failed?: (error: Error, program: string) => void;
}

/**
 * Keeps a session open and code warm for programs that `waep run` starts on one guest, so that they
 * start faster. Each program gets its own session. When the program and everything that it started
 * have ended, all their objects in the guest are closed before the session is used again.
 *
 * The process of `waep run` becomes the program itself (addon/core/supervisor/launcher_main.cc).
 * This process only answers its system calls.
 */
export class Standby {
  readonly #options: StandbyOptions;
  readonly #listener: number;
  readonly #poller: Poller;
  readonly #clock: NodeJS.Timeout;
  /** The session for the next program, or a promise of it. */
  #ready: Promise<Ready | undefined>;
  #closed = false;
  /** For each running program, a function that stops answering its calls. */
  readonly #ends = new Set<() => void>();

  /**
   * Connects to the guest and waits for programs.
   *
   * @param address the agent's address, as `waep run --vm` names it
   * @throws ERR_STANDBY, and what `connect` throws
   */
  static async open(address: string, options: StandbyOptions): Promise<Standby> {
    checkTracing(address);
    const ready = await makeReady(options);
    const listener = native.standbyListen(address);
    if (listener >= 0) return new Standby(options, listener, ready);
    ready.session.close();
    if (listener === -errno.EADDRINUSE) {
      const why = 'another process does already';
      throw failure('ERR_STANDBY', { address, why, instead: 'One is enough: use it, or end it.' });
    }
    const why = listener === -errno.ENAMETOOLONG ? 'the address is too long' : `errno ${-listener}`;
    throw failure('ERR_STANDBY', { address, why, instead: 'waep run does without it.' });
  }

  private constructor(options: StandbyOptions, listener: number, ready: Ready) {
    this.#options = options;
    this.#listener = listener;
    this.#ready = Promise.resolve(ready);
    this.#poller = new native.Poller(listener, () => {
      const control = native.standbyAccept(listener);
      if (control >= 0) void this.#take(control);
    });
    this.#poller.poll(READABLE);
    this.#clock = setInterval(() => this.#refresh(), CLOCK_AGE_MS).unref();
  }

  /** Ends everything. The calls of running programs are no longer answered. */
  close(): void {
    this.#closed = true;
    for (const end of this.#ends) end();
    clearInterval(this.#clock);
    this.#poller.close();
    native.close(this.#listener);
    void this.#ready.then((ready) => ready?.session.close());
  }

  /** Lets the launcher at the other end of `control` become a program, and serves it. */
  async #take(control: number): Promise<void> {
    let output: ProgramOutput | undefined;
    let name = 'a program';
    let ready: Ready | undefined;
    try {
      const heard = await hear(control);
      ({ output, name } = heard);
      ready = await this.#next();
      native.send(control, [Buffer.from(`${ready.clockAheadNs}`)], 0);
      await this.#serve(ready.session, heard.process, control, output);
      this.#keep(ready);
    } catch (error) {
      ready?.session.close();
      if (!this.#closed) this.#options.failed?.(error as Error, name);
    } finally {
      native.close(control);
      await output?.close();
    }
  }

  async #serve(
    session: Session,
    process: number,
    control: number,
    output: ProgramOutput,
  ): Promise<void> {
    const { cacheFolder, refused } = this.#options;
    const supervised: SupervisionOptions = {
      cacheFolder,
      refused: (error) => refused?.(error, output),
    };
    // Meanwhile the launcher makes namespaces and installs the filter.
    const supervision = new Supervision(session, supervised);
    let end = () => {};
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    try {
      const listener = await receiveListener(control, PATIENCE_MS);
      if (listener === undefined) return;
      supervision.begin({ process, listener });
      this.#ends.add(end);
      if (this.#closed) end();
      native.send(control, [Uint8Array.of(1)], 0);
      void supervision.deserted.then(end);
      void supervision.abandoned.then(() => {
        if (this.#ends.has(end)) native.shutdown(control, SHUT_WR);
      });
      await ended;
    } finally {
      this.#ends.delete(end);
      await supervision.close();
    }
  }

  /** Returns the session for a new program. */
  async #next(): Promise<Ready> {
    // Another program that comes meanwhile must not wait for this session.
    const ready = this.#ready;
    this.#ready = Promise.resolve(undefined);
    const waiting = await ready;
    if (waiting === undefined || waiting.session.closed) return makeReady(this.#options);
    if (!waiting.session.interrupted) return waiting;
    // The session may resume later, but a new program must learn at once whether the guest is
    // there.
    waiting.session.close();
    return makeReady(this.#options);
  }

  /** Keeps the session of a program that has ended for the next one, if it is clean. */
  #keep(used: Ready): void {
    const { session } = used;
    const before = this.#ready;
    this.#ready = (async () => {
      const waiting = await before;
      // Some streams may still be closing.
      const reusable = !this.#closed && !session.closed && session.statistics.streams === 0;
      if (waiting !== undefined || !reusable) {
        if (this.#closed) session.close();
        else void dismiss(session);
        return waiting ?? (this.#closed || this.#ends.size > 0 ? undefined : this.#renew());
      }
      try {
        await session.releaseAll();
        return await upToDate(used);
      } catch {
        session.close();
        return undefined;
      }
    })();
  }

  async #renew(): Promise<Ready | undefined> {
    try {
      return await makeReady(this.#options);
    } catch {
      // The next program tries again and gets the error.
      return undefined;
    }
  }

  #refresh(): void {
    const before = this.#ready;
    this.#ready = (async () => {
      const waiting = await before;
      if (waiting === undefined || waiting.session.closed) return undefined;
      try {
        return await upToDate(waiting);
      } catch {
        waiting.session.close();
        return undefined;
      }
    })();
  }
}

/**
 * Closes a session after the guest has released its objects. While streams still send, the message
 * that closes the session can be lost with its connection. The guest would then keep all objects
 * until the lease ends.
 */
async function dismiss(session: Session): Promise<void> {
  if (!session.closed && !session.interrupted) {
    await session.releaseAll({ timeoutMs: RELEASE_MS }).catch(() => {});
  }
  session.close();
}

async function makeReady({ connect }: StandbyOptions): Promise<Ready> {
  const session = await connect();
  try {
    return await upToDate({ session, clockAheadNs: 0n, clockReadMs: -Infinity });
  } catch (error) {
    session.close();
    throw error;
  }
}

async function upToDate(ready: Ready): Promise<Ready> {
  const { session, clockReadMs } = ready;
  const nowMs = performance.now();
  if (nowMs - clockReadMs < CLOCK_AGE_MS) return ready;
  return { session, clockAheadNs: await clockAhead(session), clockReadMs: nowMs };
}

/** Receives the first message of a launcher: the program's name, and its standard error. */
async function hear(
  control: number,
): Promise<{ name: string; process: number; output: ProgramOutput }> {
  await readable(control, PATIENCE_MS);
  const name = Buffer.alloc(MAX_NAME_BYTES);
  const others = new Int32Array(2);
  const length = native.standbyReceive(control, name, others);
  const [output = -1, process = 0] = others;
  if (length < 0) throw new Error(`it ended before it said its name (${errnoName(-length)})`);
  return { name: name.toString('utf8', 0, length), process, output: new ProgramOutput(output) };
}

/** Programs are not children of this process, so the kernel must allow it to read their memory. */
function checkTracing(address: string): void {
  if (process.geteuid?.() === 0) return;
  let scope = '0';
  try {
    scope = readFileSync('/proc/sys/kernel/yama/ptrace_scope', 'utf8').trim();
  } catch {
    // A kernel without Yama lets a user trace the user's own processes.
  }
  if (scope === '0') return;
  const why = `kernel.yama.ptrace_scope is ${scope}: users may look at their own children only`;
  const instead = 'Stand by as root, or set it to 0. waep run does without, too.';
  throw failure('ERR_STANDBY', { address, why, instead });
}
