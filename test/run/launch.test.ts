import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { nativeFile } from '../../src/native.js';
import { launch } from '../../src/run/launch.js';
import { asSecondUser, noSecondUser } from '../second-user.js';
import { until } from '../until.js';

/** The processes that this one has started and that have not ended. */
const children = () => readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim();

t.test('a program is not started for a guest whose clock cannot be read', async (t) => {
  const gone = new Error('the guest has gone');
  let launchers = '';
  const clockAhead = async () => {
    launchers = children();
    throw gone;
  };
  await t.rejects(launch(['true'], { binds: [], clockAhead }), gone);
  t.match(launchers, /^\d+$/, 'its launcher has been started meanwhile');
  await until('the end of the launcher', () => children() === '');
});

t.test('a program that nothing would end is not started', { skip: noSecondUser }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'waep-launch-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  chmodSync(folder, 0o755);
  const launcher = join(folder, 'waep-launch');
  copyFileSync(nativeFile('waep-launch'), launcher);
  // Another user, because the limit does not hold for root.
  const limited = asSecondUser('prlimit', '--nproc=1', launcher, '3', '--', 'echo', 'started');
  const { status, stdout, stderr } = spawnSync(...limited, {
    cwd: '/',
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe', 'ignore'],
  });
  t.same(
    { status, stdout, stderr },
    {
      status: 125,
      stdout: '',
      stderr:
        'waep: starting the process that ends the program: Resource temporarily unavailable\n',
    },
  );
});
