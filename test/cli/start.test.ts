import { execFileSync } from 'node:child_process';
import {
  chmodSync,
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
