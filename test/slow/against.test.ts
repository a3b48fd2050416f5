import { execa } from 'execa';
import t from 'tap';
import { packageFolder } from '../../src/paths.js';

t.setTimeout(3_600_000);

const against = (...words: string[]) =>
  execa('node', ['dist/bench/main.js', '--against', ...words], {
    cwd: packageFolder,
    reject: false,
    all: true,
  });

t.test('a revision is compared with itself', async (t) => {
  const words = ['--only', 'software-overhead', '--quick', '--rounds', '12'];
  const { exitCode, stdout, all } = await against('HEAD', ...words);
  t.match(stdout, 'The same bench measured both.');
  const row =
    /\| unix \| MAP_LOOKUP_ELEM, one core \|.*\| ([\d.]+) … ([\d.]+) \| 12 \| (not )?slower \|/;
  const [, low, high] = row.exec(stdout)?.map(Number) ?? [];
  // Where others are at work, the same may be slower than itself, but not by as much.
  t.ok(Number(low) < 2 && Number(high) > 0.5, all);
  const isSlower = /^slower than HEAD: /m.test(stdout);
  t.match(stdout, isSlower ? /^slower than HEAD: .* times$/m : /nothing slower than HEAD$/, all);
  t.equal(exitCode, isSlower ? 1 : 0);
});

t.test('what is no revision is refused', async (t) => {
  const { exitCode, stderr } = await against('no-such-revision');
  t.match(stderr, 'Invalid --against: "no-such-revision". Expected a revision of this repository.');
  t.equal(exitCode, 1);
});
