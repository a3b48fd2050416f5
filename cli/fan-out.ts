import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import pc from 'picocolors';
import { GUEST_GONE } from '../src/run/index.js';
import type { ConnectionOptions } from './connection.js';
import { RUN_FAILED } from './statuses.js';

/** Colours that tell guests apart at a glance; their addresses tell them apart for sure. */
const colours = [pc.cyan, pc.magenta, pc.green, pc.yellow, pc.blue, pc.red] as const;

/**
 * Runs a program once for each guest, each in a supervisor of its own, and passes on what they
 * write line by line, behind the guest's address.
 *
 * @param started told of each program's supervisor, to which a signal can be sent
 * @returns the exit status of the first that failed, in the order of the guests, or 0
 */
export async function fanOut(
  addresses: readonly string[],
  program: readonly string[],
  { keys, tlsCa, tlsCert, tlsKey, tlsCrl, lease }: Omit<ConnectionOptions, 'vm'>,
  started: (kill: (signal: NodeJS.Signals) => void) => void,
): Promise<number> {
  const tls = Object.entries({
    ...{ '--keys': keys, '--tls-ca': tlsCa, '--tls-cert': tlsCert, '--tls-key': tlsKey },
    '--tls-crl': tlsCrl,
    '--lease': lease === undefined ? undefined : `${lease}ms`,
  });
  const options = tls.flatMap(([name, file]) => (file === undefined ? [] : [name, file]));
  const [node, script = ''] = [process.execPath, process.argv[1]];
  const widest = Math.max(...addresses.map(({ length }) => length));
  const statuses = await Promise.all(
    addresses.map(async (address, index) => {
      const colour = colours[index % colours.length] ?? pc.reset;
      const tag = `${colour(address.padEnd(widest))} | `;
      const child = spawn(node, [script, 'run', '--vm', address, ...options, '--', ...program], {
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      started((signal) => child.kill(signal));
      const status = endOf(child);
      await Promise.all([
        passOn(child.stdout, process.stdout, tag),
        passOn(child.stderr, process.stderr, tag),
      ]);
      return status;
    }),
  );
  for (const [index, status] of statuses.entries()) {
    console.error(`waep: ${addresses[index]}: ${outcomeOf(status)}`);
  }
  return statuses.find((status) => status !== 0) ?? 0;
}

async function endOf(child: ChildProcess): Promise<number> {
  const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  return code ?? 128 + constants.signals[signal ?? 'SIGKILL'];
}

function outcomeOf(status: number): string {
  if (status === GUEST_GONE) return `the guest went away (status ${status})`;
  if (status === RUN_FAILED) return `the program was not run (status ${status})`;
  return `status ${status}`;
}

async function passOn(from: Readable, to: Writable, tag: string): Promise<void> {
  for await (const line of createInterface({ input: from, crlfDelay: Number.POSITIVE_INFINITY })) {
    if (!to.write(`${tag}${line}\n`)) await once(to, 'drain');
  }
}
