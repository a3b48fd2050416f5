import t from 'tap';
import { compare, worse } from './compare.js';
import { renderCompat } from './report.js';
import { failing, type Outcome, type Row, type RunInfo } from './row.js';

const outcome = (change: Partial<Outcome> = {}): Outcome => {
  return { ending: '0', stdout: 'one\n', stderr: '', tookMs: 1, left: [], ...change };
};
const row = (change: Partial<Row> = {}): Row => ({ tool: 'tool', command: 'tool 1', ...change });
const info = (change: Partial<RunInfo>): RunInfo => ({
  ...{ at: 'now', kernel: '6.1.0-57-cloud-amd64', kernelOrigin: 'a package', accel: 'tcg' },
  ...{ tookS: 1, rows: 1, host: 'not watched' },
  ...change,
});

t.test('a row that differs, or fails natively for a reason of its own, fails a run', async (t) => {
  const same = compare(row(), outcome(), outcome());
  t.match(same, { verdict: 'same', why: '' });
  t.notOk(failing.has(same.verdict));
  const different = compare(row(), outcome(), outcome({ stdout: 'two\n' }));
  t.equal(different.verdict, 'different');
  t.ok(failing.has(different.verdict));
  const [once, twice] = ['one\n\n', 'one\n\none\n\n'].map((stdout) => outcome({ stdout }));
  const ticking = compare(row({ compares: 'shape' }), once as Outcome, twice as Outcome);
  t.equal(ticking.verdict, 'same-but-volatile');

  const native = outcome({
    ending: '1',
    stdout: '',
    stderr: "fatal error: 'sys/socket.h' file not found\n",
  });
  const unequipped = compare(row({ mustWork: true }), native, native);
  t.match(unequipped, { verdict: 'failing-in-guest', why: /sys\/socket\.h/ });
  t.ok(failing.has(unequipped.verdict));

  const stderr = 'failed to attach BPF programs: -2\n';
  const lacking = outcome({ ending: '1', stdout: '', stderr });
  const known = row({ command: '/usr/sbin/xfsdist 1 1', mustWork: true });
  const unsupported = compare(known, lacking, lacking);
  t.match(unsupported, { verdict: 'unsupported-in-guest', why: /file system.*programs: -2/ });
  t.notOk(failing.has(unsupported.verdict));
});

t.test('a tool that fails on both sides counts apart, unless it is killed', async (t) => {
  const stderr = 'Error: no such thing\n';
  const fails = outcome({ ending: '255', stdout: '', stderr });
  const alike = compare(row(), fails, fails);
  t.match(alike, { verdict: 'failing-alike', why: 'Error: no such thing' });
  t.notOk(failing.has(alike.verdict));
  const other = compare(row(), fails, outcome({ ending: '255', stdout: 'one\n', stderr }));
  t.equal(other.verdict, 'failing-in-guest');
  const interrupted = outcome({ ending: '130' });
  t.equal(compare(row(), interrupted, interrupted).verdict, 'same');
  const killed = outcome({ ending: '137', stdout: '' });
  t.equal(compare(row({ watch: { signal: 'SIGKILL' } }), killed, killed).verdict, 'same');
});

t.test('the page says of each row what is compared, and counts what is whole', async (t) => {
  const rows = [
    row({ command: 'whole', volatile: ['id'] }),
    row({ command: 'no figures', volatile: ['number'] }),
    row({ command: 'some', compares: 'set', lines: /PID|COMM/i }),
    row({ command: 'kinds', compares: 'shape' }),
    row({ command: 'kill', watch: { signal: 'SIGKILL' } }),
  ];
  const results = rows.map((one) => compare(one, outcome(), outcome()));
  const page = renderCompat(results, [info({ at: '' })]);
  t.match(page, /^\| tool \| installed, Linux 6\.1 \| 5 \| 4 \| 1 \|( 0 \|){5} 1 \|$/m);
  const compared = Object.fromEntries(
    [
      ...page.matchAll(
        /^\| ``(.*)`` \| 1 \| \S+, .*? \| ok, 1 lines \| (.*?) \| (?:id|number)? \|/gm,
      ),
    ].map(([, command, words]) => [command, words]),
  );
  t.same(compared, {
    whole: 'lines',
    'no figures': 'lines, without figures',
    some: 'which lines there are of those that match `/PID\\|COMM/i`',
    kinds: 'which kinds of lines there are, without figures',
    kill: 'what it leaves in the guest',
  });
});

t.test('the page counts apart by the tools and by the kernel', async (t) => {
  const runs = [
    info({ at: 'first' }),
    info({ at: 'second', suite: 'sid', versions: 'tool 2' }),
    info({ at: 'third', suite: 'sid', versions: 'tool 2', kernel: '7.2.13+deb14-cloud-amd64' }),
    info({ at: 'fourth', kernel: '6.1.1' }),
  ];
  const page = renderCompat(
    runs.map(({ at }) => compare(row(), outcome(), outcome(), at)),
    runs,
  );
  for (const [kind, commands] of [
    ['installed, Linux 6.1', 2],
    ['sid, Linux 6.1', 1],
    ['sid, Linux 7.2', 1],
  ]) {
    t.match(page, `\n| tool | ${kind} | ${commands} | ${commands} | 0 |`);
    t.match(page, `\n## tool (${kind})\n`);
  }
  t.match(page, '| sid: tool 2 | Linux 7.2.13+deb14-cloud-amd64 ');
});

t.test('a row is run without a standby and with one, and is as good as the worse', async (t) => {
  const same = compare(row(), outcome(), outcome());
  t.match(worse(same, { ...same, host: 'ok, 2 lines' }), { ...same, standby: 'ok, 2 lines' });
  const busy = outcome({ left: ['a processor at work for 99 %'] });
  const different = compare(row(), outcome(), busy);
  t.match(different, { verdict: 'different', why: /it leaves a processor at work/ });
  t.match(worse(same, different), { verdict: 'different', why: /^with a standby: it leaves/ });
  t.match(worse(different, same), { verdict: 'different', why: /^without a standby: it leaves/ });
  const fails = (stderr: string) => compare(row(), outcome(), outcome({ ending: '1', stderr }));
  t.equal(fails('waep: a file cannot be compared\n').verdict, 'different');
  const refused = fails('waep: it is refused: no\n');
  t.equal(refused.verdict, 'refused');
  t.match(worse(same, refused), { verdict: 'different', why: /^with a standby: it is refused/ });
});
