import { existsSync, readFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { boot } from '../../guest/index.js';
import { Session } from '../../src/index.js';
import { patient, until } from '../until.js';

const guest = await boot({
  exec: true,
  network: 'user',
  agent: { tcp: 'anybody' },
  files: { '/etc/motd': { text: 'hello from the overlay\n', mode: 0o600 } },
  kernelArgs: ['waep.test=1'],
  notice: () => {},
});
t.teardown(() => guest.stop());

t.test('the guest is what its info says', async (t) => {
  const { info } = guest;
  t.equal((await guest.sh('uname -r')).trim(), info.kernel);
  t.equal((await guest.sh('nproc')).trim(), `${info.cpus}`);
  const memoryMib =
    Number((await guest.sh("awk '/MemTotal/{print $2}' /proc/meminfo")).trim()) / 1024;
  t.ok(memoryMib > info.memoryMib * 0.9 && memoryMib <= info.memoryMib, `${memoryMib} MiB`);
  t.match(await guest.readFile('/proc/cmdline'), info.commandLine);
  t.match(info.commandLine, /waep\.test=1$/);
  t.match(await guest.sh('node --version'), info.node);
});

t.test('what a guest needs is mounted and loaded', async (t) => {
  const mounts = await guest.readFile('/proc/mounts');
  for (const type of ['proc', 'sysfs', 'devtmpfs', 'tracefs', 'bpf', 'cgroup2']) {
    t.match(mounts, new RegExp(` ${type} `, 'm'));
  }
  t.match(await guest.readFile('/proc/modules'), /^vsock_loopback /m);
  t.equal(await guest.readFile('/etc/motd'), 'hello from the overlay\n');
  t.match(await guest.sh('ls -l /etc/motd'), /^-rw-------/);
});

t.test('its clock is steady and right', async (t) => {
  const source = '/sys/devices/system/clocksource/clocksource0/current_clocksource';
  t.match(await guest.readFile(source), /tsc|kvm-clock|hpet/);
  const askedS = Date.now() / 1000;
  const guestS = Number(await guest.sh('date +%s'));
  const answeredS = Date.now() / 1000;
  t.ok(guestS > askedS - 5 && guestS < answeredS + 5, `${guestS} from ${askedS} to ${answeredS}`);
  /** What the guest's clock says, and between which moments of this machine's it has said so. */
  const look = async () => {
    const afterMs = performance.now();
    const uptimeMs = Number((await guest.readFile('/proc/uptime')).split(' ')[0]) * 1000;
    return { afterMs, uptimeMs, beforeMs: performance.now() };
  };
  const from = await look();
  await sleep(2000);
  const to = await look();
  const passedMs = to.uptimeMs - from.uptimeMs;
  const least = passedMs / (to.beforeMs - from.afterMs);
  const most = passedMs / (to.afterMs - from.beforeMs);
  t.ok(most > 0.8 && least < 1.2, `${least} to ${most} seconds a second`);
});

t.test('commands: input, output, status, signal, and what does not exist', async (t) => {
  const input = Buffer.alloc(1_000_000, 'x');
  t.match(await guest.exec(['wc', '-c'], { input }), { status: 0, stdout: '1000000\n' });
  t.match(await guest.exec(['sh', '-c', 'echo out; echo err >&2; exit 3']), {
    status: 3,
    signal: null,
    stdout: 'out\n',
    stderr: 'err\n',
  });
  t.match(await guest.exec(['sh', '-c', 'kill -9 $$']), { status: null, signal: 9 });
  const interrupted = await guest.exec(['sh', '-c', 'kill -INT $$; echo goes on']);
  t.match(interrupted, { status: null, signal: 2, stdout: '' }, 'no signal is ignored');
  t.equal(await guest.sh('echo $NAME', { env: { NAME: 'a b' } }), 'a b\n');
  await t.rejects(guest.exec(['/bin/none']), { code: 'ERR_GUEST_COMMAND', message: /errno 2/ });
  await t.rejects(guest.sh('echo why; exit 4'), {
    code: 'ERR_GUEST_COMMAND',
    message: /status 4: why/,
  });
});

t.test('large output arrives whole', async (t) => {
  const { stdout } = await guest.exec(['sh', '-c', 'seq 1 300000']);
  t.equal(stdout.length, 1_988_895);
  t.ok(stdout.endsWith('\n300000\n'));
});

t.test('a command that takes too long is killed, with its children', async (t) => {
  await t.rejects(guest.exec(['sh', '-c', 'sleep 77 & wait'], { timeoutMs: 500 }), {
    code: 'ERR_GUEST_COMMAND',
    message: /500 ms/,
  });
  const gone = async () => (await guest.sh('ps | grep -c "[s]leep 77" || true')).trim() === '0';
  await until('the end of its child', gone, { everyMs: 100 });
});

t.test('commands run beside one another and can be talked to', async (t) => {
  const cat = await guest.spawn(['cat']);
  const sleeper = await guest.spawn(['sleep', '60']);
  cat.write('one ');
  cat.write('two');
  cat.end();
  t.equal(await text(cat.stdout), 'one two');
  t.same(await cat.ended, { status: 0, signal: null });
  sleeper.kill(15);
  t.same(await sleeper.ended, { status: null, signal: 15 });
});

t.test('files go in and out', async (t) => {
  await guest.writeFile("/tmp/it's", 'content', 0o700);
  t.equal(await guest.readFile("/tmp/it's"), 'content');
  t.match(await guest.sh('ls -l /tmp'), /^-rwx------/m);
});

t.test('the agent answers on every transport', async (t) => {
  for (const address of [guest.vsock(), guest.tcp()]) {
    const session = await Session.connect(address, patient);
    t.equal(session.kernel.release, guest.info.kernel, address);
    session.close();
  }
  t.throws(() => guest.tcp(9), { code: 'ERR_OPTION_INVALID', message: /ports/ });
});

t.test('a paused guest is silent and then goes on', async (t) => {
  guest.pause();
  const answer = guest.sh('echo on');
  const first = await Promise.race([answer, sleep(500, 'silence')]);
  guest.resume();
  t.equal(first, 'silence');
  t.equal(await answer, 'on\n');
});

t.test('a guest that powers itself off is seen to end', async (t) => {
  const { qemu, vsock } = guest.processes;
  guest.exec(['poweroff', '-f']).catch(() => {});
  t.equal(await guest.ended, 'status 0');
  await t.rejects(guest.processorThreads(), { code: 'ERR_GUEST_STOPPED', message: /status 0/ });
  const folder = guest.log.replace(/\/[^/]*$/, '');
  await guest.stop();
  await guest.stop();
  for (const pid of [qemu, vsock].filter((pid) => pid !== undefined)) {
    t.throws(() => readFileSync(`/proc/${pid}/cmdline`), { code: 'ENOENT' });
  }
  t.notOk(existsSync(folder));
});
