import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import t, { type Test } from 'tap';
import { boot, type Guest, type GuestFile } from '../../guest/index.js';
import { nativeFile } from '../../src/native.js';
import { bundleForGuest } from '../guest-bundle.js';
import { conformanceCases, type RoadUnderTest } from '../transport/conformance.js';
import { type CaseReport, startRole } from '../transport/conformance-run.js';

const PEER_PORT = 7000;
const CLOSED_PORT = 7001;
const SCRIPT = '/usr/lib/waep/conformance.mjs';
// Seen with a plain C echo in the guest and a plain Python client on the host as well.
const MUX_DEFECT = 'vhost-device-vsock 0.3.0 stalls now and then when both directions are full';
const env = { WAEP_NATIVE_DIR: '/usr/lib/waep' };
const workerUrl = new URL('../transport/conformance-run.js', import.meta.url);

// An emulated guest takes a minute for a thousand connections.
t.setTimeout(280_000);

const folder = mkdtempSync(join(tmpdir(), 'waep-'));
t.teardown(() => rmSync(folder, { recursive: true, force: true }));

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
async function fromHost(t: Test, guest: Guest, listen: string, road: RoadUnderTest) {
  await startPeer(guest, listen);
  for (const { name, inapplicable, run } of conformanceCases) {
    const why = inapplicable?.(road);
    await t.test(name, why === undefined ? {} : { skip: why }, () => run(road));
  }
}

const files: Record<string, GuestFile> = {
  [SCRIPT]: { source: await bundleForGuest(workerUrl, folder, basename(SCRIPT)) },
  '/usr/lib/waep/waep.node': { source: nativeFile('waep.node') },
};
const guest = await boot({ agent: false, lab: true, files });
t.teardown(() => guest.stop());

/** Runs the suite's side in a guest and turns its reports into assertions. */
async function inGuest(t: Test, machine: Guest, args: readonly string[]): Promise<void> {
  const suite = await machine.spawn(['node', SCRIPT, ...args], { env });
  suite.stderr.pipe(process.stderr, { end: false });
  for await (const line of createInterface(suite.stdout)) {
    const { case: name, outcome, durationMs, why } = JSON.parse(line) as CaseReport;
    if (outcome === 'skipped') t.pass(name, { skip: why ?? true });
    else t.ok(outcome === 'ok', `${name} (${durationMs} ms)`, { reason: why });
  }
  t.same(await suite.ended, { status: 0, signal: null });
}

t.test('AF_VSOCK between two processes of the guest', { timeout: 140_000 }, async (t) => {
  await inGuest(t, guest, [
    ...['--listen', `vsock:any:${PEER_PORT}`],
    ...['--connect', `vsock:local:${PEER_PORT}`],
    ...['--refused', `vsock:local:${CLOSED_PORT}=ECONNRESET`],
    // The host's end drops what is addressed to another machine, so nobody answers.
    ...['--silent', `vsock:99:${PEER_PORT}=ERR_CONNECT_TIMEOUT`],
  ]);
});

t.test('AF_VSOCK from the host, by its own road', { timeout: 140_000 }, async (t) => {
  const address = guest.vsock(PEER_PORT + 10);
  const mux = guest.vsockRoad === 'mux';
  await fromHost(t, guest, `vsock:any:${PEER_PORT + 10}`, {
    peer: address,
    halfClose: !mux,
    ...(mux ? { bulkDefect: MUX_DEFECT } : {}),
    refused: {
      address: guest.vsock(CLOSED_PORT),
      code: mux ? 'ERR_MUX_REFUSED' : 'ECONNRESET',
    },
    workerUrl,
  });
});

t.test('AF_VSOCK from the guest, to a listener of the host', async (t) => {
  if (guest.vsockRoad !== 'mux') return t.pass('the host has AF_VSOCK itself', { skip: true });
  const port = PEER_PORT + 20;
  const peer = await startRole('listen', guest.vsock(port));
  t.teardown(() => peer[Symbol.asyncDispose]());
  const refused = `vsock:host:${CLOSED_PORT}=ECONNRESET`;
  return inGuest(t, guest, [
    ...['--connect', `vsock:host:${port}`, '--refused', refused],
    ...['--only', 'http'],
  ]);
});

t.test('AF_VSOCK to an absent machine', async (t) => {
  // With a vsock device, the host would swallow the attempt.
  const lonely = await boot({ agent: false, lab: true, vsock: 'none', files });
  t.teardown(() => lonely.stop());
  const refused = `vsock:local:${CLOSED_PORT}=ECONNRESET`;
  const absent = `vsock:99:${PEER_PORT}=ENODEV`;
  const connect = `vsock:local:${PEER_PORT}`;
  await inGuest(t, lonely, [
    ...['--connect', connect, '--refused', refused, '--absent', absent],
    ...['--only', 'an absent machine'],
  ]);
});
