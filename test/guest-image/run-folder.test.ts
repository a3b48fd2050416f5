import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import t from 'tap';
import { makeRunFolder } from '../../guest/vm/rundir.js';
import { noSecondUser, scriptAsSecondUser } from '../second-user.js';
import { until } from '../until.js';

const rundir = new URL('../../guest/vm/rundir.js', import.meta.url).href;

/** Runs a program that makes a run folder with a sleeping child and then does as told. */
async function owner(then: string, through: readonly string[] = []) {
  const script = `
    import { spawn } from 'node:child_process';
    import { writeFileSync } from 'node:fs';
    import { makeRunFolder } from ${JSON.stringify(rundir)};
    const run = makeRunFolder();
    const child = spawn('sleep', ['60'], { stdio: 'ignore' });
    run.kill(child.pid);
    writeFileSync(run.path + '/log', 'kept');
    run.keep(run.path + '/log', run.path + '-kept');
    console.log(JSON.stringify({ path: run.path, child: child.pid }));
    ${then}`;
  const command = [...through, process.execPath, '--input-type=module', '-e', script];
  const program = spawn(command[0] ?? '', command.slice(1), {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [line] = await once(program.stdout, 'data');
  const facts: { path: string; child: number } = JSON.parse(String(line));
  t.teardown(() => {
    rmSync(facts.path, { recursive: true, force: true });
    rmSync(`${facts.path}-kept`, { force: true });
    program.kill('SIGKILL');
  });
  return { program, ...facts };
}

const scratch = mkdtempSync(join(tmpdir(), 'waep-test-'));
delete process.env.XDG_RUNTIME_DIR;
delete process.env.TMPDIR;
t.teardown(() => rmSync(scratch, { recursive: true }));

/** Runs `action` with this variable of the environment, which is not there otherwise. */
function withVariable<T>(name: 'TMPDIR' | 'XDG_RUNTIME_DIR', value: string, action: () => T): T {
  process.env[name] = value;
  try {
    return action();
  } finally {
    delete process.env[name];
  }
}

/** Whether a process runs; one that has ended and waits to be reaped does not. */
function runs(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(join('/proc', `${pid}`, 'status'), 'utf8'));
  } catch {
    return false;
  }
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  t.test(`${signal} removes the folder, ends its processes and then the program`, async (t) => {
    const { program, path, child } = await owner('setInterval(() => {}, 1000);');
    program.kill(signal);
    const [, how] = await once(program, 'exit');
    t.equal(how, signal);
    t.notOk(existsSync(path));
    await t.resolves(until('the end of its process', () => !runs(child)));
    t.equal(readFileSync(`${path}-kept`, 'utf8'), 'kept', 'files to keep are kept');
  });
}

t.test('so does an exception that nobody catches', async (t) => {
  const { program, path, child } = await owner(
    "setTimeout(() => { throw new Error('oops'); }, 50);",
  );
  await once(program, 'exit');
  t.notOk(existsSync(path));
  await t.resolves(until('the end of its process', () => !runs(child)));
});

t.test('what SIGKILL leaves is swept when the next folder is made', async (t) => {
  const { program, path, child } = await owner('setInterval(() => {}, 1000);');
  t.teardown(() => process.kill(child, 'SIGKILL'));
  program.kill('SIGKILL');
  await once(program, 'exit');
  t.ok(existsSync(path));
  const next = makeRunFolder();
  t.notOk(existsSync(path));
  t.ok(existsSync(next.path), 'its own is left alone');
  next.remove();
  t.notOk(existsSync(next.path));
});

const isRoot = process.geteuid?.() === 0;
const skip = isRoot ? false : 'run this test as root: it makes a PID namespace';

t.test('a run folder of another PID namespace is left alone', { skip }, async (t) => {
  const { path } = await owner('setInterval(() => {}, 1000);', [
    ...['unshare', '--pid', '--fork', '--kill-child'],
  ]);
  makeRunFolder().remove();
  t.ok(existsSync(path));
});

t.test('run folders lie where no other user can make one', (t) => {
  const uid = process.geteuid?.() ?? 0;
  const refused = { code: 'ERR_FOLDER_UNSAFE', message: /mode 0700.*XDG_RUNTIME_DIR/ };
  const canary = join(scratch, 'canary');
  const root = (name: string) => join(scratch, name, `waep-${uid}`);

  mkdirSync(join(scratch, 'linked'));
  mkdirSync(canary, { mode: 0o700 });
  symlinkSync(canary, root('linked'));
  withVariable('TMPDIR', join(scratch, 'linked'), () => {
    t.throws(makeRunFolder, refused);
  });
  t.strictSame(readdirSync(canary), [], 'links are not followed');

  mkdirSync(root('open'), { recursive: true });
  chmodSync(root('open'), 0o777);
  withVariable('TMPDIR', join(scratch, 'open'), () => {
    t.throws(makeRunFolder, refused);
  });

  mkdirSync(join(scratch, 'runtime'), { mode: 0o700 });
  withVariable('XDG_RUNTIME_DIR', join(scratch, 'runtime'), () => {
    const run = makeRunFolder();
    t.equal(dirname(run.path), join(scratch, 'runtime/waep'));
    run.remove();
    t.strictSame(readdirSync(join(scratch, 'runtime/waep')), [], 'its lock is gone, too');
  });
  t.end();
});

t.test('what others leave in the folder for temporary files does not matter', (t) => {
  const tmp = join(scratch, 'tmp');
  mkdirSync(join(tmp, 'waep-others'), { recursive: true });
  // A process that has ended, and a pipe that nobody writes to.
  writeFileSync(join(tmp, 'waep-others/owner'), '999999999\n');
  mkdirSync(join(tmp, 'waep-pipe'));
  execFileSync('mkfifo', [join(tmp, 'waep-pipe/owner')]);
  withVariable('TMPDIR', tmp, () => makeRunFolder().remove());
  t.ok(existsSync(join(tmp, 'waep-others/owner')));
  t.end();
});

t.test('another user who is first, or who comes later', { skip: noSecondUser }, async (t) => {
  const shared = mkdtempSync(join(tmpdir(), 'waep-shared-'));
  t.teardown(() => rmSync(shared, { recursive: true, force: true }));
  chmodSync(shared, 0o1777);
  const precious = join(scratch, 'precious');
  mkdirSync(join(precious, 'data'), { recursive: true });
  const taken = join(shared, 'waep-0');
  const attempt = (script: string, ...args: string[]) =>
    scriptAsSecondUser(`const fs = require('node:fs'); ${script}`, ...args);
  const unsafe = { code: 'ERR_FOLDER_UNSAFE' };

  // A lock that nobody holds has the folder of its name removed.
  writeFileSync(join(precious, 'data.lock'), '');
  await attempt('fs.symlinkSync(process.argv[1], process.argv[2]);', precious, taken);
  withVariable('TMPDIR', shared, () => t.throws(makeRunFolder, unsafe, 'a link of theirs'));
  t.ok(existsSync(join(precious, 'data')));
  rmSync(taken);

  await attempt(
    `const [, taken, precious] = process.argv;
     fs.mkdirSync(taken, { mode: 0o700 });
     fs.symlinkSync(precious, taken + '/data');
     require('node:child_process').execFileSync('mkfifo', [taken + '/data.lock']);`,
    taken,
    precious,
  );
  withVariable('TMPDIR', shared, () => t.throws(makeRunFolder, unsafe, 'a folder of theirs'));
  t.ok(existsSync(join(precious, 'data')));
  rmSync(taken, { recursive: true });

  const run = withVariable('TMPDIR', shared, makeRunFolder);
  for (const script of ['fs.readdirSync(path)', "fs.writeFileSync(path + '/x', '')"]) {
    const intrusion = attempt(`const [, path] = process.argv; ${script};`, taken);
    await t.rejects(intrusion, /EACCES/);
  }
  run.remove();
});

t.test('long paths of the folder for temporary files are not used', (t) => {
  const tmp = join(scratch, 'x'.repeat(60));
  mkdirSync(tmp);
  const run = withVariable('TMPDIR', tmp, makeRunFolder);
  t.equal(dirname(dirname(run.path)), '/tmp');
  run.remove();
  t.end();
});
