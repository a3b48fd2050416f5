import { test } from 'tap';
import { encodeVerdicts, type Verdict, VerdictFile } from '../../src/run/verdicts.js';

const bytes = (...values: number[]) => Uint8Array.from(values);
const verdicts: [string, Verdict][] = [
  ['\x00\xff key', [22, [bytes(1, 2, 3), bytes()]]],
  ['another', [0, []]],
  ['', [7, [bytes(9)]]],
];

function read(file: Uint8Array) {
  return [...new VerdictFile(file)].map(([key, [errno, outputs]]) => [
    key,
    [errno, outputs.map((output) => [...output])],
  ]);
}

test('verdicts are read as they were written', (t) => {
  const file = new VerdictFile(encodeVerdicts(verdicts));
  t.equal(file.size, 3);
  t.ok(file.has('another'));
  t.notOk(file.has('none'));
  t.equal(file.get('none'), undefined);
  t.same(read(encodeVerdicts(verdicts)), [
    ['\x00\xff key', [22, [[1, 2, 3], []]]],
    ['another', [0, []]],
    ['', [7, [[9]]]],
  ]);
  t.end();
});

test('a damaged file is read up to the damage', (t) => {
  const whole = encodeVerdicts(verdicts);
  const all = read(whole);
  const counts = new Set<number>();
  for (let length = 0; length < whole.length; length++) {
    const found = read(whole.slice(0, length));
    t.same(found, all.slice(0, found.length), `${length} bytes of it`);
    counts.add(found.length);
  }
  t.same([...counts], [0, 1, 2]);
  for (let at = 0; at < whole.length; at++) {
    const damaged = whole.slice();
    damaged[at] = 0xff;
    t.ok(read(damaged).length <= 3, `byte ${at} is another`);
  }
  t.same(read(Buffer.from('{"of": "somebody else"}')), []);
  t.end();
});
