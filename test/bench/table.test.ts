import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import { packageFolder } from '../../src/paths.js';

/** What `--list` prints, with these variables about colours and no others. CI is one: it asks for colours. */
function list(variables: Record<string, string>): string {
  const { NO_COLOR: _, FORCE_COLOR: __, CI: ___, ...env } = process.env;
  return execFileSync(process.execPath, [join(packageFolder, 'dist/bench/main.js'), '--list'], {
    encoding: 'utf8',
    env: { ...env, ...variables },
  });
}

t.test('tables are coloured where they are to be', async (t) => {
  t.notMatch(list({}), '\u001b', 'not in a pipe');
  t.notMatch(list({ NO_COLOR: '1', TERM: 'xterm-256color' }), '\u001b');
  t.match(list({ FORCE_COLOR: '1' }), '\u001b');
});
