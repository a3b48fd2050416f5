import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'tap';

const repository = fileURLToPath(new URL('../../..', import.meta.url));
const cli = fileURLToPath(new URL('../../cli/waep.cjs', import.meta.url));

function help(cache: string): string {
  const env = { ...process.env, WAEP_CACHE_DIR: cache, NODE_OPTIONS: '' };
  return execFileSync(process.execPath, [cli, 'run', '--help'], { env, encoding: 'utf8' });
}

test('the command keeps its compiled code, and starts whatever it finds there', (t) => {
  const cache = mkdtempSync(join(tmpdir(), 'waep-code-'));
  t.teardown(() => rmSync(cache, { recursive: true, force: true }));
  const code = join(cache, 'code');
  const kept = join(code, 'run');
  const expected = help(cache);
  t.match(expected, /--vm <address>/);
  t.equal(statSync(kept).mode & 0o777, 0o600);
  t.same(readdirSync(code), ['run'], 'no drafts are left');
  const good = readFileSync(kept);
  const { ino } = statSync(kept);

  t.equal(help(cache), expected);
  t.equal(statSync(kept).ino, ino, 'what is good is not written again');

  const foreign = Buffer.from(good);
  foreign.write('["v0', 0, 'latin1');
  writeFileSync(kept, foreign);
  t.equal(help(cache), expected, 'code of another version');
  t.not(statSync(kept).ino, ino, 'is written again');

  writeFileSync(kept, good.subarray(0, good.length / 2));
  t.equal(help(cache), expected, 'half of it');
  const damaged = Buffer.from(good);
  const middle = Math.floor(good.length / 2);
  damaged.fill(0xff, middle, middle + 4096);
  writeFileSync(kept, damaged);
  t.equal(help(cache), expected, 'damaged');
  t.notOk(readFileSync(kept).equals(damaged), 'and made again');
  writeFileSync(kept, '');
  t.equal(help(cache), expected, 'nothing');

  chmodSync(kept, 0o666);
  const { ino: open } = statSync(kept);
  t.equal(help(cache), expected, 'what others may write');
  t.not(statSync(kept).ino, open, 'is replaced');

  rmSync(kept);
  chmodSync(code, 0o777);
  t.equal(help(cache), expected);
  t.same(readdirSync(code), [], 'nothing is kept where others may write');
  t.end();
});

test('waep run starts without the code of other subcommands', (t) => {
  const tree = mkdtempSync(join(tmpdir(), 'waep-alone-'));
  t.teardown(() => rmSync(tree, { recursive: true, force: true }));
  for (const part of ['package.json', 'dist/cli']) {
    cpSync(join(repository, part), join(tree, part), { recursive: true });
  }
  rmSync(join(tree, 'dist/cli/command.cjs'));
  const start = (...words: string[]) =>
    spawnSync(process.execPath, [join(tree, 'dist/cli/waep.cjs'), ...words], {
      env: { PATH: process.env.PATH, WAEP_CACHE_DIR: join(tree, 'cache') },
      encoding: 'utf8',
    });
  const { status, stdout, stderr } = start('run', '--help');
  t.equal(status, 0);
  t.match(stdout, /--vm <address>/);
  t.equal(stderr, '');
  t.match(start('hello', '--help').stderr, /command\.cjs/, 'the others share theirs');
  const bytes = (name: string) => statSync(join(repository, 'dist/cli', name)).size;
  t.ok(bytes('run.cjs') < 0.6 * bytes('command.cjs'), `${bytes('run.cjs')} bytes`);
  t.end();
});

test('there is a place for what is kept, whatever the user has for a home', (t) => {
  const temporary = mkdtempSync(join(tmpdir(), 'waep-home-'));
  t.teardown(() => rmSync(temporary, { recursive: true, force: true }));
  const { WAEP_CACHE_DIR: _, XDG_CACHE_HOME: __, HOME: ___, ...rest } = process.env;
  const start = (env: NodeJS.ProcessEnv) =>
    execFileSync(process.execPath, [cli, 'run', '--help'], {
      env: { ...rest, TMPDIR: join(temporary, 'missing'), NODE_OPTIONS: '', ...env },
      encoding: 'utf8',
      cwd: temporary,
    });
  for (const HOME of ['', '/dev/null', '/nonexistent', 'relative']) {
    t.match(start({ HOME }), /--vm <address>/, `HOME=${HOME}`);
  }
  const folder = join(temporary, 'missing', `waep-${process.getuid?.()}`);
  t.same(readdirSync(join(folder, 'cache/code')), ['run']);
  start({ WAEP_CACHE_DIR: 'here' });
  t.same(readdirSync(join(temporary, 'here/code')), ['run'], 'relative to where it was started');
  t.end();
});

test('a user who is in no list of users is served like any other', {
  skip: process.getuid?.() !== 0 && 'it takes root to be another user',
}, (t) => {
  const temporary = mkdtempSync(join(tmpdir(), 'waep-nameless-'));
  t.teardown(() => rmSync(temporary, { recursive: true, force: true }));
  // This tree may be where only its owner can read.
  const tree = join(temporary, 'tree');
  for (const part of ['package.json', 'dist/cli', 'build/Release/waep.node']) {
    cpSync(join(repository, part), join(tree, part), { recursive: true });
  }
  chmodSync(temporary, 0o755);
  const own = join(temporary, 'own');
  mkdirSync(own);
  chmodSync(own, 0o1777);
  const nameless = '54321';
  const ids = ['--reuid', nameless, '--regid', nameless, '--clear-groups'];
  const start = (...words: string[]) =>
    spawnSync('setpriv', [...ids, process.execPath, join(tree, 'dist/cli/waep.cjs'), ...words], {
      env: { PATH: process.env.PATH, TMPDIR: own, NO_COLOR: '1' },
      encoding: 'utf8',
      cwd: '/',
    });
  const help = start('run', '--help');
  t.match(help.stdout, /--vm <address>/);
  t.equal(help.stderr, '');
  t.same(readdirSync(own), [`waep-${nameless}`]);
  const ping = start('ping', 'unix:/nonexistent');
  t.match(ping.stderr, /^waep: unix:\/nonexistent: connect ENOENT [^\n]*\n$/);
  t.equal(ping.status, 1);
  t.end();
});

test('a place where the kernel makes no folders is named', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'waep-file-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, 'file'), '');
  const missing = join(folder, 'missing');
  const start = (cache: string, ...words: string[]) =>
    spawnSync(process.execPath, [cli, ...words], {
      encoding: 'utf8',
      env: { ...process.env, WAEP_CACHE_DIR: cache },
      timeout: 120_000,
    });
  // Node's own way to make a folder never ends below /proc.
  for (const cache of ['/proc/waep/deep', join(folder, 'file/deep'), join(folder, 'file')]) {
    const help = start(cache, 'keys', '--help');
    t.equal(help.stderr, '', 'what needs no folder does without');
    t.equal(help.status, 0);
    const booting = start(cache, 'vm');
    t.match(
      booting.stderr,
      /^(· .*\n)?waep: The folder .* Name another folder in WAEP_CACHE_DIR\.\n$/,
    );
    t.equal(booting.status, 1);
  }
  // Without any folder, nothing is kept anywhere.
  const { WAEP_CACHE_DIR: _, XDG_CACHE_HOME: __, ...rest } = process.env;
  const nowhere = { ...rest, HOME: '', TMPDIR: '/proc/waep' };
  const words = [cli, 'keys', '--help'];
  const before = existsSync('/nonexistent');
  const without = spawnSync(process.execPath, words, { encoding: 'utf8', env: nowhere });
  t.match(without, { status: 0, stderr: '' });
  t.equal(existsSync('/nonexistent'), before, 'nor in a folder that was thought not to be there');
  const keys = start(missing, 'keys', '/proc/waep');
  t.match(
    keys.stderr,
    'waep: The folder /proc/waep cannot be made: no folder can be made in /proc (ENOENT). Choose another folder for the keys.',
  );
  const vm = start(missing, 'vm', '--policy', folder);
  t.match(
    vm.stderr,
    `waep: Invalid --policy: "${folder}". Expected a policy file; this is a folder.`,
  );
  const modules = start(missing, 'vm', '--kernel', cli, '--modules', cli);
  t.match(modules.stderr, `Invalid modules: "${cli}". Expected the folder /lib/modules`);
  t.end();
});

test('a closed pipe ends the command without a word, and a full disk with one', (t) => {
  const start = (shell: string) =>
    spawnSync('bash', ['-o', 'pipefail', '-c', shell], {
      encoding: 'utf8',
      env: { ...process.env, NODE: process.execPath, CLI: cli },
    });
  const closed = start('"$NODE" "$CLI" doctor --json | true');
  t.equal(closed.stderr, '');
  t.ok([0, 1, 141].includes(closed.status ?? -1));
  const full = start('"$NODE" "$CLI" ping --json unix:/nonexistent/socket >/dev/full');
  t.match(full.stderr, /^waep: standard output: .*ENOSPC.*\n$/);
  t.equal(full.status, 1);
  t.end();
});
