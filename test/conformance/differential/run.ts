/* Runs both executors in one guest. */

import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { boot, compileStatic, type Guest, type KernelChoice } from '../../../guest/index.js';
import { Session } from '../../../src/index.js';
import { packageFolder } from '../../../src/paths.js';
import { patient } from '../../until.js';
import { compileScript, type Outcome, parseReports } from './binary.js';
import { Caller } from './caller.js';
import { casesOf, type Part } from './cases/index.js';
import { type Compared, compareCase } from './compare.js';
import type { Case } from './script.js';
import type { World } from './world.js';

const ORACLE = '/bin/oracle';

/** The results of all cases on one kernel. */
export interface KernelRun {
  readonly release: string;
  readonly origin: string;
  readonly compared: readonly Compared[];
  readonly tookMs: number;
}

/**
 * Boots a guest with the oracle, and with an agent that allows everything. The agent is reached
 * over TCP, because vhost-device-vsock 0.3.0 corrupts bulk data from Linux 6.12.
 */
export async function bootWithOracle(kernel?: KernelChoice): Promise<Guest> {
  const source = await compileStatic(join(packageFolder, 'test/conformance/differential/oracle.c'));
  return boot({
    kernel,
    exec: true,
    vsock: 'none',
    network: 'user',
    agent: { tcp: 'anybody', profile: 'full' },
    files: { [ORACLE]: { source, mode: 0o755 } },
    notice: () => {},
  });
}

/**
 * Runs all cases, or those of some parts, in a guest: by the oracle, then by the forwarder.
 * Compares the outcomes.
 */
export async function compareIn(
  guest: Guest,
  world: World,
  parts?: readonly Part[],
): Promise<KernelRun> {
  const cases = casesOf(world, parts);
  const startedMs = performance.now();
  await prepare(guest);
  const oracle = await runOracle(guest, cases);
  await prepare(guest);
  const compared: Compared[] = [];
  const session = await Session.connect(guest.tcp(), patient);
  try {
    const caller = new Caller(session, world);
    for (const [at, one] of cases.entries()) {
      const { outcomes } = await caller.run(one);
      compared.push(...compareCase(one, oracle[at] ?? [], outcomes));
    }
  } finally {
    session.close();
  }
  const { kernel: release, kernelOrigin: origin } = guest.info;
  return { release, origin, compared, tookMs: Math.round(performance.now() - startedMs) };
}

/** Makes the files that cases name, for both executors. */
async function prepare(guest: Guest): Promise<void> {
  await guest.sh(
    'rm -rf /sys/fs/bpf/diff; mkdir /sys/fs/bpf/diff; rmdir /sys/fs/cgroup/diff; mkdir /sys/fs/cgroup/diff; true',
  );
}

async function runOracle(guest: Guest, cases: readonly Case[]): Promise<Outcome[][]> {
  const child = await guest.spawn([ORACLE]);
  child.write(compileScript(cases));
  child.end();
  const [reports, errors, ending] = await Promise.all([
    buffer(child.stdout),
    buffer(child.stderr),
    child.ended,
  ]);
  if (ending.status !== 0) throw new TypeError(`the oracle failed: ${errors.toString()}`);
  return parseReports(cases, reports);
}
