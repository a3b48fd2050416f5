import { execFile, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify, stripVTControlCharacters } from 'node:util';
import t from 'tap';
import { columnsOf, cut, table, wrapped } from '../../cli/text.js';
import { packageFolder } from '../../src/paths.js';

const cli = fileURLToPath(new URL('../../cli/waep.cjs', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'waep-screens-'));
chmodSync(folder, 0o755);
t.teardown(() => rmSync(folder, { recursive: true, force: true }));

/** What `waep` prints in a pipe, and its exit status; by another user with `setpriv`. */
function waep(words: readonly string[], before: readonly string[] = []) {
  const [file = '', ...args] = [...before, process.execPath, cli, ...words];
  const { stdout, stderr, status } = spawnSync(file, args, {
    encoding: 'utf8',
    env: { ...process.env, WAEP_CACHE_DIR: join(folder, 'cache'), NODE_OPTIONS: '' },
  });
  return { output: stdout, errors: stderr, status };
}

t.test('the help has its commands in groups, and fits into 80 columns', async (t) => {
  const { output } = waep(['--help']);
  const [, groups = ''] = output.split('\nRun programs on a guest:\n');
  const commands = [...groups.matchAll(/^ {2}([\w-]+)[^\n]* {2}\S/gm)].map(([, name]) => name);
  t.same(commands.slice(0, 12), [
    ...['run', 'standby'],
    ...['hello', 'ping', 'trace', 'stream', 'preflight'],
    ...['vm', 'doctor', 'vsock-device'],
    ...['policy', 'keys'],
  ]);
  t.match(output, /^Examples:\n( {2}waep .*\n){3}/m);
  for (const line of output.split('\n')) t.ok(line.length <= 80, line);
});

/** The screens of all commands, on a terminal of a width. */
async function screens(width: number, colours: Record<string, string>): Promise<string> {
  const { NO_COLOR: _, FORCE_COLOR: __, CI: ___, ...env } = process.env;
  const program = fileURLToPath(new URL('screens.js', import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [program, `${width}`], {
    env: { ...env, ...colours },
  });
  return stdout;
}

t.test('the screens are those that somebody has looked at', async (t) => {
  const kept = (name: string) =>
    readFileSync(join(packageFolder, `test/cli/screens/${name}.txt`), 'utf8');
  const [narrow, usual, wide, coloured] = await Promise.all([
    screens(40, { NO_COLOR: '1' }),
    screens(80, { NO_COLOR: '1' }),
    screens(120, { NO_COLOR: '1' }),
    screens(40, { FORCE_COLOR: '1' }),
  ]);
  t.equal(narrow, kept('40'));
  t.equal(usual, kept('80'));
  t.equal(wide, kept('120'));
  t.equal(coloured, kept('colours'));
  t.equal(stripVTControlCharacters(coloured), narrow, 'colours move nothing');
  for (const [width, text] of [
    [80, usual],
    [120, wide],
  ] as const) {
    const lines = text.split('\n').filter((line) => !line.startsWith('# '));
    t.same(
      lines.filter((line) => columnsOf(line) > width),
      [],
    );
  }
});

t.test('texts are broken and cut by the columns that they take', async (t) => {
  t.same(wrapped('地図 and a word', 8), ['地図 and', 'a word']);
  t.same(wrapped('地図地図地', 5), ['地図', '地図', '地'], 'a wide character is not halved');
  t.same(wrapped('e\u0301e\u0301', 1), ['e\u0301', 'e\u0301'], 'nor one of two code points');
  t.same(wrapped('one two', 5, 3), ['', 'one', 'two'], 'the first line may have less room');
  t.equal(cut('地図地図', 8), '地図地図');
  t.equal(cut('地図地図', 7), '地図地…');
  const rows = [
    ['地図', 'many words in a cell', 'c'],
    ['b', 'few', 'd'],
  ];
  t.equal(table(rows, 40), '地図  many words in a cell  c\nb     few                   d');
  t.equal(table(rows, 20), '地図  many words   c\n      in a cell\nb     few          d');
  t.equal(table(rows, 8), '地図\n  many\n  words\n  in a\n  cell\n  c\nb\n  few\n  d');
});

t.test('a connection that cannot be made says what to do', async (t) => {
  const nothing = join(folder, 'nothing');
  const locked = join(folder, 'locked');
  const server = createServer().listen(locked);
  await once(server, 'listening');
  t.teardown(() => server.close());
  chmodSync(locked, 0o600);

  const { errors, status } = waep(['ping', `unix:${nothing}`]);
  t.equal(status, 1);
  t.equal(
    errors,
    `waep: unix:${nothing}: connect ENOENT ${nothing}. There is no such socket. Is the guest, or its agent, still running? "waep vm" boots a guest, and prints the address of its agent.\n`,
  );
  t.match(waep(['ping', 'tcp:127.0.0.1:1']).errors, /ECONNREFUSED .*Nobody listens there\. /);
  t.match(waep(['ping', 'vsok:3:1024']).errors, '(did you mean vsock?)');
  t.match(waep(['ping', '']).errors, 'it is empty');
  const deaf = waep(['preflight', '--vm', `unix:${locked}`, '--connect-timeout', '100ms']);
  t.equal(deaf.status, 1);
  t.match(deaf.errors, /within 100 ms\. .* needs a longer --connect-timeout/);
  const skip =
    process.geteuid?.() === 0 ? false : 'only root can make a socket of another (try: sudo)';
  await t.test('to a socket of another user', { skip }, async (t) => {
    chownSync(locked, 65534, 65534);
    // What is left of root reads this package, and opens no socket of others.
    const bounded = ['setpriv', '--bounding-set=-dac_override,-dac_read_search'];
    const answer = waep(['ping', `unix:${locked}`], bounded);
    t.match(answer.errors, /EACCES .*The socket belongs to another user\. Connect as that user/);
  });
});
