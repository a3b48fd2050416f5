import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import pc from 'picocolors';
import { native } from '../src/native.js';
import { GUEST_GONE, outputPipe } from '../src/run/index.js';
import type { ConnectionOptions } from './connection.js';
import { jsonLine } from './json-lines.js';
import { linesIn, writeLine } from './lines.js';
import { RUN_FAILED } from './statuses.js';

/** A longer line is split. What `waep run --json` prints for a line of a program is shorter. */
const MAX_LINE_CHARACTERS = 1024 * 1024;

/** Colours by which the user quickly tells guests apart. Only the addresses are unique. */
const colours = [pc.cyan, pc.magenta, pc.green, pc.yellow, pc.blue, pc.red] as const;

/**
 * Runs a program once for each guest, each time in a supervisor of its own. Passes on the output of
 * all programs line by line, with the guest's address before each line.
 *
 * @param how `started` receives a function for each program's supervisor that sends it a signal;
 *   with `json`, standard error has only objects with the address
 * @returns the exit status of the first program that failed, in the order of the guests, or 0
 */
export async function fanOut(
  addresses: readonly string[],
  program: readonly string[],
  { keys, tlsCa, tlsCert, tlsKey, tlsCrl, lease, connectTimeout }: Omit<ConnectionOptions, 'vm'>,
  { started, json }: { started: (kill: (signal: NodeJS.Signals) => void) => void; json: boolean },
): Promise<number> {
  const tls = Object.entries({
    ...{ '--keys': keys, '--tls-ca': tlsCa, '--tls-cert': tlsCert, '--tls-key': tlsKey },
    '--tls-crl': tlsCrl,
    '--lease': lease === undefined ? undefined : `${lease}ms`,
    '--connect-timeout': connectTimeout === undefined ? undefined : `${connectTimeout}ms`,
  });
  const options = [
    ...tls.flatMap(([name, file]) => (file === undefined ? [] : [name, file])),
    ...(json ? ['--json'] : []),
  ];
  const [node, script = ''] = [process.execPath, process.argv[1]];
  const widest = Math.max(...addresses.map(({ length }) => length));
  const statuses = await Promise.all(
    addresses.map(async (address, index) => {
      const colour = colours[index % colours.length] ?? pc.reset;
      const tag = `${colour(address.padEnd(widest))} | `;
      const [stdout, stderr] = [outputPipe(), outputPipe()];
      const child = spawn(node, [script, 'run', '--vm', address, ...options, '--', ...program], {
        stdio: ['ignore', stdout.input, stderr.input],
      });
      for (const { input } of [stdout, stderr]) native.close(input);
      started((signal) => child.kill(signal));
      const status = endOf(child);
      await Promise.all([
        passOn(stdout.output, process.stdout, tag),
        // These are objects with the address.
        passOn(stderr.output, process.stderr, json ? '' : tag),
      ]);
      return status;
    }),
  );
  for (const [index, status] of statuses.entries()) {
    const address = addresses[index];
    const { outcome, text } = outcomeOf(status);
    console.error(
      json ? jsonLine('ended', { address, status, outcome }) : `waep: ${address}: ${text}`,
    );
  }
  return statuses.find((status) => status !== 0) ?? 0;
}

async function endOf(child: ChildProcess): Promise<number> {
  const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  return code ?? 128 + constants.signals[signal ?? 'SIGKILL'];
}

function outcomeOf(status: number): { outcome: string; text: string } {
  const text = `status ${status}`;
  if (status === GUEST_GONE)
    return { outcome: 'guest gone', text: `the guest went away (${text})` };
  if (status === RUN_FAILED)
    return { outcome: 'not run', text: `the program was not run (${text})` };
  return { outcome: 'ended', text };
}

async function passOn(from: Readable, to: Writable, tag: string): Promise<void> {
  for await (const line of linesIn(from, MAX_LINE_CHARACTERS)) {
    await writeLine(to, tag + line);
  }
}
