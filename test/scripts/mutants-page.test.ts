import t from 'tap';

const path = '../../../scripts/mutants/page.mjs';
const { render, shareOf } = await import(new URL(path, import.meta.url).href);

const result = {
  folder: 'frame',
  files: ['a', 'b'],
  tree: 'abc1234',
  machine: '2 × a processor, Linux 6.1',
  node: 'v20.0.0',
  minutes: 5,
  tests: ['test/frame/call'],
  mutants: {
    'src/frame/a.ts': { Killed: 6, Timeout: 1, Survived: 2, NoCoverage: 1, RuntimeError: 4 },
    'src/frame/b.ts': { Killed: 10 },
  },
  unnoticed: [
    { place: 'src/frame/a.ts:7', change: 'LogicalOperator', to: 'a || b', reached: true },
    { place: 'src/frame/a.ts:9', change: 'StringLiteral', to: '``', reached: false },
  ],
};

t.test('what cannot be run has no part in the share', async (t) => {
  t.equal(shareOf([{ Killed: 3, Timeout: 1, Survived: 1, RuntimeError: 9, Ignored: 9 }]), 80);
  t.equal(shareOf([{ Killed: 1, NoCoverage: 1 }]), 50);
});

t.test('the page counts by folder and by file, and lists what no test notices', async (t) => {
  const rows = render([result]).split('\n');
  for (const row of [
    '| **src/frame** | 85.0 % | 16 | 1 | 2 | 1 | 4 |',
    '| src/frame/a.ts | 70.0 % | 6 | 1 | 2 | 1 | 4 |',
    '| src/frame/b.ts | 100.0 % | 10 | 0 | 0 | 0 | 0 |',
    '| src/frame/a.ts:7 | LogicalOperator | `a \\|\\| b` |',
    '| src/frame/a.ts:9 | StringLiteral, reached by no test | `` `` `` |',
  ]) {
    t.ok(rows.includes(row), row);
  }
  t.match(
    render([result], ['src/frame/c.ts', 'src/frame/d.ts']),
    /^These files have no result yet: src\/frame\/c\.ts, src\/frame\/d\.ts\.$/m,
  );
  const { length } = rows;
  t.ok(render([{ ...result, unnoticed: [] }]).split('\n').length < length);
});
