/*
 * Runs the kernel's test_maps and test_progs on a side. Each test has a process of its own, so that
 * the others run whatever becomes of it.
 */
import type { Side } from '../compat/sides.js';
import type { Outcome, Tested } from './go-test.js';

/**
 * After this time a test of test_progs is ended. An emulated guest is slow, and slowest where it
 * runs waep as well.
 */
const limitS = ({ name }: Side) => (name === 'within' ? 300 : 60);
/** Tests of how much the verifier can take. In an emulated guest they take minutes each. */
const isLeftOut = (name: string) => name.startsWith('verif_scale');
/** The status of timeout(1) when it ends its program; of Busybox, and of a shell for SIGTERM. */
const late = ['124', '143'];
/** The status by which each-map-test.c tells that a test was skipped, as waitpid(2) has it. */
const SKIPPED = String(77 << 8);

/** The output of a test, and the status of its process. */
interface Ended {
  readonly name: string;
  readonly output: string;
  readonly status: string;
}

/** Runs test_maps. All tests run if one is wanted. */
export async function playMapsTest(
  folder: string,
  side: Side,
  only: (name: string) => boolean,
): Promise<Tested[]> {
  const text = await outputOf(side, `cd '${folder}' && exec ./test_maps`);
  return endings(text)
    .map(({ name, output, status }) => ({ name, output, outcome: outcomeOfMaps(status) }))
    .filter(({ name }) => only(name));
}

function outcomeOfMaps(status: string): Outcome {
  if (status === '0') return 'pass';
  return status === SKIPPED ? 'skip' : 'fail';
}

/** Runs those tests of test_progs that are wanted, each with its parts. */
export async function playProgsTest(
  folder: string,
  side: Side,
  only: (name: string) => boolean,
): Promise<Tested[]> {
  const list = await outputOf(side, `cd '${folder}' && exec ./test_progs --list`);
  const names = list
    .split('\n')
    .filter((name) => /^\w+$/.test(name) && !isLeftOut(name) && only(name));
  if (names.length === 0) return [];
  // Tests mount the control groups there.
  const script = `mkdir -p /mnt && cd '${folder}'
    for name in ${names.join(' ')}; do
      echo "=== $name"
      timeout ${limitS(side)} ./test_progs --allow="$name" 2>&1 </dev/null
      printf '\\n--- %s %s\\n' "$name" $?
    done`;
  return endings(await outputOf(side, script)).flatMap((one) => parseProgsTest(one, limitS(side)));
}

async function outputOf(side: Side, command: string): Promise<string> {
  const started = await side.start(command);
  const [text] = await Promise.all([started.stdout, started.stderr, started.ended]);
  return text;
}

function endings(text: string): Ended[] {
  const found = text.matchAll(/^=== (.+)\n([\s\S]*?)^--- \1 (-?\d+)$/gm);
  return [...found].map(([, name = '', output = '', status = '']) => ({
    name,
    output: output.trim(),
    status,
  }));
}

/** Reads the output of test_progs for one test. The parts of the test come before it. */
function parseProgsTest({ name, output, status }: Ended, limit: number): Tested[] {
  const tests = new Map<string, Tested>();
  let lines: string[] = [];
  for (const line of output.split('\n')) {
    const [, test, word] = /^#\d+(?:\/\d+)? +(.+):(OK|SKIP|FAIL)$/.exec(line) ?? [];
    // A summary of all failures comes last, and names failed tests again.
    if (test === undefined) lines.push(line);
    else if (!tests.has(test)) {
      tests.set(test, { name: test, outcome: outcomeOf(word), output: lines.join('\n').trim() });
      lines = [];
    }
  }
  if (tests.has(name)) return [...tests.values()];
  const end = late.includes(status) ? `no end within ${limit} s` : `ended with status ${status}`;
  return [...tests.values(), { name, outcome: 'crash', output: `${end}\n${output}` }];
}

function outcomeOf(word: string | undefined): Outcome {
  if (word === 'OK') return 'pass';
  return word === 'SKIP' ? 'skip' : 'fail';
}
