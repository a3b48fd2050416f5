import { execFile } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import t from 'tap';
import { boot } from '../../guest/index.js';
import { Session } from '../../src/index.js';
import { application, cli } from '../run/application.js';

t.setTimeout(240_000);

const execute = promisify(execFile);

/** The ids of everything in this machine's own kernel. */
async function hostObjects(): Promise<string> {
  const lists = await Promise.all(
    ['prog', 'map', 'link'].map((kind) => execute('bpftool', ['-j', kind, 'list'])),
  );
  return lists.map(({ stdout }) => stdout).join('\n');
}

t.test('unmodified programs act on the guest, and on nothing else', async (t) => {
  await using guest = await boot({ lab: true, agent: { profile: 'full' }, notice: () => {} });
  const address = guest.vsock();
  const run = async (...command: string[]) => {
    const { stdout } = await execute(process.execPath, [
      cli,
      'run',
      '--vm',
      address,
      '--',
      ...command,
    ]);
    return stdout;
  };
  const bpftool = async (...words: string[]) => JSON.parse(await run('bpftool', '-j', ...words));
  const before = await hostObjects();
  await using session = await Session.connect(address);

  t.equal(await run('uname', '-r'), `${session.kernel.release}\n`);

  t.match(await run('cat', '/proc/version'), `Linux version ${session.kernel.release} `);
  const view =
    'cat /sys/devices/system/cpu/possible /proc/sys/kernel/osrelease; wc -c < /sys/kernel/btf/vmlinux';
  const [cpus, release, btfBytes] = (await run('sh', '-c', view)).split('\n');
  t.same([cpus, release], ['0', session.kernel.release]);
  t.ok(Number(btfBytes) > 1_000_000);

  const uptimeS = Number.parseFloat(await guest.sh('cat /proc/uptime'));
  const toldS = Number.parseFloat(await run('cat', '/proc/uptime'));
  const laterS = Number.parseFloat(await guest.sh('cat /proc/uptime'));
  t.ok(uptimeS <= toldS && toldS <= laterS, `${uptimeS} ≤ ${toldS} ≤ ${laterS}: its clock`);

  const following = run('grep', '-m', '1', 'told by the guest', '/sys/kernel/tracing/trace_pipe');
  let followed = false;
  const ended = following.finally(() => {
    followed = true;
  });
  while (!followed) {
    await guest.sh('echo told by the guest > /sys/kernel/tracing/trace_marker');
    await sleep(100);
  }
  t.match(await ended, /tracing_mark_write: told by the guest\n/);

  const pin = '/sys/fs/bpf/counts';
  const sizes = ['type', 'hash', 'key', '4', 'value', '8', 'entries', '16', 'name', 'counts'];
  await run('bpftool', 'map', 'create', pin, ...sizes);
  const maps: { name: string; bytes_key: number }[] = await bpftool('map', 'list');
  t.match(maps, [{ name: 'counts', bytes_key: 4, bytes_value: 8, max_entries: 16 }]);
  const [key, value] = [
    [1, 0, 0, 0],
    [7, 0, 0, 0, 0, 0, 0, 0],
  ].map((bytes) => bytes.map(String));
  t.match(await bpftool('map', 'show', 'pinned', pin), { name: 'counts' });
  const element = ['key', ...(key as string[]), 'value', ...(value as string[])];
  await run('bpftool', 'map', 'update', 'pinned', pin, ...element);
  t.match(await bpftool('map', 'dump', 'name', 'counts'), [{ value: ['0x07'] }]);
  await run('bpftool', 'map', 'delete', 'name', 'counts', 'key', ...(key as string[]));
  t.same(await bpftool('map', 'dump', 'name', 'counts'), []);

  const btfs: { name?: string }[] = await bpftool('btf', 'list');
  t.ok(btfs.some(({ name }) => name === 'vmlinux'));

  const program = application();
  try {
    const parts = await run(program.path, 'copies', 'passed', 'interrupted', 'threads', 'self');
    t.same(parts.trim().split('\n'), [
      ...['closed: EBADF', 'dup: 11', 'fcntl: 11', 'dup3: 11', 'child: 11'],
      ...['passed: 22', 'interrupted: 0 failed, alarmed', 'threads: 0 wrong', 'inherited: 66'],
    ]);
  } finally {
    program.dispose();
  }

  const left: string[] = [];
  for await (const map of session.maps()) left.push(map.name);
  t.same(left, ['counts'], 'what is pinned stays, what was held is gone');
  t.equal(await hostObjects(), before, "nothing has changed in this machine's kernel");
});
