import t from 'tap';

const { render } = await import(new URL('../../../scripts/steady-page.mjs', import.meta.url).href);

const run = {
  tests: ['test/agent'],
  commit: 'abc1234',
  machine: '2 × a processor, Linux 6.1',
  node: 'v20.0.0',
  mounts: 'none',
  busy: 0,
  passed: 10,
  failed: 0,
  names: [],
  seconds: 5,
  load: 0.5,
};

t.test('the page says what was run how often, beside what, and what failed', async (t) => {
  const failed = { ...run, busy: 2, passed: 9, failed: 1, names: ['a > b'], seconds: 9, load: 3 };
  const page: string = render([run, { ...run, passed: 11 }, failed]);
  const rows = page.split('\n');
  const common = '| `test/agent` | abc1234 | v20.0.0 | nothing |';
  t.ok(rows.includes(`${common} nothing | 2 | 0 | 10 to 11 | 5 | 0.5 |`), page);
  t.ok(rows.includes(`${common} 2 loops | 1 | 1 | 9 | 9 | 3 |`), page);
  t.ok(rows.includes('| a > b | abc1234 | 1 | v20.0.0, nothing mounted, beside 2 loops |'), page);
  t.match(render([run]), /## What failed\n\nNothing\.\n$/);
});
