import { createInterface } from 'node:readline';
import t, { type Test } from 'tap';
import { bundleText } from '../../bench/guest-bundle.js';
import { bootNested, INNER_CID, INNER_EXEC_KEY } from '../../bench/nested-guests.js';
import { AGENT_PORT, type GuestProcess } from '../../guest/index.js';
import { nativeFile } from '../../src/native.js';
import type { CaseReport } from '../transport/conformance-run.js';
import { until } from '../until.js';

const PEER_PORT = 7000;
const CLOSED_PORT = 7001;
const CONFORMANCE = '/usr/lib/waep/conformance.mjs';
const SMOKE = '/usr/lib/waep/smoke.mjs';
const BEREFT = '/usr/lib/waep/bereft.mjs';
const env = { WAEP_NATIVE_DIR: '/usr/lib/waep' };
// What takes a thousand turns, or a Node for each of four threads.
const TOO_SLOW = ['1 000 connections', 'worker', '8 MiB there and back'];
const WHY_SKIPPED =
  'it would take a quarter of an hour here, where both guests are emulated. try: npm test -- test/guest/transport';

// A quarter of an hour on a slow machine.
t.setTimeout(2_400_000);

const scripts: Readonly<Record<string, string>> = {
  [CONFORMANCE]: '../transport/conformance-run.js',
  [SMOKE]: './smoke.js',
  [BEREFT]: './bereft.js',
};
const bundles = Object.entries(scripts).map(async ([path, module]) => {
  return [path, { text: await bundleText(new URL(module, import.meta.url)) }] as const;
});
const files = {
  ...Object.fromEntries(await Promise.all(bundles)),
  '/usr/lib/waep/waep.node': { source: nativeFile('waep.node') },
  '/usr/lib/waep/waep-launch': { source: nativeFile('waep-launch'), mode: 0o755 },
};
const nested = await bootNested(files);
const { outer } = nested;
t.teardown(() => outer.stop());

/** Turns the reports of a process in the outer guest into assertions. */
async function reports(t: Test, suite: GuestProcess): Promise<void> {
  suite.stderr.pipe(process.stderr, { end: false });
  for await (const line of createInterface(suite.stdout)) {
    if (!line.startsWith('{')) continue;
    const { case: name, outcome, durationMs, why } = JSON.parse(line) as CaseReport;
    if (outcome === 'skipped') t.pass(name, { skip: why ?? true });
    else t.ok(outcome === 'ok', `${name} (${durationMs} ms)`, { reason: why });
  }
  t.same(await suite.ended, { status: 0, signal: null });
}

t.test('the inner guest boots on vhost-vsock', async (t) => {
  await nested.up();
  t.match(nested.qemuOutput(), /^$/, 'QEMU has nothing to say');
});

t.test('the experiment, by AF_VSOCK on both ends', async (t) => {
  const run = ['node', SMOKE, `${INNER_CID}`, `${AGENT_PORT}`, INNER_EXEC_KEY];
  await reports(t, await outer.spawn(run, { env }));
});

t.test('the transport, by AF_VSOCK on both ends', async (t) => {
  const listen = ['node', CONFORMANCE, '--listen', `vsock:any:${PEER_PORT}`];
  const peer = await nested.spawnInner(listen);
  peer.stderr.pipe(process.stderr, { end: false });
  await new Promise<void>((resolve, reject) => {
    createInterface(peer.stdout).once('line', () => resolve());
    peer.ended.then((how) => reject(new Error(`the peer ended: ${JSON.stringify(how)}`)), reject);
  });
  const suite = await outer.spawn(
    [
      ...['node', CONFORMANCE, '--connect', `vsock:${INNER_CID}:${PEER_PORT}`],
      ...['--refused', `vsock:${INNER_CID}:${CLOSED_PORT}=ECONNRESET`],
      ...['--absent', `vsock:99:${PEER_PORT}=ENODEV`],
      ...TOO_SLOW.flatMap((part) => ['--except', `${part}=${WHY_SKIPPED}`]),
    ],
    { env },
  );
  await reports(t, suite);
});

// The last one: it ends the inner guest.
t.test('waep run, by AF_VSOCK on both ends, until the guest is killed', async (t) => {
  const bereft = await outer.spawn(['node', BEREFT, `vsock:${INNER_CID}:${AGENT_PORT}`], { env });
  let printed = '';
  bereft.stdout.on('data', (text) => {
    printed += text;
  });
  const reported = reports(t, bereft);
  const begun = () => printed.match(/^begun$/gm)?.length === 2;
  const patience = { withinMs: 300_000, everyMs: 100 };
  await Promise.race([until(() => `two programs in ${printed}`, begun, patience), reported]);
  await outer.sh('kill -9 $(pidof qemu-system-x86_64)');
  await reported;
});
