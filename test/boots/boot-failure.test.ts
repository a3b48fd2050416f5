import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import t from 'tap';
import { boot } from '../../guest/index.js';
import type { WaepError } from '../../src/index.js';

t.setTimeout(1_200_000);

const runtime = mkdtempSync(join(tmpdir(), 'waep-test-'));
process.env.XDG_RUNTIME_DIR = runtime;
t.teardown(() => rmSync(runtime, { recursive: true }));

/** Run folders, and their locks. */
const folders = () => (existsSync(join(runtime, 'waep')) ? readdirSync(join(runtime, 'waep')) : []);

async function failed(options: Parameters<typeof boot>[0]): Promise<{ why: string; log: string }> {
  try {
    const guest = await boot({ network: 'none', accel: 'tcg', ...options });
    await guest.stop();
  } catch (error) {
    const { code, detail } = error as WaepError<'ERR_GUEST_BOOT'>;
    t.equal(code, 'ERR_GUEST_BOOT', String(error));
    t.teardown(() => rmSync(detail.log, { force: true }));
    return detail;
  }
  throw new Error('it booted');
}

t.test('a kernel that panics', async (t) => {
  const { why, log } = await failed({ kernelArgs: ['rdinit=/none', 'init=/none'] });
  t.match(why, /^its kernel panicked: /);
  t.notMatch(why, /memory/);
  const console = readFileSync(log, 'utf8');
  t.match(console, /Kernel panic - not syncing[\s\S]*Call Trace/, 'the log has all of it');
});

t.test('a guest with too little memory for its root file system', async (t) => {
  const { why } = await failed({ memoryMib: 256 });
  const told =
    /^its kernel panicked: .*256 MiB of memory are too few for its root file system, which is \d+ MiB; give it (\d+) MiB$/;
  t.match(why, told);
  const memoryMib = Number(why.match(told)?.[1]);
  await using guest = await boot({ network: 'none', accel: 'tcg', memoryMib });
  t.equal(guest.info.memoryMib, memoryMib, 'with as much as it asks for, the guest boots');
});

t.test('a guest that powers itself off', async (t) => {
  const { why } = await failed({ kernelArgs: ['rdinit=/bin/poweroff', '--', '-f'] });
  t.match(why, /^the guest powered itself off/);
});

t.test('an unknown profile is refused before anything is booted', async (t) => {
  await t.rejects(boot({ agent: { profile: 'foo' } }), {
    code: 'ERR_OPTION_INVALID',
    message: /"foo"/,
  });
});

t.test('a guest that is not ready in time', async (t) => {
  // Its first process prints nothing, and QEMU has the time to answer.
  const kernelArgs = ['rdinit=/bin/sleep', '--', '1000000'];
  const { why, log } = await failed({ kernelArgs, deadlineMs: 10_000 });
  t.match(why, /^in time it did not print "waep-init:"/);
  t.notMatch(why, /PCI: Fatal/, 'what every guest without PCI prints is not told as the cause');
  t.match(
    readFileSync(log, 'utf8'),
    /[ER]IP=[0-9a-f]{8}/,
    'and where its processor stands is kept',
  );
});

t.test('a machine that QEMU refuses to make', async (t) => {
  const { why } = await failed({ devices: [{ name: 'bad', args: ['-device', 'nonesuch'] }] });
  t.match(why, /^QEMU ended with status 1; .*'?nonesuch'? is not a valid device/);
});

t.test('an agent that refuses its arguments', async (t) => {
  const { why, log } = await failed({ agent: { args: ['--nonesuch'] } });
  t.match(why, /^the agent ended with status 1: error: unknown option '--nonesuch'/);
  t.match(readFileSync(log, 'utf8'), /waep-init: Linux[\s\S]*unknown option '--nonesuch'/);
});

t.test('QEMU stops the guest because of an error of its own', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'waep-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const { PATH = '' } = process.env;
  t.teardown(() => {
    process.env.PATH = PATH;
  });
  // KVM does this with instructions that it cannot emulate, which no emulated guest can bring about.
  const program = join(folder, 'qemu-system-x86_64');
  writeFileSync(
    program,
    `#!${process.execPath}
if (process.argv.includes('--version')) { console.log('QEMU emulator version 0.0'); process.exit(); }
const { Socket } = require('node:net');
const { createInterface } = require('node:readline');
const control = new Socket({ fd: 3 });
const tell = (message) => control.write(JSON.stringify(message) + '\\n');
createInterface({ input: control }).on('line', (line) => {
  const { execute, id } = JSON.parse(line);
  tell({ id, return: execute === 'query-status' ? { status: 'internal-error', running: false } : {} });
  if (execute !== 'cont') return;
  console.error('KVM internal error. Suberror: 1\\nemulation failure\\nRAX=0000000000000000 RBX=1\\nCode=00');
  tell({ event: 'STOP' });
});
tell({ QMP: {} });
`,
  );
  chmodSync(program, 0o755);
  process.env.PATH = `${folder}${delimiter}${PATH}`;
  // Longer than this test may take: nothing waits for the deadline.
  const { why, log } = await failed({ vsock: 'none', deadlineMs: 10_000_000 });
  t.equal(
    why,
    'QEMU stopped it after an internal error of its accelerator (KVM internal error. Suberror: 1; emulation failure)',
  );
  t.match(readFileSync(log, 'utf8'), /Code=00/, 'the log has the registers, too');
});

t.test('nothing of them is left on this machine', async (t) => {
  t.same(folders(), []);
});
