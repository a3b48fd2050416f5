/* The conformance suite with a guest at one of its ends. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Test } from 'tap';
import { bundleForGuest } from '../../bench/guest-bundle.js';
import type { Guest, GuestFile } from '../../guest/index.js';
import { nativeFile } from '../../src/native.js';
import { conformanceCases, type TransportUnderTest } from '../transport/conformance.js';
import type { CaseReport } from '../transport/conformance-run.js';

const SCRIPT = '/usr/lib/waep/conformance.mjs';
const env = { WAEP_NATIVE_DIR: '/usr/lib/waep' };

/** The module that runs the suite's workers. */
export const workerUrl = new URL('../transport/conformance-run.js', import.meta.url);

/** What a guest needs to run either end of the suite. `t` removes it from this machine. */
export async function suiteFiles(t: Test): Promise<Record<string, GuestFile>> {
  const folder = mkdtempSync(join(tmpdir(), 'waep-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return {
    [SCRIPT]: { source: await bundleForGuest(workerUrl, folder, basename(SCRIPT)) },
    '/usr/lib/waep/waep.node': { source: nativeFile('waep.node') },
  };
}

/** Starts the suite's peer in the guest and resolves when it listens. */
async function startPeer(guest: Guest, address: string): Promise<void> {
  const peer = await guest.spawn(['node', SCRIPT, '--listen', address], { env });
  peer.stderr.pipe(process.stderr, { end: false });
  await new Promise<void>((resolve, reject) => {
    createInterface(peer.stdout).once('line', () => resolve());
    peer.ended.then(
      (ending) => reject(new Error(`the peer ended: ${JSON.stringify(ending)}`)),
      reject,
    );
  });
}

/** Runs the suite against a peer in the guest from the host. */
export async function fromHost(
  t: Test,
  guest: Guest,
  listen: string,
  transport: TransportUnderTest,
) {
  await startPeer(guest, listen);
  for (const { name, inapplicable, run } of conformanceCases) {
    const why = inapplicable?.(transport);
    await t.test(name, why === undefined ? {} : { skip: why }, () => run(transport));
  }
}

/** Runs the suite's side in a guest and turns its reports into assertions. */
export async function inGuest(t: Test, machine: Guest, args: readonly string[]): Promise<void> {
  const suite = await machine.spawn(['node', SCRIPT, ...args], { env });
  suite.stderr.pipe(process.stderr, { end: false });
  let run = 0;
  for await (const line of createInterface(suite.stdout)) {
    const { case: name, outcome, durationMs, why } = JSON.parse(line) as CaseReport;
    if (outcome === 'skipped') t.pass(name, { skip: why ?? true });
    else {
      t.ok(outcome === 'ok', `${name} (${durationMs} ms)`, { reason: why });
      run++;
    }
  }
  t.ok(run > 0, `${run} cases were run`);
  t.same(await suite.ended, { status: 0, signal: null });
}
