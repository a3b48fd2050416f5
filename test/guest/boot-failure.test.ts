import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { boot } from '../../guest/index.js';
import type { WaepError } from '../../src/index.js';

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
  t.match(why, /^QEMU ended with/);
  t.match(readFileSync(log, 'utf8'), /Kernel panic/, 'the log is kept and has the reason');
});

t.test('a guest that is not ready in time', async (t) => {
  const { why } = await failed({ deadlineMs: 1000 });
  t.match(why, /in time it did not print "waep-init:"/);
});

t.test('a machine that QEMU refuses to make', async (t) => {
  const { why } = await failed({ devices: [{ name: 'bad', args: ['-device', 'nonesuch'] }] });
  t.match(why, /^QEMU ended with status 1; .*'?nonesuch'? is not a valid device/);
});

t.test('an agent that refuses its arguments', async (t) => {
  const { why, log } = await failed({ agent: { args: ['--nonesuch'] } });
  t.match(why, /^QEMU ended with status 0/, 'the guest powers off when its agent ends');
  t.match(readFileSync(log, 'utf8'), /unknown option '--nonesuch'/);
});

t.test('nothing of them is left on this machine', async (t) => {
  t.same(folders(), []);
});
