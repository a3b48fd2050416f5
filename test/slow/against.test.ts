import { execa } from 'execa';
import t from 'tap';
import { packageFolder } from '../../src/paths.js';

t.setTimeout(900_000);

const against = (...words: string[]) =>
  execa('node', ['dist/bench/main.js', '--against', ...words], {
    cwd: packageFolder,
    reject: false,
    all: true,
  });

t.test('nothing is slower than the same', async (t) => {
  const words = ['--only', 'software-overhead', '--quick', '--rounds', '12'];
  const { exitCode, stdout, all } = await against('HEAD', ...words);
  t.match(stdout, 'The same bench measured both.');
  t.match(stdout, /\| unix \| MAP_LOOKUP_ELEM, one core \|.*\| 12 \| not slower \|/);
  t.match(stdout, /nothing slower than HEAD$/, all);
  t.equal(exitCode, 0);
});

t.test('what is no revision is refused', async (t) => {
  const { exitCode, stderr } = await against('no-such-revision');
  t.match(stderr, 'Invalid --against: "no-such-revision". Expected a revision of this repository.');
  t.equal(exitCode, 1);
});
