/* Runs the tests of a Go package on a side. */
import type { Side } from '../compat/sides.js';
import { parseGoTest, type Tested, testOf } from './go-test.js';

/** After this time a Go test program ends itself. An emulated guest is slow. */
const LIMIT_S = 300;

/**
 * Runs all tests of a package. A test that ends its program is a crash, and the tests after it run
 * in a new program.
 *
 * @param folder the folder of the program, with its data
 * @param only which tests to run, by `PACKAGE/TEST`
 */
export async function playPackage(
  name: string,
  folder: string,
  side: Side,
  only: (name: string) => boolean,
): Promise<Tested[]> {
  const run = async (args: string) => {
    const started = await side.start(`cd '${folder}' && exec ./tests ${args}`);
    const [out, errors] = await Promise.all([started.stdout, started.stderr, started.ended]);
    return { out, errors };
  };
  const { out: list, errors } = await run(`-test.list '^(Test|Example|Fuzz)'`);
  const all = list.split('\n').filter((line) => /^(Test|Example|Fuzz)/.test(line));
  if (all.length === 0) throw new Error(`${name} lists no tests: ${errors || list}`);
  const tested: Tested[] = [];
  let waiting = all.filter((test) => only(`${name}/${test}`));
  while (waiting.length > 0) {
    const pattern = `^(${waiting.join('|')})$`;
    const { out, errors } = await run(`-test.v -test.timeout ${LIMIT_S}s -test.run '${pattern}'`);
    const now = parseGoTest(out).map((test) =>
      test.outcome === 'crash' ? { ...test, output: `${test.output}\n${errors}`.trim() } : test,
    );
    const begun = new Set(now.map((test) => testOf(test.name)));
    // Examples without a stated output are listed, and do not run.
    if (begun.size === 0) break;
    tested.push(...now);
    waiting = waiting.filter((test) => !begun.has(test));
  }
  return tested;
}
