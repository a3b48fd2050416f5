/*
 * The sides: a command in the guest, and the same command under `waep run` here, with a standby and
 * without.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { DEFAULT_LEASE_MS } from '../../../cli/connection.js';
import type { Session } from '../../../src/index.js';
import { cli } from '../../run/application.js';
import { census, idsOf } from './census.js';
import { type EquippedGuest, runWithin } from './equipped-guest.js';
import { unrest } from './rest.js';
import type { Outcome, Row, Watch } from './row.js';

const { signals } = constants;

/** A command that was started on a side. */
interface Started {
  readonly ended: Promise<string>;
  readonly stdout: Promise<string>;
  readonly stderr: Promise<string>;
  kill(signal: number): void;
}

/** Where a command runs. */
export interface Side {
  readonly name: 'guest' | 'host' | 'standby' | 'within';
  start(command: string): Promise<Started>;
}

/** The guest itself. */
export function guestSide(guest: EquippedGuest, env: Readonly<Record<string, string>>): Side {
  return inGuest('guest', guest, [], env);
}

/**
 * The guest itself by `waep run`, with the agent of the same guest. The agent makes the calls, and
 * the commands act on the same kernel.
 */
export function withinSide(guest: EquippedGuest, env: Readonly<Record<string, string>>): Side {
  return inGuest('within', guest, runWithin, env);
}

function inGuest(
  name: Side['name'],
  guest: EquippedGuest,
  words: readonly string[],
  env: Readonly<Record<string, string>>,
): Side {
  return {
    name,
    async start(command) {
      const child = await guest.spawn([...words, '/bin/sh', '-c', command], { env });
      child.end();
      return {
        ended: child.ended.then(({ status, signal }) => ending(status, signal)),
        stdout: text(child.stdout),
        stderr: text(child.stderr),
        kill: (signal) => child.kill(signal),
      };
    },
  };
}

/** This machine, by `waep run` with these options. `wrap` comes before the command line. */
export function hostSide(
  address: string,
  env: Readonly<Record<string, string>>,
  wrap: readonly string[] = [],
  options: readonly string[] = [],
): Side {
  const words = [process.execPath, cli, 'run', '--vm', address, ...options, '--'];
  return byWaep('host', [...wrap, ...words], env);
}

const waep = fileURLToPath(new URL('../../../../bin/waep', import.meta.url));

/**
 * This machine with a standby that has these options. `await using` ends the standby. `wrap` comes
 * before the command lines of the standby and of the commands.
 */
export async function standbySide(
  address: string,
  env: Readonly<Record<string, string>>,
  wrap: readonly string[] = [],
  options: readonly string[] = [],
): Promise<Side & AsyncDisposable> {
  const words = [process.execPath, cli, 'standby', '--vm', address, ...options];
  const [program = '', ...args] = [...wrap, ...words];
  const standby = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(standby, 'exit');
  const [ready] = await Promise.race([once(standby.stdout, 'data'), ended]);
  if (!/^Ready for: /.test(String(ready))) throw new Error(`The standby does not begin: ${ready}`);
  const side = byWaep('standby', [...wrap, waep, 'run', '--vm', address, '--'], env);
  return {
    name: side.name,
    start(command) {
      // Without a standby, waep run would start alone, and say nothing.
      if (standby.exitCode !== null) throw new Error(`The standby ended: ${standby.exitCode}`);
      return side.start(command);
    },
    async [Symbol.asyncDispose]() {
      standby.kill('SIGINT');
      await ended;
    },
  };
}

function byWaep(
  name: Side['name'],
  words: readonly string[],
  env: Readonly<Record<string, string>>,
): Side {
  return {
    name,
    async start(command) {
      const [program = '', ...args] = [...words, '/bin/sh', '-c', command];
      // A process group of its own, so that SIGKILL reaches all of it.
      const child = spawn(program, args, {
        detached: true,
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { PATH: process.env.PATH, HOME: '/root', TERM: 'linux', ...env },
      });
      return {
        ended: once(child, 'close').then(([status, signal]) => ending(status, number(signal))),
        stdout: text(child.stdout),
        stderr: text(child.stderr),
        // The tool gets a signal once, as in the guest: waep passes it on.
        kill: (signal) => (signal === signals.SIGKILL ? killGroup(child) : child.kill(signal)),
      };
    },
  };
}

function killGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // The process group has ended.
  }
}

function number(signal: NodeJS.Signals | null): number | null {
  return signal === null ? null : signals[signal];
}

/** Returns the exit status, as `waep run` and shells have it. */
function ending(status: number | null, signal: number | null): string {
  return String(status ?? 128 + (signal ?? 0));
}

/** The harness's own means. */
export interface Stage {
  readonly guest: EquippedGuest;
  /** A session of the harness, for looking into the guest. */
  readonly session: Session;
  /** The number of executors in the guest while no row runs. */
  readonly executors: number;
  readonly env: Readonly<Record<string, string>>;
  /** How long the guest may take until it is at rest after a row. Default: a second. */
  readonly restWithinMs?: number;
}

/**
 * Runs a row's command on a side, and restores the guest.
 *
 * @param othersMs how long the command took on other sides, where a tool has not ended before the
 *   guest has detached its probes. With a standby, the guest does that after the tool's end. So the
 *   guest has to be at rest a second after this time or after the end, whichever is later.
 */
export async function play(row: Row, side: Side, stage: Stage, othersMs = 0): Promise<Outcome> {
  const { guest, session, executors, env, restWithinMs } = stage;
  const before = await census(session);
  if (row.setup !== undefined) await guest.sh(row.setup, env);
  const programs = await idsOf(session, 'prog');
  const startedMs = performance.now();
  // The signal must reach the tool, and not a shell that waits for it.
  const command = row.watch === undefined ? row.command : `exec ${row.command}`;
  const started = await side.start(command);
  let over = false;
  const ended = started.ended.finally(() => {
    over = true;
  });
  const timeoutS = row.timeoutS ?? 60;
  const noProgramMs = (timeoutS * 1000) / 2;
  const watched =
    row.watch === undefined
      ? undefined
      : watch(row.watch, stage, programs, noProgramMs, started, () => over);
  const late = sleep(timeoutS * 1000, undefined, { ref: false }).then(() => undefined);
  let how = await Promise.race([ended, late]);
  if (how === undefined) {
    started.kill(signals.SIGKILL);
    how = `no end within ${timeoutS} s`;
    await ended;
  }
  const tookMs = performance.now() - startedMs;
  await watched;
  const [stdout, stderr] = await Promise.all([started.stdout, started.stderr]);
  // Here waep itself is killed, too, and the agent keeps its session for the lease.
  const isLeased = side.name === 'host' && row.watch?.signal === 'SIGKILL';
  const keptMs = isLeased ? DEFAULT_LEASE_MS : 0;
  const endMs = Math.max(performance.now() + keptMs, startedMs + othersMs);
  const goesOn = await unrest(guest, session, executors, endMs, restWithinMs);
  await guest.sh(row.teardown ?? CLEAN, env);
  const left = [...goesOn, ...(await leftovers(session, before))];
  return { ending: how, stdout, stderr, tookMs, left };
}

const CLEAN = 'rm -rf /sys/fs/bpf/*';
const SETTLED_MS = 1000;
const LOOK_MS = 100;
const GAP_MS = 300;

/**
 * Waits until a tool has its programs, runs the stimulus, and interrupts the tool. After
 * `noProgramMs` the stimulus runs even without programs, because the tool could attach nothing.
 */
async function watch(
  { stimulus = '$COMPAT/stimulus', times = 2, signal = 'SIGINT', ends = false }: Watch,
  { guest, session, env }: Stage,
  programs: readonly number[],
  noProgramMs: number,
  started: Started,
  over: () => boolean,
): Promise<void> {
  const before = programs.join();
  const startedMs = performance.now();
  let [last, sinceMs] = [before, startedMs];
  const waits = () =>
    last === before
      ? performance.now() - startedMs < noProgramMs
      : performance.now() - sinceMs < SETTLED_MS;
  while (!over() && waits()) {
    await sleep(LOOK_MS);
    const now = (await idsOf(session, 'prog')).join();
    if (now !== last) [last, sinceMs] = [now, performance.now()];
  }
  for (let i = 0; (ends || i < times) && !over(); i++) {
    await guest.sh(stimulus, env);
    await sleep(GAP_MS);
  }
  if (!ends && !over()) started.kill(signals[signal]);
}

const GONE_MS = 10_000;

/** Returns what is in the guest that was not there before, after a time for cleaning up. */
export async function leftovers(session: Session, before: ReadonlySet<string>): Promise<string[]> {
  const deadlineMs = performance.now() + GONE_MS;
  for (;;) {
    const left = [...(await census(session))].filter((object) => !before.has(object));
    if (left.length === 0 || performance.now() > deadlineMs) return left;
    await sleep(LOOK_MS);
  }
}
