/*
 * `waep run` over TLS on the transports that lead to guests of this machine, with a standby and
 * without: what programs do there, and what they are told when their guest goes. The kernel's own
 * vsock is in test/nested.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { makeKeys } from '../../cli/keys.js';
import { boot, type Guest, type VsockChoice } from '../../guest/index.js';
import { requireTool } from '../../guest/tools.js';
import { Session } from '../../src/index.js';
import { readTlsFiles } from '../../src/tls-files.js';
import { filesOf } from '../conformance/compat/equipment.js';
import { joined } from '../conformance/compat/equipped-guest.js';
import { settledExecutors } from '../conformance/compat/rest.js';
import { playShortRows } from '../conformance/compat/short-rows.js';
import { hostSide, type Side, standbySide } from '../conformance/compat/sides.js';
import { cli } from '../run/application.js';
import { start as startProgram } from '../run/outcome.js';
import { patient, until } from '../until.js';

t.setTimeout(1_800_000);

const waep = fileURLToPath(new URL('../../../bin/waep', import.meta.url));
const keys = mkdtempSync(join(tmpdir(), 'waep-keys-'));
await makeKeys(keys, 1, { agent: 'agent', client: 'client' });
t.teardown(() => rmSync(keys, { recursive: true, force: true }));
const options = ['--keys', keys];
const tls = readTlsFiles({ keys }, 'client');
const files = await filesOf([requireTool('bpftool')]);

function bootGuest(vsock: VsockChoice): Promise<Guest> {
  return boot({
    exec: true,
    vsock,
    network: 'user',
    memoryMib: 768,
    agent: { profile: 'full', tcp: { keys }, args: ['--tls-on', 'all'] },
    files,
    notice: () => {},
  });
}

/** A program that waits for ever once a call of it has been answered. */
const waiting = ['sh', '-c', 'uname -r; echo begun; exec sleep 1000'];

async function begun(started: ReturnType<typeof startProgram>, count = 1) {
  await until('the programs', () => started.printed().match(/begun/g)?.length === count);
  return started;
}

const byNode = (addresses: readonly string[]) => {
  const guests = addresses.flatMap((address) => ['--vm', address]);
  const words = [process.execPath, cli, 'run', ...guests, ...options, '--', ...waiting];
  return begun(startProgram(words, {}), addresses.length);
};

/** A standby for the address answers, so that the program takes the place of waep. */
const byStandby = (address: string) =>
  begun(startProgram([waep, 'run', '--vm', address, '--', ...waiting], {}));

const closed = (address: string) => `The session with ${address} is closed`;

async function rows(t: Test, guest: Guest, sides: Readonly<Record<string, Side>>): Promise<void> {
  const own = joined(guest, '/');
  await using session = await Session.connect(guest.vsock(), { ...patient, ...(tls && { tls }) });
  const executors = await settledExecutors(own);
  await playShortRows(t, { guest: own, session, executors, env: {} }, sides);
}

t.test('over TLS on every transport', async (t) => {
  await using device = await bootGuest('device');
  await using mux = await bootGuest('mux');
  const addresses = [device.vsock(), device.tcp(), mux.vsock()];
  await t.test('bpftool does from the host what it does in the guest', async (t) => {
    const side = (address: string) => hostSide(address, {}, [], options);
    await using standby = await standbySide(device.vsock(), {}, [], options);
    await rows(t, device, { device: side(device.vsock()), tcp: side(device.tcp()), standby });
    await rows(t, mux, { mux: side(mux.vsock()) });
  });

  await t.test('programs whose guests are killed', async (t) => {
    await using one = await standbySide(device.vsock(), {}, [], options);
    await using two = await standbySide(device.tcp(), {}, [], options);
    await using three = await standbySide(mux.vsock(), {}, [], options);
    t.same([one.name, two.name, three.name], ['standby', 'standby', 'standby']);
    const alone = await Promise.all(addresses.map((address) => byNode([address])));
    const stoodBy = await Promise.all(addresses.map(byStandby));
    const all = await byNode(addresses);
    for (const { processes } of [device, mux]) process.kill(processes.qemu, 'SIGKILL');
    for (const [index, address] of addresses.entries()) {
      const byItself = await alone[index]?.ended;
      t.match(byItself, { status: 124, errors: closed(address) }, address);
      const withStandby = await stoodBy[index]?.ended;
      t.match(withStandby, { signal: 'SIGTERM', errors: closed(address) }, `${address}, standby`);
    }
    const { status, errors } = await all.ended;
    t.equal(status, 124);
    for (const address of addresses) {
      t.equal(errors.split(closed(address)).length, 2, errors);
      t.match(errors, `waep: ${address}: the guest went away`);
    }
  });
});

t.test('a program whose guest is a device in the process that answers it', async (t) => {
  const vm = spawn(process.execPath, [cli, 'vm', '--memory', '768'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = once(vm, 'exit');
  t.teardown(async () => {
    vm.kill('SIGTERM');
    await ended;
  });
  let said = '';
  vm.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const [address] = await Promise.race([once(createInterface(vm.stdout), 'line'), ended]);
  t.match(address, /^vsock-device:/, said);
  await until('its standby', () => said.includes('Ctrl-C ends it.'));
  const program = await byStandby(address);
  const qemu = execFileSync('pgrep', ['-P', `${vm.pid}`, 'qemu'], { encoding: 'utf8' });
  process.kill(Number(qemu), 'SIGKILL');
  t.match(await program.ended, { signal: 'SIGTERM', errors: /waep: .* it is ended in/ });
  t.equal((await ended)[0], 1);
});
