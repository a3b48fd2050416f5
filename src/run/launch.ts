import { type ChildProcess, spawn } from 'node:child_process';
import { failure } from '../errors.js';
import { native, nativeFile } from '../native.js';

const READABLE = 1;
/** Tells a program's watcher that nobody answers any more (addon/core/launch.cc). */
export const SHUT_WR = 1;
/** Where the launcher finds its end of the socket pair: the first descriptor after stdio. */
const CONTROL = 3;

/** A file or folder that the program sees in the place of another. */
export interface Bind {
  readonly source: string;
  readonly target: string;
}

/** A program that has been started and waits until {@link Launched.go}. */
export interface Launched {
  readonly child: ChildProcess;
  /** The listener of its system calls. The caller closes it. */
  readonly listener: number;
  go(): void;
  /** Has the program end some seconds from now: somebody has said why. */
  giveUp(): void;
}

/** What a program sees in the place of what this machine has. */
export interface Surroundings {
  readonly binds: readonly Bind[];
  /** How far its monotonic clock is ahead of this machine's, in nanoseconds. */
  readonly clockAheadNs: bigint;
}

/**
 * Starts a program whose system calls on eBPF wait to be answered here. It shares this process's
 * standard streams, environment and working directory. Without the privilege to have a time
 * namespace, or on a kernel without them, its clock is this machine's.
 *
 * @throws ERR_RUN_LAUNCH; what is wrong is on standard error then
 */
export async function launch(
  program: readonly string[],
  { binds, clockAheadNs }: Surroundings,
): Promise<Launched> {
  const pair = new Int32Array(2);
  const made = native.socketPair(pair);
  if (made < 0) throw failure('ERR_RUN_LAUNCH', { why: `socketpair(2) failed with ${made}` });
  const [ours = -1, theirs = -1] = pair;
  const view = binds.flatMap(({ source, target }) => ['--bind', source, target]);
  const words = [String(CONTROL), String(clockAheadNs), ...view, '--', ...program];
  const child = spawn(nativeFile('waep-launch'), words, {
    stdio: ['inherit', 'inherit', 'inherit', theirs],
  });
  native.close(theirs);
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
    const listener = await Promise.race([receiveListener(ours), failed]);
    // The launcher has said why it ended.
    if (listener === undefined) return await failed;
    child.removeAllListeners('exit');
    failed.catch(() => {});
    let ended = false;
    const go = () => {
      native.send(ours, [Uint8Array.of(1)], 0);
      // Its end tells that nobody answers any more.
      child.once('exit', () => {
        ended = true;
        native.close(ours);
      });
    };
    const giveUp = () => {
      if (!ended) native.shutdown(ours, SHUT_WR);
    };
    return { child, listener, go, giveUp };
  } catch (error) {
    native.close(ours);
    throw error;
  }
}

/**
 * Receives the listener that the launcher at the other end of `control` hands over, or undefined when
 * it ends before. A launcher that takes longer than `timeoutMs` is an error.
 */
export async function receiveListener(
  control: number,
  timeoutMs?: number,
): Promise<number | undefined> {
  await readable(control, timeoutMs);
  const listener = native.receiveDescriptor(control);
  return listener < 0 ? undefined : listener;
}

/** Resolves when there is something to read, an end included. */
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
