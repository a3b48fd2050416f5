import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import t from 'tap';
import { kernelNames } from '../../guest/agent/kernel-names.js';
import { compile, profiles } from '../../src/policy/index.js';
import { localAgent } from '../agent/local-agent.js';
import { application, cli } from './application.js';
import { start } from './outcome.js';

/*
 * The local agent's kernel is this machine's. What the program would find here by itself is hidden
 * from it, by empty files and folders, so that what it sees came from the agent.
 */
const skip = process.getuid?.() !== 0 && 'it takes root to hide files';

const { address, close } = await localAgent();
const cache = mkdtempSync(join(tmpdir(), 'waep-cache-'));
const facts = application('file-facts');
t.teardown(async () => {
  facts.dispose();
  rmSync(cache, { recursive: true });
  await close();
});

const hiddenFiles = ['partitions', 'filesystems', 'devices', 'misc'].map((name) => `/proc/${name}`);
const hiddenFolders = ['/sys/class', '/sys/bus', '/sys/block', '/sys/module', '/sys/kernel/btf'];
const hide = [
  ...hiddenFiles.map((path) => `mount --bind /dev/null ${path}`),
  ...hiddenFolders.map((path) => `mount -t tmpfs hidden ${path}`),
].join(' && ');

function run(command: readonly string[], at = address, hidden = hide) {
  const words = [process.execPath, cli, 'run', '--vm', at, '--', ...command];
  const all = ['unshare', '--mount', 'sh', '-c', `${hidden} && exec "$@"`, 'sh', ...words];
  return start(all, { WAEP_CACHE_DIR: cache }).ended;
}

const O_PATH = 0o10000000;

t.test('a file of the kernel that is read again has its present contents', { skip }, async (t) => {
  // As vmstat and top read, which keep their files open.
  const words = [
    'open F, "<", "/proc/uptime" or die; fcntl F, F_SETFD, 0 if shift;',
    'for (1, 2) { sysseek F, 0, 0; sysread F, $text[$_], 99; select undef, undef, undef, 0.05 }',
    'print $text[1] eq $text[2] ? "stale" : "news", fcntl(F, F_GETFD, 0) + 0, "\\n"',
  ].join(' ');
  for (const kept of ['', '1']) {
    const perl = ['perl', '-MFcntl', '-e', words, kept];
    const { output, errors } = await run(perl);
    t.equal(output, `news${kept === '' ? 1 : 0}\n`);
    t.equal(errors, '');
  }
});

t.test('files and folders that tell of a kernel are those of the guest', { skip }, async (t) => {
  // A kernel that is short of memory forgets what nobody has open, and when it was changed last.
  const looked = ['/sys/kernel/btf/vmlinux', '/sys/class/net/lo', '/sys/class'];
  const held = looked.map((path) => openSync(path, O_PATH | constants.O_NOFOLLOW));
  t.teardown(() => {
    for (const fd of held) closeSync(fd);
  });
  const commands = [
    ...hiddenFiles.map((path) => `cat ${path}`),
    ...['/sys/kernel/btf', '/sys/class/net', '/sys/block', '/sys/bus/event_source/devices'].map(
      (path) => `ls -a ${path}`,
    ),
    `stat --format "%n %s %F %a %u %i %d %h %Y" ${looked.join(' ')}`,
    'stat --dereference --format "%n %F" /sys/class/net/lo /sys/class/net/lo/mtu',
    'stat --file-system --format "%T" /sys/class/net /proc/partitions /sys/kernel/btf/vmlinux',
    'readlink /sys/class/net/lo',
    'readlink -f /sys/class/net/lo',
    'cat /sys/class/net/lo/../lo/mtu /proc/self/root/sys/class/net/lo/mtu //sys/./class/net/lo/mtu',
    '(cd /sys/class && ls net && cat net/lo/mtu && cd .. && ls kernel/btf)',
    'test -r /sys/kernel/btf/vmlinux && test -d /sys/class/net && ! test -e /sys/class/none && echo yes',
    'find /sys/class/net -maxdepth 1 | sort',
    'cat /proc/net/dev | wc -l; cat /proc/self/net/dev | wc -l',
    'ls /sys/class/none /proc/none; cat /sys/class/net/lo/mtu/none; true',
  ];
  const script = commands.join('\n');
  const expected = execFileSync('sh', ['-c', `{ ${script}\n} 2>&1`], { encoding: 'utf8' });
  const { output, errors } = await run(['sh', '-c', `{ ${script}\n} 2>&1`]);
  t.equal(output, expected);
  t.equal(errors, '');
});

t.test('system calls on paths and folders are as in the kernel', { skip }, async (t) => {
  const expected = execFileSync(facts.path, { encoding: 'utf8' });
  t.notMatch(expected, /unexpected/);
  const { output, errors } = await run([facts.path]);
  t.equal(output, expected);
  t.equal(errors, '');
});

t.test('symbolic links to files of a kernel lead to the guest', { skip }, async (t) => {
  const links = mkdtempSync(join(tmpdir(), 'waep-links-'));
  t.teardown(() => rmSync(links, { recursive: true }));
  const script = [
    `cd ${links}`,
    'ln -s /sys/class class; ln -s class again; ln -s /proc/partitions parts; ln -s none dangling',
    'cat parts; cat <parts; ls class/ again/net; cat again/net/lo/mtu class/../kernel/btf/vmlinux | wc -c',
    'stat --format "%N %F" parts class again; stat --dereference --format "%F %u" parts class again',
    'readlink parts class/net/lo; readlink -f again/net/lo; cat dangling parts/none',
    'test -d class/net && test -L parts && test -e /dev/fd/0 && test -e /dev/stdin && echo yes',
    'cd again && cat net/lo/mtu && cd - && echo changed >parts2 && mv parts moved && cat moved',
    'dd if=moved iflag=nofollow status=none; rm moved class again && ls',
  ].join('\n');
  const told = `rm -f ${links}/*; { ${script}\n} 2>&1`;
  const expected = execFileSync('sh', ['-c', told], { encoding: 'utf8' });
  const { output, errors } = await run(['sh', '-c', told]);
  t.equal(output, expected);
  t.equal(errors, '');
});

t.test('absolute paths over symbolic links lead to the guest', { skip }, async (t) => {
  const links = mkdtempSync(join(tmpdir(), 'waep-links-'));
  t.teardown(() => rmSync(links, { recursive: true }));
  const up = relative(links, '/');
  const made = [
    ['file', '/proc/sys/kernel/ostype'],
    ['again', `${links}/file`],
    ['folder', '/proc/sys/kernel'],
    ['beside', 'folder'],
    ['up', `${up}/proc`],
    ['root', '/'],
    ['self', `${links}/root/${links}`],
  ] as const;
  for (const [name, target] of made) symlinkSync(target, join(links, name));
  const paths = [
    ...['file', 'again', 'folder/ostype', 'beside/ostype', 'up/sys/kernel/ostype', 'self/again'],
    ...['root/proc/sys/kernel/ostype', './file', '../../proc/sys/kernel/ostype', 'self//self/file'],
  ].map((path) => `${links}/${path}`);
  const words = paths.map((path) => `cat ${path}; stat --dereference --format %s ${path}`);
  const hidden = `echo of-the-host >${cache}/own && mount --bind ${cache}/own /proc/sys/kernel/ostype`;
  const { output, errors } = await run(['sh', '-c', words.join('\n')], address, hidden);
  t.equal(output, 'Linux\n0\n'.repeat(paths.length));
  t.equal(errors, '');
});

t.test('what the program reads of itself is its own', { skip }, async (t) => {
  const words = [
    'cat /proc/self/comm /proc/thread-self/comm',
    'cat /proc/$$/comm',
    'readlink /proc/self/exe',
    'cat /proc/sys/fs/nr_open /proc/sys/vm/overcommit_memory',
  ].join('; ');
  // Of these the agent has others.
  const hidden = [
    `echo 4242 >${cache}/own && mount --bind ${cache}/own /proc/sys/fs/nr_open`,
    `mount --bind ${cache}/own /proc/sys/vm/overcommit_memory`,
  ].join(' && ');
  const { output, errors } = await run(['sh', '-c', words], address, hidden);
  t.equal(output, `cat\ncat\nsh\n${readlinkOf('readlink')}\n4242\n4242\n`);
  t.equal(errors, '');
});

t.test(
  "a descriptor of another process is not the program's with the same number",
  {
    skip,
  },
  async (t) => {
    const file = openSync('/dev/null', 'r');
    const other = spawn('sleep', ['infinity'], { stdio: ['ignore', 'ignore', 'ignore', file] });
    t.teardown(() => other.kill());
    closeSync(file);
    const words = [
      'exec 3</sys/class/net',
      `readlink /proc/self/fd/3 /proc/${other.pid}/fd/3`,
      '(exec 3<&-; readlink /proc/$$/fd/3 /proc/self/fd/3)',
    ].join('; ');
    const { output, errors } = await run(['sh', '-c', words], address);
    t.equal(output, '/sys/class/net\n/dev/null\n/sys/class/net\n');
    t.equal(errors, '');
  },
);

function readlinkOf(name: string): string {
  const path = execFileSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).trim();
  return execFileSync('readlink', ['-f', path], { encoding: 'utf8' }).trim();
}

t.test(
  "mounts are the guest's where its files are, and else the program's",
  { skip },
  async (t) => {
    const hidden = `mount -t tmpfs hidden /sys/class && mount -t tmpfs mine ${cache}`;
    for (const file of ['/proc/mounts', '/proc/self/mounts', '/proc/self/mountinfo', '/etc/mtab']) {
      const { output, errors } = await run(['cat', file], address, hidden);
      const lines = output.split('\n');
      t.equal(errors, '');
      t.ok(
        lines.some((line) => line.includes(` ${cache} `)),
        `${file} has what the program sees`,
      );
      t.notOk(
        lines.some((line) => line.includes(' /sys/class ')),
        `${file} has nothing that hides files of the guest`,
      );
      t.match(output, / \/proc /);
    }
  },
);

t.test('what cannot be had of the guest is refused by name', { skip }, async (t) => {
  const refused = {
    'mkdir /sys/kernel/none': /mkdir\(2\) of \/sys\/kernel\/none is refused/,
    'rmdir /sys/class/net': /rmdir\(2\) of \/sys\/class\/net is refused/,
    'rm /proc/partitions': /unlink\(2\) of \/proc\/partitions is refused/,
    'mv /sys/class/net /sys/class/none': /rename\(2\) of \/sys\/class\/net is refused/,
    'touch /sys/class/net': /utimensat\(2\) of \/sys\/class\/net is refused/,
    'chmod 700 /sys/class/net': /fchmodat\(2\) of \/sys\/class\/net is refused/,
    'ln -s /tmp /sys/class/none': /symlink(at)?\(2\) of \/sys\/class\/none is refused/,
    'echo 1 >/proc/sys/kernel/none': /writing to \/proc\/sys\/kernel\/none is refused/,
    dmesg: /opening \/dev\/kmsg is refused/,
    'dmesg --syslog': /syslog\(2\) is refused/,
    'cd /sys/class/net': /chdir\(2\) to \/sys\/class\/net is refused/,
    'mount -t tmpfs none /sys/class/net': /mount\(2\) of \/sys\/class\/net is refused/,
    [`mount -t proc none ${cache}`]: /mount\(2\) of proc on \S+ is refused/,
    [`mount --bind /sys/class ${cache}`]: /mount\(2\) of \/sys\/class at another place is refused/,
  };
  for (const [words, line] of Object.entries(refused)) {
    const { status, errors } = await run(['sh', '-c', words]);
    t.not(status, 0, words);
    t.match(errors, line);
  }
});

t.test('nothing changes the kernel of this machine', { skip }, async (t) => {
  // With arguments that a kernel refuses as well, but for acct(2) and kexec_load(2), which end what
  // is not there.
  const calls = {
    settimeofday: '164, b"\\xff" * 16, 0',
    swapon: '167, 0, 0',
    swapoff: '168, 0',
    reboot: '169, 0, 0, 0, 0',
    init_module: '175, 0, 0, 0',
    delete_module: '176, 0, 0',
    clock_settime: '227, 0, 0',
    kexec_load: '246, 0, 0, 0, 0',
    finit_module: '313, -1, 0, 0',
    kexec_file_load: '320, -1, -1, 0, 0, 0',
    acct: '163, 0',
    adjtimex: '159, b"\\0\\x40\\0\\0" + b"\\0" * 204',
    clock_adjtime: '305, 0, b"\\0\\x40\\0\\0" + b"\\0" * 204',
    sethostname: '170, 0, 1000',
    setdomainname: '171, 0, 1000',
  };
  const script = [
    'import ctypes, os',
    'libc = ctypes.CDLL(None, use_errno=True)',
    'def call(name, *words):',
    '  ctypes.set_errno(0)',
    '  libc.syscall(*words)',
    '  print(name, os.strerror(ctypes.get_errno()))',
    ...Object.entries(calls).map(([name, words]) => `call('${name}', ${words})`),
    // What only reads, and what changes a name of the program's own.
    "call('reading', 159, b'\\0' * 208)",
    "print(libc.unshare(0x04000000), libc.sethostname(b'own', 3))",
  ].join('\n');
  const { output, errors } = await run(['python3', '-c', script], address, 'true');
  const names = Object.keys(calls);
  const told = names.map((name) => `${name} Operation not supported\n`).join('');
  t.equal(output, `${told}reading Success\n0 0\n`);
  for (const name of names) t.match(errors, new RegExp(`${name}\\(2\\) is refused`));
});

t.test("the guest's policy decides what is read", { skip }, async (t) => {
  const observing = await localAgent({ rules: compile(profiles.observe, kernelNames()) });
  t.teardown(observing.close);
  for (const [words, path] of [
    ['cat /proc/kcore', '/proc/kcore'],
    ['ls /sys/class', '/sys/class'],
    ['stat /sys/class/net', '/sys/class/net'],
    ['readlink /sys/class/net', '/sys/class/net'],
  ] as const) {
    const { status, errors } = await run(words.split(' '), observing.address, 'true');
    t.not(status, 0, words);
    t.match(errors, `rule readable_paths does not allow ${path}`);
    if (!words.startsWith('readlink')) t.match(errors, /Permission denied/);
  }
  // On the way to what may be read folders can be looked at, and what may be read can be listed.
  const allowed = 'stat --format %F /sys /sys/kernel && ls /sys/kernel/btf';
  const { output, errors } = await run(['sh', '-c', allowed], observing.address);
  t.equal(errors, '');
  t.match(output, /^directory\ndirectory\n(.*\n)*vmlinux\n/);
});

const perf = spawnSync('perf', ['--version']).status === 0;

t.test(
  'perf counts events of the guest',
  { skip: skip || (!perf && 'there is no perf') },
  async (t) => {
    const stat = await run(['perf', 'stat', '-x', ',', '-a', '-e', 'task-clock', 'sleep', '0.1']);
    const [countMs = ''] = stat.errors.split('\n').filter((line) => line.includes('task-clock'));
    t.ok(Number.parseFloat(countMs) > 50, stat.errors);
    const own = await run(['perf', 'stat', '-x', ',', '-e', 'task-clock', 'true']);
    t.match(own.errors, /perf_event_open\(2\) of process \d+ is refused/);
    t.match(own.errors, /<not supported>/);
  },
);
