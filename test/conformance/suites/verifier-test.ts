/* The kernel's own test_verifier: builds it, and reads its output. */
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cached, contentKey } from '../../../guest/image/cache.js';
import { fetchPackage } from '../../../guest/image/debian.js';
import type { Progress } from '../../../guest/index.js';
import { runTool } from '../../../guest/tools.js';
import type { Side } from '../compat/sides.js';
import type { Outcome, Tested } from './go-test.js';

/** The package with the sources of the kernel of the first guest. Others run the same tests. */
const SOURCES = 'linux-source-6.1';
/** The parts of the sources that the test is compiled from. */
const parts = [
  ...['arch/x86/include', 'include', 'lib/bpf', 'testing/selftests/bpf'].map(
    (name) => `tools/${name}/*`,
  ),
  'tools/testing/selftests/*.h',
  'include/linux/filter.h',
];
/** Of programs in such a folder, guests get the libraries as well. */
const PROGRAM = 'bin/test_verifier';
/** A test that does not end is a failure of the run. */
const LIMIT_S = 900;

/** The test, built. */
export interface VerifierTest {
  /** The name of the package with its sources, and the package's version. */
  readonly title: string;
  readonly program: string;
}

/** Fetches and compiles the test. */
export async function buildVerifierTest(progress: Progress): Promise<VerifierTest> {
  const sources = await fetchPackage(SOURCES, { progress });
  const libbpf = await fetchPackage('libbpf-dev', { progress });
  const key = contentKey(sources.version, libbpf.version, PROGRAM, ...parts);
  const folder = await cached('verifier-test', key, async (draft) => {
    progress('compiling test_verifier');
    const archive = join(sources.folder, 'usr/src', `${SOURCES}.tar.xz`);
    const tree = join(draft, 'tree');
    await mkdir(tree);
    await mkdir(join(draft, 'bin'));
    const wanted = parts.map((part) => `${SOURCES}/${part}`);
    await runTool('tar', ['-C', tree, '-xJf', archive, '--wildcards', ...wanted]);
    const tests = join(tree, SOURCES, 'tools/testing/selftests/bpf');
    // As the Makefile there does it.
    const included = (await readdir(join(tests, 'verifier'))).filter((name) => name.endsWith('.c'));
    const lines = included.sort().map((name) => `#include "${name}"`);
    const header = ['#ifdef FILL_ARRAY', ...lines, '#endif', ''].join('\n');
    await writeFile(join(tests, 'verifier/tests.h'), header);
    const folders = ['.', 'verifier', '../../../include', '../../../include/uapi'];
    await runTool(
      'gcc',
      [
        ...['-O1', '-w', '-s', '-rdynamic', ...folders.map((name) => `-I${name}`)],
        ...[`-I${join(libbpf.folder, 'usr/include')}`, '-o', join(draft, PROGRAM)],
        ...['test_verifier.c', 'testing_helpers.c', 'cap_helpers.c'],
        join(libbpf.folder, 'usr/lib/x86_64-linux-gnu/libbpf.a'),
        ...['-l:libelf.so.1', '-l:libz.so.1'],
      ],
      { cwd: tests },
    );
    await runTool('rm', ['-r', tree]);
  });
  const title = `test_verifier of ${SOURCES} ${sources.version}`;
  return { title, program: join(folder, PROGRAM) };
}

/** Runs the test. It cannot choose tests by their names, so all run if one is wanted. */
export async function playVerifierTest(
  { program }: VerifierTest,
  side: Side,
  only: (name: string) => boolean,
): Promise<Tested[]> {
  const started = await side.start(`exec timeout ${LIMIT_S} '${program}'`);
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
