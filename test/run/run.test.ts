import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { readdir } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { makeKeys } from '../../cli/keys.js';
import { Session } from '../../src/index.js';
import { packageFolder } from '../../src/paths.js';
import { run as supervise } from '../../src/run/index.js';
import { readTlsFiles } from '../../src/tls-files.js';
import { localAgent } from '../agent/local-agent.js';
import { until } from '../until.js';
import { application, cli } from './application.js';
import { start as startProgram } from './outcome.js';

/** As long as a terminal over a slow line may take. */
const SLOW_TELLER_MS = 200;

const { agent, address, close } = await localAgent();
const program = application();
const cache = mkdtempSync(join(tmpdir(), 'waep-cache-'));
t.teardown(async () => {
  program.dispose();
  rmSync(cache, { recursive: true });
  await close();
});

function start(...command: string[]) {
  return startWith([], ...command);
}

/** Of the maps that programs of this test make. */
const mapName = `run_${process.pid}`;

function startWith(options: readonly string[], ...command: string[]) {
  const words = [cli, 'run', '--vm', address, ...options, '--', ...command];
  return startProgram([process.execPath, ...words], { WAEP_CACHE_DIR: cache, MAP_NAME: mapName });
}

const run = (...command: string[]) => start(...command).ended;

/** The names of all maps there are: the local agent's kernel is this machine's. */
async function mapNames(): Promise<string[]> {
  await using session = await Session.connect(address);
  const names: string[] = [];
  for await (const map of session.maps()) names.push(map.name);
  return names;
}

/** Waits until no map of programs of this test is left: a session ends in its own time. */
async function mapIsGone(): Promise<void> {
  await until('the end of the map', async () => !(await mapNames()).includes(mapName));
}

t.test('over TLS as over any other stream', async (t) => {
  const keys = join(cache, 'keys');
  await makeKeys(keys, 1, { agent: 'agent', client: 'client' });
  const secure = await localAgent({ tls: readTlsFiles({ keys }, 'agent') });
  t.teardown(secure.close);
  const waep = [process.execPath, cli, 'run', '--vm', secure.address, '--keys', keys, '--'];
  const commands = [
    [program.path, 'copies', 'mapped', 'logs', 'ring', 'perf', 'loaders'],
    ['bpftool', 'feature', 'probe', 'kernel'],
    // Without what others load into this machine's kernel meanwhile.
    ['sh', '-c', `grep -v '\\[bpf]' /proc/kallsyms | md5sum; uname -a; cat /proc/version`],
  ];
  const plain = [process.execPath, cli, 'run', '--vm', address, '--'];
  const env = { WAEP_CACHE_DIR: t.testdir() };
  for (const command of commands) {
    const found = await startProgram([...waep, ...command], env).ended;
    t.match(found, { status: 0, errors: '' }, command.join(' '));
    t.equal(found.output, (await startProgram([...plain, ...command], env).ended).output);
  }
});

t.test("a copy of a guest's file that was cut short is made again", async (t) => {
  const env = { WAEP_CACHE_DIR: t.testdir() };
  const words = [process.execPath, cli, 'run', '--vm', address, '--', 'cat', '/proc/version'];
  const first = await startProgram(words, env).ended;
  const copies = () =>
    readdirSync(join(env.WAEP_CACHE_DIR, 'guests'), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.includes('version='))
      .map((name) => join(env.WAEP_CACHE_DIR, 'guests', name));
  const [copy = ''] = copies();
  const { size } = statSync(copy);
  truncateSync(copy, size - 1);
  t.match(await startProgram(words, env).ended, { status: 0, output: first.output, errors: '' });
  t.same(copies(), [copy]);
  t.equal(statSync(copy).size, size);
});

t.test('where nothing can be kept, as where something can', async (t) => {
  const nowhere = {
    WAEP_CACHE_DIR: '',
    XDG_CACHE_HOME: '',
    HOME: '/dev/null',
    TMPDIR: '/proc/waep',
  };
  const words = [process.execPath, cli, 'run', '--vm', address, '--', 'uname', '-r'];
  t.match(await startProgram(words, nowhere).ended, { status: 0, output: /^\d/, errors: '' });
});

t.test('certificates that Node would read at its start are left to the program', async (t) => {
  const words = [join(packageFolder, 'bin/waep'), 'run', '--vm', address, '--'];
  const variables = ['NODE_EXTRA_CA_CERTS', 'WAEP_NODE_EXTRA_CA_CERTS'];
  const print = ['sh', '-c', variables.map((name) => `echo \${${name}-none}`).join(';')];
  const env = { WAEP_CACHE_DIR: cache };
  // Node warns of a file that it cannot read.
  const named = { ...env, NODE_EXTRA_CA_CERTS: '/nonexistent/ca.pem' };
  t.match(await startProgram([...words, ...print], named).ended, {
    status: 0,
    output: '/nonexistent/ca.pem\nnone\n',
    errors: '',
  });
  t.match(await startProgram(['env', '-u', 'NODE_EXTRA_CA_CERTS', ...words, ...print], env).ended, {
    status: 0,
    output: 'none\nnone\n',
    errors: '',
  });
});

const asRoot = { skip: process.getuid?.() !== 0 && 'it takes root to mount' };

t.test('the tracing files of this machine have no name', asRoot, async (t) => {
  const debugfs = '/sys/kernel/debug';
  // A mount of the same file system on itself is EBUSY, and some machines have it mounted.
  const mounted = `mountpoint -q ${debugfs} || mount -t debugfs debugfs ${debugfs}; exec "$@"`;
  // The program does not get to know this machine's: it sees what the agent has, or nothing.
  const look = `cd ${debugfs}/tracing && cat available_tracers`;
  const command = [process.execPath, cli, 'run', '--vm', address, '--', 'sh', '-c', look];
  const words = ['unshare', '--mount', 'sh', '-c', mounted, 'sh', ...command];
  const { output, errors } = await startProgram(words, {}).ended;
  const ofAgent = `${debugfs}/tracing/available_tracers`;
  if (existsSync(ofAgent)) {
    t.equal(output, readFileSync(ofAgent, 'utf8'));
    return;
  }
  t.equal(output, '');
  t.match(errors, /can't cd to/);
});

t.test('ends as the program does', async (t) => {
  t.equal((await run('true')).status, 0);
  t.equal((await run('sh', '-c', 'exit 7')).status, 7);
  t.equal((await run('sh', '-c', 'kill -TERM $$')).status, 128 + 15);
  const missing = await run('no-such-program');
  t.equal(missing.status, 127);
  t.match(missing.errors, /no-such-program: No such file/);
});

t.test('a descriptor means the same object wherever it goes', async (t) => {
  const { output, status } = await run(program.path, 'copies', 'passed', 'legacy', 'self');
  t.equal(status, 0);
  t.same(output.trim().split('\n'), [
    'closed: EBADF',
    'dup: 11',
    'fcntl: 11',
    'dup3: 11',
    'child: 11',
    'passed: 22',
    'legacy: 88',
    'inherited: 66',
  ]);
});

t.test(
  "what is written to the program's own descriptors is written, whatever their number",
  async (t) => {
    const words = 'exec 992>&1 1023>&1; echo first >&992; echo second >&1023';
    t.equal((await run('bash', '-c', words)).output, 'first\nsecond\n');
  },
);

t.test('memory of a map is the same on both sides', async (t) => {
  const { output, status } = await run(program.path, 'mapped');
  t.equal(status, 0);
  t.same(output.trim().split('\n'), [
    'mapped: 70',
    'written: 71',
    'updated: 72',
    'still: 70',
    'beyond: EINVAL',
    'constant: EACCES',
    'plain: EINVAL',
  ]);
});

t.test('events come in order through the memory that the program has mapped', async (t) => {
  const parts = ['ring', 'polled', 'selected', 'level', 'perf'];
  const { output, errors } = await run(program.path, ...parts);
  t.equal(errors, '');
  const all = parts.map((part) => `${part}: 1000 events, 0 wrong`);
  t.same(output.trim().split('\n'), all);
});

t.test('signals and threads', async (t) => {
  const { output } = await run(program.path, 'interrupted', 'threads', 'urged', 'loaders');
  t.same(output.trim().split('\n'), [
    'interrupted: 0 failed, alarmed',
    'threads: 0 wrong',
    'urged: 0 failed, interrupted',
    'loaders: 32 programs',
  ]);
});

t.test('Ctrl-C is for the program, which ends as it likes', async (t) => {
  const { child, ended } = start(program.path, 'until-interrupted');
  await once(child.stdout, 'data');
  // A terminal sends it to all that runs in the foreground.
  process.kill(-Number(child.pid), 'SIGINT');
  const { status, output } = await ended;
  t.equal(status, 0);
  t.same(output.trim().split('\n'), ['running', 'stopped: 77']);
  await t.resolves(mapIsGone());
});

t.test('fails as the kernel does, and refuses by name', async (t) => {
  const { output, errors } = await run(program.path, 'errors');
  const lines = output.trim().split('\n');
  // EFAULT of kernels that have common attributes.
  t.match(lines.splice(3, 1)[0], /^common: E(INVAL|FAULT)$/);
  t.same(lines.slice(0, -2), [
    'big: E2BIG',
    'fault: EFAULT',
    'command: EINVAL',
    'foreign: EINVAL',
    'value: EFAULT',
    'key: EFAULT',
    'mmap: ENOTSUPP',
    'own mmap: ok',
  ]);
  t.match(errors, /bpf command 60000 is not in the command table/);
  const doors = lines.slice(-2);
  if (doors[0] === 'i386 bpf: no such door') return;
  t.same(doors, ['i386 bpf: EOPNOTSUPP', 'i386 io_uring_setup: ENOSYS']);
  t.match(errors, /32-bit program is refused/);
});

t.test(
  'a refusal is told before the program goes on, however slow the one who tells',
  async (t) => {
    const path = join(cache, 'told');
    const wait = new Int32Array(new SharedArrayBuffer(4));
    const refused = (error: Error) => {
      Atomics.wait(wait, 0, 0, SLOW_TELLER_MS);
      appendFileSync(path, `${error.message}\n`);
    };
    // The shell has the file open before: the supervisor has no part in the second line.
    const words = `exec 3>>${path}; true >/sys/kernel/tracing/tracing_on; echo after it >&3`;
    const session = await Session.connect(address);
    t.teardown(() => session.close());
    await supervise(session, ['sh', '-c', `{ ${words}; } 2>/dev/null`], { refused });
    t.match(readFileSync(path, 'utf8'), /^writing to .* is refused.*\nafter it\n$/);
  },
);

t.test('a kernel is asked once what it can do', async (t) => {
  // The sessions of the programs before end in their own time.
  await until('the end of all sessions', () => agent.sessions === 0);
  const calls: number[] = [];
  agent.on('ended', ({ report }) => calls.push(report?.calls ?? 0));
  const first = await run(program.path, 'probes');
  t.match(first.output, /^probes: \d+ accepted, one used\n$/);
  const again = await run(program.path, 'probes');
  t.equal(again.output, first.output);
  await until('the end of both sessions', () => calls.length === 2);
  const [asked = 0, later = 0] = calls;
  t.ok(asked >= 60, `${asked} calls at first`);
  t.ok(later < 10, `${later} calls later`);
});

t.test('what a kernel said before is what it would say', async (t) => {
  // The local agent's kernel is this machine's.
  const expected = execFileSync(program.path, ['logs'], { encoding: 'utf8' });
  const output = async () => (await run(program.path, 'logs')).output;
  t.equal(await output(), expected, 'at first');
  t.equal(await output(), expected, 'from the cache');
  const copy = async () => {
    const files = await readdir(cache, { recursive: true });
    return join(cache, files.find((name) => /verdicts=\d+$/.test(name)) ?? '');
  };
  const whole = readFileSync(await copy());
  const replace = async (bytes: Uint8Array) => {
    const path = await copy();
    rmSync(path);
    // A file with another length than its name says would not even be read.
    writeFileSync(path.replace(/\d+$/, `${bytes.length}`), bytes);
  };
  await replace(whole.subarray(0, whole.length / 2));
  t.equal(await output(), expected, 'from half of the file');
  t.ok(readFileSync(await copy()).length > whole.length / 2, 'the rest was learnt again');

  for (const [what, at] of [
    ['a region', 0],
    ['an offset', 4],
    ['a length', 8],
  ] as const) {
    const damaged = Buffer.from(whole);
    let changed = 0;
    for (let entry = 12 + damaged.readUInt32LE(8); entry < damaged.length; ) {
      const key = damaged.readUInt32LE(entry);
      const writes = damaged.readUInt32LE(entry + 8);
      if (writes > 0) {
        damaged.writeUInt32LE(0xfffffff0, entry + 12 + key + at);
        changed++;
      }
      entry += 12 + key + writes;
    }
    t.ok(changed > 100);
    await replace(damaged);
    t.equal(await output(), expected, `${what} that no call has`);
  }
});

t.test('runs once for each guest, and says whose a line is', async (t) => {
  const { output, status } = await startWith(['--vm', address], 'uname', '-n').ended;
  t.equal(status, 0);
  t.same(output.trim().split('\n'), [`${address} | ${hostname()}`, `${address} | ${hostname()}`]);
});

t.test('is told that it runs on the kernel of the guest', async (t) => {
  const session = await Session.connect(address);
  const { release } = session.kernel;
  session.close();
  t.equal((await run('uname', '-nr')).output, `${hostname()} ${release}\n`);
});

t.test('nothing stays behind', async (t) => {
  t.test('when the program is killed', async (t) => {
    const { child, ended } = start(program.path, 'wait');
    await once(child.stdout, 'data');
    t.ok((await mapNames()).includes(mapName));
    const [pid] = (await run('pgrep', '-P', String(child.pid))).output.split('\n');
    process.kill(Number(pid), 'SIGKILL');
    t.equal((await ended).status, 128 + 9);
    await t.resolves(mapIsGone());
  });
  t.test('when waep is killed', async (t) => {
    const { child, ended } = start(program.path, 'wait');
    await once(child.stdout, 'data');
    const [pid] = (await run('pgrep', '-P', String(child.pid))).output.split('\n');
    let told = '';
    child.stderr.on('data', (text: string) => {
      told += text;
    });
    child.kill('SIGKILL');
    await until('a line that says so', () => /what answers for .* has ended/.test(told));
    process.kill(Number(pid), 'SIGKILL');
    await ended;
    await t.resolves(mapIsGone());
  });
});
