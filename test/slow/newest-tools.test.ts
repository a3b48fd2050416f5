/* The newest bpftool on the newest kernel, in the guest and under waep run. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { fetchPackage } from '../../guest/image/debian.js';
import { boot } from '../../guest/index.js';
import { bpftoolOf } from '../preflight/oracle.js';
import { cli } from '../run/application.js';
import { start } from '../run/outcome.js';
import { until } from '../until.js';

t.setTimeout(900_000);

const folder = mkdtempSync(join(tmpdir(), 'waep-newest-'));
t.teardown(() => rmSync(folder, { recursive: true }));

const libbpf = await fetchPackage('libbpf-dev');
const include = ['-I', join(libbpf.folder, 'usr/include'), '-I', '/usr/include/x86_64-linux-gnu'];

/** Compiles a program of the matrix and returns its path, which the guest has, too. */
function compiled(name: string, object: string, ...options: string[]): string {
  const source = `test/conformance/compat/programs/${name}.bpf.c`;
  const path = join(folder, object);
  execFileSync('clang', [
    '-target',
    'bpf',
    '-g',
    '-O2',
    ...options,
    ...include,
    '-c',
    source,
    '-o',
    path,
  ]);
  return path;
}

const iterator = compiled('iterator', 'iterator.o');
const control = compiled('control', 'control.o');
const linked = compiled('control', 'linked.o', '-DSECTION=".struct_ops.link"');
const scheduler = compiled('scheduler', 'scheduler.o');

const bpftool = await bpftoolOf('sid');
const guest = await boot({
  ...{ kernel: { suite: 'sid' }, exec: true, network: 'none', notice: () => {} },
  agent: { profile: 'full' },
  files: {
    ...bpftool.files,
    ...Object.fromEntries(
      [iterator, control, linked, scheduler].map((path) => [path, { source: path, mode: 0o644 }]),
    ),
  },
});
t.teardown(() => guest.stop());

/** What a command prints, and how it ends. */
interface Outcome {
  readonly status: number | null;
  readonly output: string;
  readonly errors: string;
}

type Variables = Readonly<Record<string, string>>;

/** Runs bpftool in the guest. */
async function inGuest(words: readonly string[], env: Variables = {}): Promise<Outcome> {
  const { status, stdout, stderr } = await guest.exec([...bpftool.command, ...words], { env });
  return { status, output: stdout, errors: stderr };
}

/** Runs bpftool here, under waep run. */
async function fromHost(words: readonly string[], env: Variables = {}): Promise<Outcome> {
  const waep = [process.execPath, cli, 'run', '--vm', guest.vsock(), '--'];
  const { status, output, errors } = await start([...waep, ...bpftool.onHost, ...words], {
    ...{ WAEP_CACHE_DIR: join(folder, 'cache') },
    ...env,
  }).ended;
  return { status, output, errors };
}

/** Without the ids of objects, which count upwards. */
function plain({ status, output, errors }: Outcome): Outcome {
  const [one = '', two = ''] = [output, errors].map((text) =>
    text.replace(/(?<=\b(?:id|map) )\d+|^\d+(?=:)/gm, '#'),
  );
  return { status, output: one, errors: two };
}

const read = async (path: string) => (await guest.readFile(path)).trim();
const controls = () => read('/proc/sys/net/ipv4/tcp_available_congestion_control');

t.test('tokens of the guest are listed, and refused as in the guest', async (t) => {
  const options = 'delegate_cmds=prog_load,delegate_progs=kprobe';
  await guest.sh(`mkdir /sys/fs/bpf/tokens && mount -t bpf -o ${options} none /sys/fs/bpf/tokens`);
  // The agent's sessions have the mounts that there were when it read its policy.
  await guest.sh('kill -HUP $(pidof node)');
  const listed = await inGuest(['token', 'list']);
  t.match(listed.output, /^token_info {2}\/sys\/fs\/bpf\/tokens\n\tallowed_cmds:\n\t {2}prog_load/);
  await until('the new list of mounts', async () => {
    return (await fromHost(['token', 'list'])).output !== '';
  });
  for (const words of [
    ['token', 'list'],
    ['-j', 'token', 'list'],
  ]) {
    t.same(await fromHost(words), await inGuest(words));
  }
  for (const path of ['/sys/fs/bpf', '/sys/fs/bpf/tokens', '/sys/fs', '/sys/fs/bpf/none']) {
    const env = { LIBBPF_BPF_TOKEN_PATH: path };
    const words = ['prog', 'loadall', iterator, '/sys/fs/bpf/none'];
    const native = await inGuest(words, env);
    t.match(native.errors, /failed \(-(95|22|ENOENT)\) to (create BPF token|open BPF FS)/);
    t.same(await fromHost(words, env), native, path);
  }
});

t.test('a congestion control is registered and unregistered', async (t) => {
  const before = await controls();
  for (const run of [inGuest, fromHost]) {
    t.match(plain(await run(['struct_ops', 'register', control])), {
      ...{ status: 0, errors: 'Registered tcp_congestion_ops steady id #\n' },
    });
    t.equal(await controls(), `${before} waep_steady`);
    t.match(plain(await run(['struct_ops', 'show'])).output, /^#: steady +tcp_congestion_ops *$/m);
    t.match(plain(await run(['struct_ops', 'unregister', 'name', 'steady'])), { status: 0 });
    await until('the end of the congestion control', async () => (await controls()) === before);
  }
});

t.test('a congestion control is registered by a link, until the link is gone', async (t) => {
  const before = await controls();
  const shown: Outcome[] = [];
  for (const run of [inGuest, fromHost]) {
    t.match(await run(['struct_ops', 'register', linked, '/sys/fs/bpf']), { status: 0 });
    t.equal(await controls(), `${before} waep_steady`);
    shown.push(plain(await run(['link', 'show', 'pinned', '/sys/fs/bpf/steady'])));
    await guest.sh('rm /sys/fs/bpf/steady');
    await until('the end of the congestion control', async () => (await controls()) === before);
    // Without a pin, the link ends with the tool.
    t.match(await run(['struct_ops', 'register', linked]), { status: 0 });
    await until('the end of the tool’s link', async () => (await controls()) === before);
  }
  t.match(shown[0], { output: /^#: struct_ops +map #/, errors: '' });
  t.same(shown[1], shown[0]);
});

t.test('a scheduler of sched_ext takes over, until its link is gone', async (t) => {
  const state = () => read('/sys/kernel/sched_ext/state');
  t.equal(await state(), 'disabled');
  for (const run of [inGuest, fromHost]) {
    t.match(await run(['struct_ops', 'register', scheduler, '/sys/fs/bpf']), { status: 0 });
    t.equal(await state(), 'enabled');
    t.match(await read('/sys/kernel/sched_ext/root/ops'), /^waep_plain/);
    await guest.sh('rm /sys/fs/bpf/plain');
    await until('the end of the scheduler', async () => (await state()) === 'disabled');
  }
});
