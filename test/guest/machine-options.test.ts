import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const cli = fileURLToPath(new URL('../../cli/waep.cjs', import.meta.url));

/** Starts `waep vm` on an emulated guest. */
function vm(...options: readonly string[]) {
  return spawn(process.execPath, [cli, 'vm', '--accel', 'tcg', '--net', 'none', ...options], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

t.test('a guest has the machine, the processor and the arguments it was given', async (t) => {
  const cpu = 'max,-erms,-fsrm,-la57,-cx16,-avx2';
  const child = vm('--machine', 'pc', '--cpu', cpu, '--append', 'waep.a=1 waep.b=2');
  t.teardown(() => child.kill('SIGTERM'));
  const told = text(child.stderr);
  await once(child.stdout, 'data');
  const children = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim();
  const qemu = children
    .split(' ')
    .map((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0'))
    .find(([program]) => program?.includes('qemu'));
  const after = (option: string) => qemu?.[qemu.indexOf(option) + 1];
  t.match(after('-machine'), /^pc,/);
  t.equal(after('-cpu'), cpu);
  t.match(after('-append'), / waep\.a=1 waep\.b=2$/);
  child.kill('SIGTERM');
  await once(child, 'exit');
  t.match(await told, /on TCG \(pc\), 1 CPU/);
});

t.test('a guest that takes longer than it may is given up', async (t) => {
  const child = vm('--boot-timeout', '1');
  const [told, [status]] = await Promise.all([text(child.stderr), once(child, 'exit')]);
  t.equal(status, 1);
  // How far it comes depends on the machine.
  t.match(told, /The guest did not boot: in time (it did not print "|QEMU did not answer )/);
});
