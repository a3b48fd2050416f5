import { spawn } from 'node:child_process';
import { once } from 'node:events';
import t from 'tap';
import { threadSwitches, threadTimes, useBetween } from '../../bench/thread-use.js';

t.test('parts of what was used are never negative, and make up the whole', async (t) => {
  // One thread works all the time, as a guest's processor does; the others do next to nothing.
  const child = spawn(process.execPath, ['-e', 'console.log("on"); for (;;);'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  const { pid = 0 } = child;
  const busy = (thread: string) => thread === `${pid}/${pid}`;
  let before = await threadTimes([pid]);
  for (let look = 0; look < 300; look++) {
    const after = await threadTimes([pid]);
    const processors = useBetween(before, after, busy);
    const devices = useBetween(before, after, (thread) => !busy(thread));
    if (processors < 0 || devices < 0) t.fail(`${processors} and ${devices} ns`);
    if (processors + devices !== useBetween(before, after)) t.fail('the whole is something else');
    before = after;
  }
  t.ok(before.size > 1, 'there are other threads');
});

t.test('threads that come and go', async (t) => {
  const before = new Map([
    ['1/1', 500],
    ['1/2', 9000],
  ]);
  const after = new Map([
    ['1/1', 700],
    ['1/3', 50],
  ]);
  t.equal(useBetween(before, after), 250, 'one that has ended does not take away what others used');
  t.equal(
    useBetween(before, after, (thread) => thread === '1/3'),
    50,
  );
});

t.test('a process that is not there is an error, not nothing used', async (t) => {
  await t.rejects(threadTimes([2 ** 22 + 1]), { code: 'ENOENT' });
});

t.test('switches are counted, of a thread that waits and of one that does not', async (t) => {
  const script = `
    process.stdin.on('data', () => process.stdout.write('.'));
    process.stdout.write('on');`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['pipe', 'pipe', 'ignore'] });
  t.teardown(() => child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  const { pid = 0 } = child;
  const main = (thread: string) => thread === `${pid}/${pid}`;
  const before = await threadSwitches([pid]);
  const turns = 100;
  for (let turn = 0; turn < turns; turn++) {
    child.stdin.write('.');
    await once(child.stdout, 'data');
  }
  const switches = useBetween(before, await threadSwitches([pid]), main);
  // The first wait may have begun before, and the last one may begin afterwards.
  t.ok(switches >= turns - 2, `${switches}: it has waited for each byte`);
});
