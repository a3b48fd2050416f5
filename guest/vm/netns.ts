import { execFileSync, spawn } from 'node:child_process';
import { constants } from 'node:os';
import { requireTool } from '../tools.js';

const MARK = 'WAEP_PRIVATE_NETWORK';

/** Whether this process already runs in a network of its own. */
export function inPrivateNetwork(): boolean {
  return process.env[MARK] === '1';
}

/**
 * Makes sure that this program runs in a network namespace of its own, by running it once more
 * inside one when it does not. The namespace has no name and vanishes with its last process, and
 * with it every tap.
 *
 * Call it first thing: when the program is run again this never returns, and the process ends as
 * its second self does. Without root nothing happens and `false` is returned; guests then get
 * QEMU's user-mode network.
 *
 * @param prepare runs before, while the machine's own network is still there
 */
export async function ensurePrivateNetwork(prepare?: () => Promise<void>): Promise<boolean> {
  if (inPrivateNetwork()) {
    execFileSync(requireTool('ip'), ['link', 'set', 'lo', 'up']);
    return true;
  }
  await prepare?.();
  if (process.getuid?.() !== 0) return false;
  const program = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const child = spawn(
    requireTool('unshare'),
    ['--net', requireTool('setpriv'), '--pdeathsig', 'KILL', ...program],
    { stdio: 'inherit', env: { ...process.env, [MARK]: '1' } },
  );
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    // A terminal sends its signals to both; a second one would cut the other's cleaning short.
    process.on(signal, () => {
      if (signal === 'SIGTERM' || !process.stdin.isTTY) child.kill(signal);
    });
  }
  return new Promise((_, reject) => {
    child.on('error', reject);
    child.on('exit', (code, signal) => {
      process.exit(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
    });
  });
}
