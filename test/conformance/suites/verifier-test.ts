/* Runs the kernel's own test_verifier, and reads its output. */
import type { Side } from '../compat/sides.js';
import type { Outcome, Tested } from './go-test.js';

/** A test that does not end is a failure of the run. */
const LIMIT_S = 900;

/** Runs the test. It cannot choose tests by their names, so all run if one is wanted. */
export async function playVerifierTest(
  folder: string,
  side: Side,
  only: (name: string) => boolean,
): Promise<Tested[]> {
  const started = await side.start(`exec timeout ${LIMIT_S} '${folder}/test_verifier'`);
  const [text, errors] = await Promise.all([started.stdout, started.stderr, started.ended]);
  if (!/^Summary: /m.test(text)) throw new Error(`test_verifier does not end: ${errors || text}`);
  return parseVerifierTest(text).filter(({ name }) => only(name));
}

/**
 * Reads the output of test_verifier. The name of a test is its subject, its number and its
 * description. `p` behind the number stands for a privileged user, `u` for one who is not.
 */
export function parseVerifierTest(text: string): Tested[] {
  const chunks = text
    .replace(/^Summary: .*$/m, '')
    .split(/^#(?=\d+\/[pu] )/m)
    .slice(1);
  return chunks.map((chunk): Tested => {
    const [first = '', ...rest] = chunk.split('\n');
    const [, number, who, words = ''] = /^(\d+)\/([pu]) (.*)$/.exec(first) ?? [];
    // A description may have one of these words as well.
    const [description = '', word, more] = words.split(/ ?\b(OK|SKIP|FAIL)\b(?= \(|$)/);
    const [, subject = 'others'] = /^([^:]+): /.exec(description) ?? [];
    const output = [more ?? '', ...rest].join('\n').trim();
    const name = `${subject}/${number}${who} ${description.trim()}`.replaceAll(
      /(?<=\/.*)\//g,
      ' or ',
    );
    return { name, outcome: outcomeOf(word, output), output };
  });
}

function outcomeOf(word: string | undefined, output: string): Outcome {
  if (word === 'OK') return 'pass';
  if (word === 'SKIP') return 'skip';
  return word === 'FAIL' || /\bFAIL\b/.test(output) ? 'fail' : 'crash';
}
