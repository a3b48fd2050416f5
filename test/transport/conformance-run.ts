/*
 * Runs the conformance suite without a test framework, so that it can be bundled into one file and
 * run inside a guest:
 *
 *   node conformance-run.mjs --listen vsock:any:7000                     the peer's side
 *   node conformance-run.mjs --connect vsock:1:7000 --refused vsock:1:9=ECONNRESET
 *                                                                        the suite's side
 *   node conformance-run.mjs --listen A --connect B …                    both, the peer as a child
 *   node conformance-run.mjs --mute tcp:127.0.0.1:0                      accepts nothing, ever
 *
 * The suite's side prints one JSON object per case and exits with 1 if one failed. --absent and
 * --silent, like --refused, take ADDRESS=CODE; --only takes a part of a case's name, and --except
 * PART=WHY: such cases are reported as skipped.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { isMainThread, parentPort, workerData } from 'node:worker_threads';
import { createServer, formatAddress, parseAddress } from '../../src/transport/index.js';
import {
  conformanceCases,
  runWorkerTask,
  type TransportUnderTest,
  type Unreachable,
  type WorkerTask,
} from './conformance.js';
import { servePeer } from './peer.js';

/** How one case went. */
export interface CaseReport {
  case: string;
  outcome: 'ok' | 'failed' | 'skipped';
  durationMs: number;
  why?: string;
}

/** Runs the cases one after the other and reports each. */
export async function runConformance(
  transport: TransportUnderTest,
  report: (report: CaseReport) => void,
  only = '',
  except: readonly (readonly [part: string, why: string])[] = [],
): Promise<boolean> {
  let passed = true;
  for (const { name, inapplicable, run } of conformanceCases) {
    if (!name.includes(only)) continue;
    const [, exception] = except.find(([part]) => name.includes(part)) ?? [];
    const why = exception ?? inapplicable?.(transport);
    if (why !== undefined) {
      report({ case: name, outcome: 'skipped', durationMs: 0, why });
      continue;
    }
    const started = performance.now();
    const took = (): number => Math.round(performance.now() - started);
    try {
      await run(transport);
      report({ case: name, outcome: 'ok', durationMs: took() });
    } catch (error) {
      passed = false;
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      report({ case: name, outcome: 'failed', durationMs: took(), why: text });
    }
  }
  return passed;
}

/** A process of this module in another role. */
export interface RoleProcess extends AsyncDisposable {
  /** Where it listens. */
  readonly address: string;
}

/** Starts a process that listens, as the suite's peer or mute, and waits until it does. */
export async function startRole(role: 'listen' | 'mute', address: string): Promise<RoleProcess> {
  const script = fileURLToPath(import.meta.url);
  const child: ChildProcess = spawn(
    process.execPath,
    [script, `--${role}`, address, '--until-stdin-ends'],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  const exited = once(child, 'exit');
  if (child.stdout === null) throw new Error('the child has no output');
  const lines = createInterface(child.stdout);
  const first = await Promise.race([once(lines, 'line'), exited]);
  if (typeof first[0] !== 'string')
    throw new Error(`the ${role} process ended: ${first.join(' ')}`);
  const { listening } = JSON.parse(first[0]) as { listening: string };
  return {
    address: listening,
    async [Symbol.asyncDispose]() {
      // A mute process does not look at its input any more.
      child.kill('SIGKILL');
      await exited;
    },
  };
}

function say(message: object): void {
  writeSync(1, `${JSON.stringify(message)}\n`);
}

function unreachable(text: string | undefined): Unreachable | undefined {
  if (text === undefined) return undefined;
  const equals = text.lastIndexOf('=');
  return { address: text.slice(0, equals), code: text.slice(equals + 1) };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      listen: { type: 'string' },
      connect: { type: 'string' },
      mute: { type: 'string' },
      refused: { type: 'string' },
      absent: { type: 'string' },
      silent: { type: 'string' },
      only: { type: 'string' },
      except: { type: 'string', multiple: true },
      'until-stdin-ends': { type: 'boolean' },
    },
  });
  if (values['until-stdin-ends']) process.stdin.resume().once('end', () => process.exit());

  if (values.mute !== undefined) {
    const server = createServer();
    server.listen(values.mute, { backlog: 1 });
    await once(server, 'listening');
    const address = server.address();
    say({ listening: address === null ? '' : formatAddress(address) });
    // Nothing is ever accepted: the event loop does not run again.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  }

  if (values.connect === undefined) {
    if (values.listen === undefined) throw new Error('give --listen, --connect or --mute');
    const address = (await servePeer(values.listen)).address();
    say({ listening: address === null ? '' : formatAddress(address) });
    return;
  }

  const peer = values.listen === undefined ? undefined : await startRole('listen', values.listen);
  const refused = unreachable(values.refused);
  if (refused === undefined) throw new Error('give --refused ADDRESS=CODE');
  const absent = unreachable(values.absent);
  const silent = unreachable(values.silent);
  const passed = await runConformance(
    {
      peer: values.connect,
      halfClose: parseAddress(values.connect).transport !== 'vsock-mux',
      refused,
      ...(absent === undefined ? {} : { absent }),
      ...(silent === undefined ? {} : { silent }),
      workerUrl: new URL(import.meta.url),
    },
    say,
    values.only,
    values.except?.map((text) => [text.replace(/=.*/, ''), text.replace(/^[^=]*=/, '')] as const),
  );
  await peer?.[Symbol.asyncDispose]();
  process.exitCode = passed ? 0 : 1;
}

if (!isMainThread) {
  await runWorkerTask(workerData as WorkerTask, (message) => parentPort?.postMessage(message));
} else if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main();
}
