import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import t, { type Test } from 'tap';
import { AGENT_PORT, boot, type GuestProcess } from '../../guest/index.js';
import { nativeFile } from '../../src/native.js';
import { bundleForGuest } from '../guest-bundle.js';
import type { CaseReport } from '../transport/conformance-run.js';
import { until } from '../until.js';
import { INNER_CID, INNER_LOG, makeInner } from './inner.js';

const PEER_PORT = 7000;
const CLOSED_PORT = 7001;
const CONFORMANCE = '/usr/lib/waep/conformance.mjs';
const SMOKE = '/usr/lib/waep/smoke.mjs';
const INNER_COMMAND = '/usr/lib/waep/inner-command.mjs';
const BOOT_DEADLINE_MS = 600_000;
const env = { WAEP_NATIVE_DIR: '/usr/lib/waep' };
// What takes a thousand turns, or a Node for each of four threads.
const TOO_SLOW = ['1 000 connections', 'worker', '8 MiB there and back'];
const WHY_SKIPPED =
  'it would take a quarter of an hour here, where both guests are emulated. try: npm test -- test/guest/transport';

t.setTimeout(1_500_000);

const folder = mkdtempSync(join(tmpdir(), 'waep-'));
t.teardown(() => rmSync(folder, { recursive: true, force: true }));

const scripts: Readonly<Record<string, string>> = {
  [CONFORMANCE]: '../transport/conformance-run.js',
  [SMOKE]: './smoke.js',
  [INNER_COMMAND]: './inner-command.js',
};
const bundles = Object.entries(scripts).map(async ([path, module]) => {
  const source = await bundleForGuest(new URL(module, import.meta.url), folder, basename(path));
  return [path, { source }] as const;
});
const files = {
  ...Object.fromEntries(await Promise.all(bundles)),
  '/usr/lib/waep/waep.node': { source: nativeFile('waep.node') },
};
const inner = await makeInner(folder, files);
const outer = await boot({
  agent: false,
  lab: true,
  cpus: 2,
  memoryMib: 4096,
  modules: ['vhost_vsock'],
  files: { ...inner.files, ...files },
  notice: () => {},
});
t.teardown(() => outer.stop());
const qemu = await outer.spawn(inner.command);
const output = { text: '' };
for (const stream of [qemu.stdout, qemu.stderr]) {
  stream.setEncoding('utf8').on('data', (text: string) => {
    output.text += text;
  });
}

/** Waits until the inner guest's agent and daemon listen. */
async function innerUp(): Promise<void> {
  let ending: string | undefined;
  qemu.ended.then(
    (how) => {
      ending = JSON.stringify(how);
    },
    (error: Error) => {
      ending = error.message;
    },
  );
  let log = '';
  const up = async () => {
    if (ending !== undefined) throw new Error(`the inner QEMU ended: ${ending} ${output.text}`);
    log = await outer.readFile(INNER_LOG).catch(() => '');
    return ['waep-agent: listening', 'waep-labd: listening'].every((line) => log.includes(line));
  };
  await until(() => `the inner guest: ${log}`, up, { withinMs: BOOT_DEADLINE_MS, everyMs: 2000 });
}

/** Turns the reports of a process in the outer guest into assertions. */
async function reports(t: Test, suite: GuestProcess): Promise<void> {
  suite.stderr.pipe(process.stderr, { end: false });
  for await (const line of createInterface(suite.stdout)) {
    const { case: name, outcome, durationMs, why } = JSON.parse(line) as CaseReport;
    if (outcome === 'skipped') t.pass(name, { skip: why ?? true });
    else t.ok(outcome === 'ok', `${name} (${durationMs} ms)`, { reason: why });
  }
  t.same(await suite.ended, { status: 0, signal: null });
}

t.test('the inner guest boots on vhost-vsock', async (t) => {
  await innerUp();
  t.match(output.text, /^$/, 'QEMU has nothing to say');
});

t.test('the experiment, by AF_VSOCK on both ends', async (t) => {
  const run = ['node', SMOKE, `${INNER_CID}`, `${AGENT_PORT}`];
  await reports(t, await outer.spawn(run, { env }));
});

t.test('the transport, by AF_VSOCK on both ends', async (t) => {
  const listen = ['node', CONFORMANCE, '--listen', `vsock:any:${PEER_PORT}`];
  const peer = await outer.spawn(['node', INNER_COMMAND, `${INNER_CID}`, ...listen], { env });
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
