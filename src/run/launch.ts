import { type ChildProcess, spawn } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { failure } from '../errors.js';
import { native, nativeFile } from '../native.js';
import { outputPipe } from './output-pipe.js';

const READABLE = 1;
const STANDARD_ERROR = 2;
/**
 * Tells a program's watcher that its calls are no longer answered
 * (addon/core/supervisor/launch.cc).
 */
export const SHUT_WR = 1;
/**
 * The descriptor of the launcher's end of the socket pair: the first after the standard streams. If
 * the program's standard error is a pipe, the launcher has this process's as the next one.
 */
const CONTROL = 3;

/** A file or folder that the program sees in place of another. */
export interface Bind {
  readonly source: string;
  readonly target: string;
}

/** A program that has been started and waits until {@link Launched.go}. */
export interface Launched {
  readonly child: ChildProcess;
  /** What the program prints on standard error, if that is a pipe. */
  readonly errors?: Readable | undefined;
  /** The listener of its system calls. The caller closes it. */
  readonly listener: number;
  go(): void;
  /** Ends the program some seconds from now. The caller has printed the reason. */
  giveUp(): void;
}

/** What a program sees in place of this machine's files and clock. */
export interface Surroundings {
  readonly binds: readonly Bind[];
  /**
   * Returns the nanoseconds by which its monotonic clock is ahead of this machine's. It is called
   * once, and the launcher starts meanwhile.
   */
  readonly clockAhead: () => Promise<bigint>;
  /**
   * If present, the program's standard error is a pipe, {@link Launched.errors}. The
   * launcher's messages go to this process's standard error, in JSON, with this address of a guest.
   */
  readonly messagesAbout?: string | undefined;
}

/**
 * Starts a program whose caught system calls wait for answers from this process. It shares this
 * process's standard streams (see {@link Surroundings.messagesAbout}), environment and working
 * directory. If this process may not make a time namespace, or the kernel has none, the program's
 * clock is this machine's.
 *
 * @throws ERR_RUN_LAUNCH; standard error says what is wrong. The error of `clockAhead`
 */
export async function launch(
  program: readonly string[],
  { binds, clockAhead, messagesAbout }: Surroundings,
): Promise<Launched> {
  checkProcesses();
  const pair = new Int32Array(2);
  const made = native.socketPair(pair);
  if (made < 0) throw failure('ERR_RUN_LAUNCH', { why: `socketpair(2) failed with ${made}` });
  const [ours = -1, theirs = -1] = pair;
  const view = binds.flatMap(({ source, target }) => ['--bind', source, target]);
  const json = messagesAbout === undefined ? [] : ['--json', messagesAbout];
  const errors = messagesAbout === undefined ? undefined : outputPipe();
  const words = [String(CONTROL), ...json, ...view, '--', ...program];
  const child = spawn(nativeFile('waep-launch'), words, {
    env: environment(),
    stdio: errors
      ? ['inherit', 'inherit', errors.input, theirs, STANDARD_ERROR]
      : ['inherit', 'inherit', 'inherit', theirs],
  });
  native.close(theirs);
  if (errors !== undefined) native.close(errors.input);
  const failed = new Promise<never>((_, reject) => {
    child.once('error', (cause) => {
      reject(failure('ERR_RUN_LAUNCH', { why: cause.message }, cause));
    });
    child.once('exit', (code, signal) => {
      const why = `its launcher ended with ${signal ?? `status ${code}`}`;
      reject(failure('ERR_RUN_LAUNCH', { why }));
    });
  });
  try {
    const aheadNs = await Promise.race([clockAhead(), failed]);
    native.send(ours, [Buffer.from(String(aheadNs))], 0);
    const listener = await Promise.race([receiveListener(ours), failed]);
    // The launcher has printed the reason.
    if (listener === undefined) return await failed;
    child.removeAllListeners('exit');
    failed.catch(() => {});
    let ended = false;
    const go = () => {
      native.send(ours, [Uint8Array.of(1)], 0);
      // When the socket closes, the other end learns that nobody answers calls any more.
      child.once('exit', () => {
        ended = true;
        native.close(ours);
      });
    };
    const giveUp = () => {
      if (!ended) native.shutdown(ours, SHUT_WR);
    };
    return { child, errors: errors?.output, listener, go, giveUp };
  } catch (error) {
    // First, because the launcher may print that its supervisor is gone once its control is closed.
    child.kill('SIGKILL');
    native.close(ours);
    throw error;
  }
}

/** Returns this process's environment, with what waep-launch has kept from Node. */
function environment(): NodeJS.ProcessEnv {
  const { WAEP_NODE_EXTRA_CA_CERTS: certificates, ...own } = process.env;
  return certificates === undefined ? own : { ...own, NODE_EXTRA_CA_CERTS: certificates };
}

/** @throws ERR_RUN_LAUNCH when /proc does not show the PID namespace of this process */
function checkProcesses(): void {
  let own = '';
  try {
    own = readlinkSync('/proc/self');
  } catch {
    // /proc is not mounted, or does not show this process.
  }
  if (own === String(process.pid)) return;
  throw failure('ERR_RUN_LAUNCH', {
    why: '/proc shows the processes of another PID namespace, or none. Mount that of this one (mount -t proc proc /proc; unshare has --mount-proc)',
  });
}

/**
 * Receives the listener from the launcher at the other end of `control`. Returns undefined if the
 * launcher ends before that. Throws if it takes longer than `timeoutMs`.
 */
export async function receiveListener(
  control: number,
  timeoutMs?: number,
): Promise<number | undefined> {
  await readable(control, timeoutMs);
  const listener = native.receiveDescriptor(control);
  return listener < 0 ? undefined : listener;
}

/** Resolves when there are bytes to read, or the end. */
export function readable(fd: number, timeoutMs?: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (settle: () => void) => {
      clearTimeout(timer);
      poller.close();
      settle();
    };
    const poller = new native.Poller(fd, () => done(resolve));
    const timer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(() => {
            done(() => reject(new Error('a program was not started in time')));
          }, timeoutMs);
    poller.poll(READABLE);
  });
}
