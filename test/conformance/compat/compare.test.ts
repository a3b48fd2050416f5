import t from 'tap';
import { compare, worse } from './compare.js';
import { failing, type Outcome, type Row } from './row.js';

const outcome = (change: Partial<Outcome> = {}): Outcome => {
  return { ending: '0', stdout: 'one\n', stderr: '', tookMs: 1, left: [], ...change };
};
const row = (change: Partial<Row> = {}): Row => ({ tool: 'tool', command: 'tool 1', ...change });

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
