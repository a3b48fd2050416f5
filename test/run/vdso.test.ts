import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { setVdsoVersion, versionCode } from '../../src/run/vdso.js';
import { application } from './application.js';

t.test('the version of a kernel as programs have it', async (t) => {
  t.equal(versionCode('5.10.7', '#1 SMP'), 0x050a07);
  t.equal(versionCode('6.1.0-56-cloud-amd64', '#1 SMP Debian 6.1.170-3 (2026-01-01)'), 0x0601aa);
  t.equal(versionCode('7.2-rc1', '#1'), 0x070200);
  t.equal(versionCode('4.14.336', '#1'), 0x040eff);
});

t.test('a process finds another version in its vDSO', async (t) => {
  const program = application();
  t.teardown(program.dispose);
  const child = spawn(program.path, ['vdso'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const [waiting] = await once(child.stdout, 'data');
  t.equal(String(waiting), 'waiting\n');
  t.ok(setVdsoVersion(Number(child.pid), 0x050a07));
  child.stdin.end('\n');
  t.equal(await text(child.stdout), 'vdso: 5.10.7\n');
});
