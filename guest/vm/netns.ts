import { execFileSync, spawn } from 'node:child_process';
import { constants } from 'node:os';
import { requireTool } from '../tools.js';

const MARK = 'WAEP_PRIVATE_NETWORK';

/** Whether this process already runs in a network of its own. */
export function inPrivateNetwork(): boolean {
  return process.env[MARK] === '1';
}

/**
 * Makes sure that this program runs in a network namespace of its own. If it does not, the program
 * is run once more inside such a namespace. The namespace has no name. It ends with its last
 * process, and every tap device with it.
 *
 * Call it first. When the program is run again, the function never returns, and this process ends
 * with the status of the second one. Without root it does nothing and returns `false`; guests then
 * get QEMU's user-mode network.
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
    // A terminal signals both processes. Passing its signals on would interrupt the clean-up.
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
