import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import type { Socket } from 'node:net';
import { requireTool } from '../../tools.js';
import type { RunFolder } from '../rundir.js';

/** A process that ends with this one at the latest. */
export interface Helper {
  pid: number;
  /** The other end of the socket that the program has as its file descriptor 3. */
  control: Socket;
  /** Resolves with how it ended, such as `status 1` or `signal SIGKILL`. */
  ended: Promise<string>;
  /** Like {@link Helper.ended}, without waiting. */
  readonly ending: string | undefined;
  /** Keeps this program from ending while the helper runs. */
  ref(): void;
  /** Ends it with SIGKILL and waits until it is gone. */
  kill(): Promise<void>;
}

/**
 * Starts a program that the kernel kills when this process dies, whatever the cause.
 *
 * @param log the file that gets what it prints
 * @param setpriv further arguments of setpriv(1)
 * @param descriptors further descriptors that it inherits; the first gets the number 4
 */
export function startHelper(
  run: RunFolder,
  program: string,
  args: readonly string[],
  log: string,
  setpriv: readonly string[] = [],
  descriptors: readonly number[] = [],
): Helper {
  const output = openSync(log, 'a');
  let child: ChildProcess;
  try {
    const words = ['--pdeathsig', 'KILL', ...setpriv, program, ...args];
    child = spawn(requireTool('setpriv'), words, {
      stdio: ['ignore', output, output, 'pipe', ...descriptors],
      // Ctrl-C in a terminal reaches the whole group; this process decides when its guest ends.
      detached: true,
    });
  } finally {
    closeSync(output);
  }
  let ending: string | undefined;
  const ended = new Promise<string>((resolve) => {
    const settle = (how: string) => {
      ending ??= how;
      resolve(ending);
    };
    child.on('error', (error) => settle(error.message));
    child.on('exit', (code, signal) =>
      settle(signal === null ? `status ${code}` : `signal ${signal}`),
    );
  });
  // A running guest does not keep a program from ending.
  child.unref();
  const { pid } = child;
  // Node makes what it calls a pipe of two connected sockets.
  const control = child.stdio[3] as Socket;
  control.unref();
  if (pid !== undefined) run.kill(pid);
  return {
    pid: pid ?? 0,
    control,
    ended,
    get ending() {
      return ending;
    },
    ref: () => child.ref(),
    async kill() {
      if (ending !== undefined) return;
      child.ref();
      child.kill('SIGKILL');
      await ended;
    },
  };
}
