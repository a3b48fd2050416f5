import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import t from 'tap';
import { allExperiments } from '../../bench/experiments/index.js';
import { Store } from '../../bench/store.js';
import { columns } from '../../bench/table.js';
import { runTables } from '../../bench/terminal.js';
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
  const plain = list({});
  t.equal(stripVTControlCharacters(list({ FORCE_COLOR: '1' })), plain, 'colours move nothing');
});

t.test('what the bench prints fits into 80 columns', async (t) => {
  const store = Store.of('full');
  const tooWide = (text: string) =>
    stripVTControlCharacters(text)
      .split('\n')
      .filter(({ length }) => length > 80);
  t.same(tooWide(list({})), [], '--list');
  for (const experiment of allExperiments) {
    for (const run of await store.runs(experiment)) {
      t.same(
        tooWide(runTables(await store.read(experiment, run))),
        [],
        `${experiment.name} ${run}`,
      );
    }
  }
});

t.test('cells are aligned', async (t) => {
  t.equal(
    columns([
      ['a', 'b'],
      ['\u001b[1mlong\u001b[22m', 'c'],
    ]),
    'a     b\n\u001b[1mlong\u001b[22m  c',
  );
});
