import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { boot } from '../../guest/index.js';
import { enums, insn, Session } from '../../src/index.js';
import { versionCode } from '../../src/run/vdso.js';
import { application, cli } from '../run/application.js';
import { patient, until } from '../until.js';

t.setTimeout(600_000);

const PINS_PORT = 2001;

const execute = promisify(execFile);

/** What is made here has these names. Others of this machine may make objects meanwhile. */
const NAMES = ['counts', 'quiet', 'guest_run'];
const PINS = '/sys/fs/bpf';
const env = { ...process.env, MAP_NAME: 'guest_run' };

/** What is in this machine's own kernel by these names, and what is pinned there. */
async function hostObjects(): Promise<string[]> {
  const lists = await Promise.all(
    ['prog', 'map'].map((kind) => execute('bpftool', ['-j', kind, 'list'])),
  );
  const objects = lists.flatMap(({ stdout }): { id: number; name?: string }[] =>
    JSON.parse(stdout),
  );
  return [
    ...objects
      .filter(({ name = '' }) => NAMES.includes(name))
      .map(({ id, name }) => `${name} ${id}`),
    ...(existsSync(PINS) ? readdirSync(PINS) : []),
  ];
}

/** What a program tells that probes its own process, and uses the probe. */
function toldOf(uses: readonly string[], how: string): string {
  const used = uses.map((use) => `${use}: ${how}`);
  return ['unknown: ENOENT', 'known: ok', ...used, 'then: a map', ''].join('\n');
}

t.test('unmodified programs act on the guest, and on nothing else', async (t) => {
  const program = application();
  t.teardown(program.dispose);
  await using guest = await boot({
    exec: true,
    agent: { profile: 'full' },
    files: { '/program': { source: program.path, mode: 0o755 } },
    notice: () => {},
  });
  const address = guest.vsock();
  const run = async (...command: string[]) => {
    const words = [cli, 'run', '--vm', address, '--', ...command];
    return (await execute(process.execPath, words, { env })).stdout;
  };
  const bpftool = async (...words: string[]) => JSON.parse(await run('bpftool', '-j', ...words));
  const before = await hostObjects();
  await using session = await Session.connect(address, patient);

  t.equal(await run('uname', '-r'), `${session.kernel.release}\n`);

  t.match(await run('cat', '/proc/version'), `Linux version ${session.kernel.release} `);
  const view =
    'cat /sys/devices/system/cpu/possible /proc/sys/kernel/osrelease; wc -c < /sys/kernel/btf/vmlinux';
  const [cpus, release, btfBytes] = (await run('sh', '-c', view)).split('\n');
  t.same([cpus, release], ['0', session.kernel.release]);
  t.ok(Number(btfBytes) > 1_000_000);

  const now = `sysopen F, "/sys/kernel/tracing/trace_pipe", O_RDONLY | O_NONBLOCK or die;
    print defined sysread(F, $text, 9) ? "read" : $!{EAGAIN} ? "nothing yet" : $!`;
  t.equal(await run('perl', '-MFcntl', '-MErrno', '-e', now), 'nothing yet');

  // It is found in the last folder only.
  const path = `/nowhere:/proc/none:${dirname(program.path)}`;
  const bySearch = `env PATH=${path} ${basename(program.path)} vdso`;
  const words = `"${program.path}", ["program", "vdso"]`;
  const byThread = `python3 -c 'import os, threading
threading.Thread(target=os.execv, args=(${words})).start()'`;
  const version = versionCode(session.kernel.release, session.kernel.version);
  const shown = [version >> 16, (version >> 8) & 255, version & 255].join('.');
  for (const way of [bySearch, byThread]) {
    const vdso = await run('sh', '-c', `${way} </dev/null`);
    t.equal(vdso, `waiting\nvdso: ${shown}\n`, 'each program finds it in its vDSO');
  }

  const uptimeS = Number.parseFloat(await guest.sh('cat /proc/uptime'));
  const toldS = Number.parseFloat(await run('cat', '/proc/uptime'));
  const laterS = Number.parseFloat(await guest.sh('cat /proc/uptime'));
  t.ok(uptimeS <= toldS && toldS <= laterS, `${uptimeS} ≤ ${toldS} ≤ ${laterS}: its clock`);

  const following = run('grep', '-m', '1', 'told by the guest', '/sys/kernel/tracing/trace_pipe');
  let followed = false;
  const ended = following.finally(() => {
    followed = true;
  });
  const written = async () => {
    await guest.sh('echo told by the guest > /sys/kernel/tracing/trace_marker');
    return followed;
  };
  await until('the line that the guest tells', written, { everyMs: 100 });
  t.match(await ended, /tracing_mark_write: told by the guest\n/);

  // The kernel allows the log one reader, and this session is it now.
  await using reader = await Session.connect(address, patient);
  await reader.open('/sys/kernel/tracing/trace_pipe');
  const second = await execute(process.execPath, [cli, 'trace', '--vm', address]).catch(
    (error: { code: number; stderr: string }) => error,
  );
  t.match(second, { code: 1, stderr: /open EBUSY .*trace_pipe\. Another program reads this log/ });

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

  // What tells of the machine, and folders, are as a process of the guest finds them.
  for (const words of [
    'ls /sys/kernel/btf /sys/class/net /sys/kernel/tracing /sys/bus/event_source/devices',
    'cat /proc/partitions /proc/filesystems /proc/devices /proc/swaps',
    'stat -c "%n %s %f %u %i" /sys/kernel/btf/vmlinux /sys/class/net/lo /proc/1/exe',
    'readlink /proc/1/exe; readlink /sys/class/net/lo',
    'ls /boot /lib/modules',
    'cat /proc/net/dev | cut -c 1-8',
  ]) {
    const sorted = (text: string) => text.split(/\s+/).sort().join('\n');
    const inGuest = await guest.sh(`{ ${words}; } 2>/dev/null || true`);
    t.equal(
      sorted(await run('sh', '-c', `{ ${words}; } 2>/dev/null || true`)),
      sorted(inGuest),
      words,
    );
  }
  t.equal(await run(program.path, 'memory'), await guest.sh('/program memory'));
  const entered = await run('nsenter', '--net=/proc/1/ns/net', 'true').catch((error) => error);
  t.match(entered.stderr, /setns\(2\) into a namespace of the guest is refused/);

  t.equal(await run(program.path, 'owner', '/proc/self/ns/net'), 'owner: ok\n');
  t.equal(await run(program.path, 'owner', '/proc/1/ns/net'), 'owner: EOPNOTSUPP\n');

  // So are the numbers that stand for interfaces and cgroups.
  const names = [...new Set(['lo', 'none', ...readdirSync('/sys/class/net')])];
  t.equal(
    await run(program.path, 'interfaces', ...names),
    await guest.sh(`/program interfaces ${names.join(' ')}`),
  );
  const cgroup = (await guest.sh('awk \'$3 == "cgroup2" { print $2 }\' /proc/mounts')).trim();
  await run('mkdir', `${cgroup}/mine`);
  t.equal(await guest.sh(`ls ${cgroup}/mine/cgroup.procs`), `${cgroup}/mine/cgroup.procs\n`);
  const told = await guest.sh(`/program cgroup-id ${cgroup}/mine`);
  t.match(told, /^no room: EOVERFLOW\nid: ok\n8 bytes of type 254: \d+\n$/);
  t.equal(await run(program.path, 'cgroup-id', `${cgroup}/mine`), told);
  await t.rejects(run('unlink', `${cgroup}/mine`), { message: /: Is a directory\n$/ });
  await run('rmdir', `${cgroup}/mine`);
  t.equal(await guest.sh(`ls -d ${cgroup}/mine 2>/dev/null || echo gone`), 'gone\n');

  // libbpf learns by this which functions a kernel has.
  const used = ['read', 'enable', 'map', 'put into a map', 'link'];
  t.equal(await guest.sh('/program probe-itself'), toldOf(used, 'ok'));
  t.equal(await run(program.path, 'probe-itself'), toldOf(used, 'EOPNOTSUPP'));

  await run('mkdir', '/sys/fs/bpf/folder');
  await run('mv', '/sys/fs/bpf/folder', '/sys/fs/bpf/moved');
  await run('bpftool', 'map', 'pin', 'name', 'counts', '/sys/fs/bpf/moved/counts');
  t.equal(
    await guest.sh('ls /sys/fs/bpf /sys/fs/bpf/moved'),
    await run('ls', '/sys/fs/bpf', '/sys/fs/bpf/moved'),
  );
  t.equal(await run('stat', '-f', '-c', '%T', '/sys/fs/bpf/moved'), 'bpf_fs\n');
  await run('rm', '-r', '/sys/fs/bpf/moved');
  t.equal(await guest.sh('ls /sys/fs/bpf'), 'counts\n');

  // libbpf asks first whether the folder, which only the guest has, is of a bpf file system.
  await t.test('a policy with a folder for pins', async (t) => {
    await guest.sh('mkdir /sys/fs/bpf/web');
    await guest.writeFile('/tmp/web.yaml', 'profile: full\npin_paths: [/sys/fs/bpf/web/]\n');
    const words = ['--quiet', '--any-source-port', '--listen', `vsock:any:${PINS_PORT}`];
    const agent = await guest.spawn(
      ['node', '/usr/lib/waep/agent.cjs', ...words, '--policy', '/tmp/web.yaml'],
      { env: { WAEP_NATIVE_DIR: '/usr/lib/waep' } },
    );
    t.teardown(() => agent.destroy());
    agent.ended.catch(() => {});
    await once(agent.stdout, 'data');
    const create = (path: string) => {
      const waep = [cli, 'run', '--vm', guest.vsock(PINS_PORT), '--', 'bpftool', 'map', 'create'];
      return execute(process.execPath, [...waep, path, ...sizes]);
    };
    await create('/sys/fs/bpf/web/m');
    t.equal(await guest.sh('ls /sys/fs/bpf/web'), 'm\n');
    await t.rejects(create('/sys/fs/bpf/m'), { message: /rule pin_paths/ });
    await guest.sh('rm -r /sys/fs/bpf/web');
  });

  // An iterator that has something to say of the last of so many elements only: it pauses before.
  {
    const last = 1_199_999;
    await using many = await session.createMap({
      type: enums.MapType.BPF_MAP_TYPE_ARRAY,
      keySize: 4,
      valueSize: 4,
      maxEntries: last + 1,
    });
    await using quiet = await session.loadProgram({
      type: enums.ProgType.BPF_PROG_TYPE_TRACING,
      expectedAttachType: enums.AttachType.BPF_TRACE_ITER,
      attachTo: 'bpf_map_elem',
      instructions: insn.program(
        insn.load(8, 'r2', 'r1', 16),
        insn.jumpIf('eq', 'r2', 0, 'out'),
        insn.load(4, 'r3', 'r2', 0),
        insn.jumpIf('ne', 'r3', last, 'out'),
        insn.load(8, 'r1', 'r1', 0),
        insn.load(8, 'r1', 'r1', 0),
        insn.mov('r3', 4),
        insn.call(enums.Helper.BPF_FUNC_seq_write),
        insn.label('out'),
        insn.mov('r0', 0),
        insn.exit(),
      ),
      license: 'GPL',
      name: 'quiet',
    });
    await using each = await quiet.attachIterator({ map: many });
    await each.pin('/sys/fs/bpf/quiet');
    t.equal(await run('od', '-An', '-tu4', '/sys/fs/bpf/quiet'), `    ${last}\n`);
    await guest.sh('rm /sys/fs/bpf/quiet');
  }

  const btfs: { name?: string }[] = await bpftool('btf', 'list');
  t.ok(btfs.some(({ name }) => name === 'vmlinux'));

  const parts = await run(program.path, 'copies', 'passed', 'interrupted', 'threads', 'self');
  t.same(parts.trim().split('\n'), [
    ...['closed: EBADF', 'dup: 11', 'fcntl: 11', 'dup3: 11', 'child: 11'],
    ...['passed: 22', 'interrupted: 0 failed, alarmed', 'threads: 0 wrong', 'inherited: 66'],
  ]);

  // Why a kernel function cannot be probed, the guest's kernel says in the same words.
  const impossible = [
    ...['p:a no_such_function', 'r:g/b vfs_write+5', 'p:c vfs_write+1', 'p:d memcpy'],
    ...['-:e', '-:f/e'],
  ];
  for (const text of impossible) {
    const inGuest = await guest.sh(`/program define '${text}'`);
    t.match(inGuest, /: E[A-Z]+\n$/);
    t.equal(await run(program.path, 'define', text), inGuest);
  }
  // What can be is as in the guest for the program, and nothing of it is in the guest.
  for (const [kind, text] of [
    ['kprobe', 'p:mine/write vfs_write'],
    ['kprobe', 'r:mine/wrote vfs_write'],
    ['uprobe', 'p:mine/main /program:0x0000000000001000'],
  ] as const) {
    const inGuest = await guest.sh(`/program use-definition ${kind} '${text}'`);
    t.match(inGuest, /define: ok\n.*attach: ok\n/s);
    const { stdout, stderr } = await execute(process.execPath, [
      ...[cli, 'run', '--vm', address, '--'],
      ...[program.path, 'use-definition', kind, text],
    ]);
    // How many returns it can wait for at once, the kernel adds to its list.
    t.equal(stdout, inGuest.replace('listed: r10:', 'listed: r:'));
    t.equal(stderr, '');
  }
  // What is not carried over is refused by name.
  const refused = ['p:f vfs_write a=%ax', 'r8:h vfs_write', 'p vfs_write', 'p:g module:none'];
  for (const text of refused) {
    t.equal(await run(program.path, 'define', text), `${text}: EOPNOTSUPP\n`);
  }
  const copied = await run(program.path, 'define-by-copy', 'p:h vfs_write');
  t.equal(copied, 'p:h vfs_write: EBADF\n');
  t.equal(await guest.sh('cat /sys/kernel/tracing/kprobe_events'), '');

  const events = '/sys/kernel/tracing/events';
  const list = (folder: string) =>
    `${process.execPath} -p 'fs.readdirSync("${folder}").toString()'`;
  t.match(await run('sh', '-c', list(`${events}/sched`)), /\bsched_switch\b/);

  // Of processes, those of the guest are seen and those of the program, not others of this machine.
  const id = (await guest.sh('/program wait > /dev/null & echo $!')).trim();
  const proc = `/proc/${id}`;
  const waits = async () => (await guest.sh(`cut -d " " -f 2,3 ${proc}/stat`)) === '(program) S\n';
  await until('a program that waits', waits);
  const seen = `cat ${proc}/maps ${proc}/comm; cat ${proc}/exe ${proc}/root/program | sha256sum`;
  t.equal(await run('sh', '-c', seen), await guest.sh(seen));
  t.equal(
    await run('sh', '-c', 'cat /proc/$$/comm; stat -L -c %F /proc/$$/exe'),
    'sh\nregular file\n',
  );
  t.equal(await run('pgrep', '-x', 'program'), `${id}\n`);
  t.equal(await run('readlink', `${proc}/exe`), '/program\n');
  t.equal(await run('ps', '-o', 'comm=', '-p', id), 'program\n');
  await guest.sh(`kill ${id}`);
  const gone = `for file in maps comm exe; do cat /proc/${process.pid}/$file && echo seen; done; stat /proc/${process.pid}/exe || readlink /proc/${process.pid}/exe || echo none`;
  t.equal(await run('sh', '-c', `${gone} 2> /dev/null`), 'none\n');

  const left: string[] = [];
  for await (const map of session.maps()) left.push(map.name);
  t.same(left, ['counts'], 'what is pinned stays, what was held is gone');
  t.same(await hostObjects(), before, "nothing has changed in this machine's kernel");
});
