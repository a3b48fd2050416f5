import t from 'tap';
import { causes, compare, isUnexplained, type Result } from './compare.js';
import { parseGoTest, type Tested } from './go-test.js';
import { pageOf } from './page.js';
import { playPackage } from './play.js';
import { ELSEWHERE, STALE } from './reasons.js';
import { playMapsTest, playProgsTest } from './selftests-test.js';
import { parseVerifierTest } from './verifier-test.js';

const OUTPUT = `=== RUN   TestMap
=== RUN   TestMap/hash
=== RUN   TestMap/array
    map_test.go:7: no arrays
=== CONT  TestMap
    map_test.go:9: the end
--- FAIL: TestMap (0.03s)
    --- PASS: TestMap/hash (0.01s)
    --- FAIL: TestMap/array (0.02s)
=== RUN   ExampleMap
printed--- PASS: ExampleMap (0.00s)
=== RUN   TestLast
    map_test.go:11: starting
`;

t.test('the output of a Go test program is read test by test', async (t) => {
  t.same(parseGoTest(OUTPUT), [
    { name: 'TestMap', outcome: 'fail', output: 'map_test.go:9: the end' },
    { name: 'TestMap/hash', outcome: 'pass', output: '' },
    { name: 'TestMap/array', outcome: 'fail', output: 'map_test.go:7: no arrays' },
    { name: 'ExampleMap', outcome: 'pass', output: '' },
    { name: 'TestLast', outcome: 'crash', output: 'map_test.go:11: starting' },
  ]);
});

const tested = (outcomes: Record<string, Tested['outcome']>): Tested[] =>
  Object.entries(outcomes).map(([name, outcome]) => ({ name, outcome, output: `${name} speaks` }));

/** Tests of `link` that end like this within the guest, if not otherwise said as in the guest. */
function compared(
  guest: Record<string, Tested['outcome']>,
  host: Record<string, Tested['outcome']>,
  within = guest,
  patient: Record<string, Tested['outcome']> = {},
) {
  return compare('6.1', 'link', {
    patient: tested(patient),
    guest: tested(guest),
    within: tested(within),
    host: tested(host),
  });
}

t.test('a difference is told once, at the test that causes it', async (t) => {
  const failing = compared(
    { TestA: 'pass', 'TestA/one': 'pass', 'TestA/two': 'pass' },
    { TestA: 'fail', 'TestA/one': 'pass', 'TestA/two': 'fail' },
    { TestA: 'fail', 'TestA/one': 'pass', 'TestA/two': 'fail' },
  );
  t.match(causes(failing), [{ test: 'TestA/two', said: 'TestA/two speaks' }]);
  t.equal(failing.filter(isUnexplained).length, 2);

  const early = compared({ TestA: 'pass', 'TestA/one': 'pass' }, { TestA: 'fail' });
  t.match(causes(early), [{ test: 'TestA', guest: 'pass', host: 'fail' }]);

  const skipped = compared({ TestA: 'fail' }, { TestA: 'skip' });
  t.match(causes(skipped), [{ test: 'TestA', guest: 'fail', host: 'skip' }]);
  t.same(causes(compared({ TestA: 'fail' }, { TestA: 'fail' })), []);
});

t.test('a test that differs from the host alone differs because of the place', async (t) => {
  const passing = { TestA: 'pass', 'TestA/one': 'pass' } as const;
  t.match(compared(passing, { TestA: 'fail' }), [
    { test: 'TestA', within: 'pass', host: 'fail', why: ELSEWHERE },
    { test: 'TestA/one', within: 'pass', host: 'missing', why: ELSEWHERE },
  ]);
  t.match(compared({ TestA: 'pass' }, { TestA: 'fail' }, { TestA: 'fail' }), [{ why: '' }]);
});

t.test('a test that passes within the guest if it waits, differs because of copies', async (t) => {
  const [passing, failing] = [{ TestA: 'pass' }, { TestA: 'fail' }] as const;
  t.match(compared(passing, failing, failing, passing), [{ patient: 'pass', why: STALE }]);
  t.match(compared(passing, failing, failing, failing), [{ patient: 'fail', why: '' }]);
});

t.test('a difference within the guest is not explained by one from the host', async (t) => {
  const results = compared(
    { TestA: 'pass', 'TestA/one': 'pass' },
    { TestA: 'fail', 'TestA/one': 'fail' },
    { TestA: 'fail', 'TestA/one': 'pass' },
  );
  t.match(causes(results), [
    { test: 'TestA', why: '' },
    { test: 'TestA/one', why: ELSEWHERE },
  ]);
  t.ok(isUnexplained(results[0] as Result));
});

/** A side on which commands print these texts, one after the other. */
function saying(outputs: readonly string[], errors = '') {
  const commands: string[] = [];
  const side = {
    name: 'guest',
    async start(command: string) {
      commands.push(command);
      const stdout = Promise.resolve(outputs[commands.length - 1] ?? '');
      const stderr = Promise.resolve(errors);
      return { stdout, stderr, ended: Promise.resolve('2'), kill: () => {} };
    },
  } as const;
  return { side, commands };
}

t.test('the tests after one that ends its program run in a new program', async (t) => {
  const outputs = [
    'TestA\nTestB\nTestC\nBenchmarkD\n',
    '=== RUN   TestA\n--- PASS: TestA (0.00s)\n=== RUN   TestB\n',
    '=== RUN   TestC\n--- PASS: TestC (0.00s)\n',
  ];
  const { side, commands } = saying(outputs, 'panic: no memory');
  const results = await playPackage('root', '/suite', side, () => true);
  t.match(results, [
    { name: 'TestA', outcome: 'pass' },
    { name: 'TestB', outcome: 'crash', output: 'panic: no memory' },
    { name: 'TestC', outcome: 'pass' },
  ]);
  t.match(commands, [/-test\.list/, /'\^\(TestA\|TestB\|TestC\)\$'/, /'\^\(TestC\)\$'/]);
});

t.test('the output of test_verifier is read test by test', async (t) => {
  const text = [
    '#0/u add+sub+mul OK',
    '#0/p calls: two or/and three OK (2 cases)',
    '#1/u loops: SKIP is no end SKIP',
    '#1/p calls: four FAIL',
    'Unexpected verifier log!',
    '#2/p calls: five FAIL',
    '#3/p calls: last ',
    'Summary: 2 PASSED, 1 SKIPPED, 2 FAILED',
  ].join('\n');
  t.match(parseVerifierTest(text), [
    { name: 'others/0u add+sub+mul', outcome: 'pass' },
    { name: 'calls/0p calls: two or or and three', outcome: 'pass' },
    { name: 'loops/1u loops: SKIP is no end', outcome: 'skip' },
    { name: 'calls/1p calls: four', outcome: 'fail', output: 'Unexpected verifier log!' },
    { name: 'calls/2p calls: five', outcome: 'fail' },
    { name: 'calls/3p calls: last', outcome: 'crash' },
  ]);
});

t.test('the output of test_maps is read test by test', async (t) => {
  const text = [
    ...['=== preallocated/hashmap', 'Failed to create hashmap', '', '--- preallocated/hashmap 256'],
    ...['=== others/sk_storage_map', 'no sockets', '', '--- others/sk_storage_map 19712'],
    ...['=== others/map_in_map', '', '--- others/map_in_map 0'],
    '=== others/last',
  ].join('\n');
  t.same(await playMapsTest('/tests', saying([text]).side, (name) => name !== 'others/last'), [
    { name: 'preallocated/hashmap', output: 'Failed to create hashmap', outcome: 'fail' },
    { name: 'others/sk_storage_map', output: 'no sockets', outcome: 'skip' },
    { name: 'others/map_in_map', output: '', outcome: 'pass' },
  ]);
});

t.test('the output of test_progs is read test by test, with parts', async (t) => {
  const text = [
    ...['=== align', '#3       align:OK', 'Summary: 1/0 PASSED', '', '--- align 0', '=== cookie'],
    ...['#7/1     cookie/kprobe: all:OK', 'uprobe:FAIL: no link', '#7/2     cookie/uprobe:FAIL'],
    ...['#7       cookie:FAIL', '', 'All error logs:', 'uprobe:FAIL: no link'],
    ...['#7/2     cookie/uprobe:FAIL', '#7       cookie:FAIL', '', '--- cookie 1'],
    ...['=== hangs', '', '--- hangs 124', '=== dies', 'Caught signal #11!', '', '--- dies 139'],
  ].join('\n');
  const { side, commands } = saying(['align\ncookie\nhangs\ndies\nother\n', text]);
  t.match(await playProgsTest('/tests', side, (name) => name !== 'other'), [
    { name: 'align', outcome: 'pass', output: '' },
    { name: 'cookie/kprobe: all', outcome: 'pass' },
    { name: 'cookie/uprobe', outcome: 'fail', output: 'uprobe:FAIL: no link' },
    { name: 'cookie', outcome: 'fail', output: '' },
    { name: 'hangs', outcome: 'crash', output: /^no end within \d+ s/ },
    { name: 'dies', outcome: 'crash', output: /^ended with status 139\nCaught signal #11!$/ },
  ]);
  t.match(commands, [/--list/, / align cookie hangs dies;/]);
});

t.test('the page names each test, by how it ended on all sides', async (t) => {
  const guest = { TestA: 'pass', 'TestA/one': 'pass', TestB: 'fail', TestC: 'skip' } as const;
  const results = compared(
    { ...guest, TestD: 'pass' },
    { ...guest, TestD: 'fail' },
    { ...guest, TestD: 'crash' },
  );
  const run = {
    ...{ name: '6.1', programs: ['link'], suite: 'a suite', kernel: '6.1.0' },
    ...{ kernelOrigin: 'a package', accel: 'tcg', at: '2026-01-01T00:00:00.000Z', tookS: 60 },
  };
  const page = pageOf({ runs: [run], results });
  t.match(
    page,
    '| Linux 6.1.0 (a package) on TCG | link | a suite | 2026-01-01T00:00:00.000Z | 60 s |',
  );
  t.match(page, '| link | 5 | 3 | 2 | 66.7 % | 2 | 66.7 % | 1 | 1 | 1 |');
  t.match(page, '| link | `TestD` | pass | crash | fail | not known: TestD speaks |');
  const older = results.map(({ within: _, ...result }) => result);
  t.match(
    pageOf({ runs: [run], results: older }),
    '| link | 5 | 3 | – | – | 2 | 66.7 % | 1 | 1 | 1 |',
  );
  t.match(page, /fail on all sides.*\n\n- link: `TestB`\n/);
  t.match(page, /skipped on all sides.*\n\n- link: `TestC`\n/);
  t.match(page, /pass on all sides.*\n\n- link: `TestA` \(1 part\)\n/);
});
