/* The output of a Go test program with -test.v. */

/** How a test ended. A test that has no end has ended its program. */
export type Outcome = 'pass' | 'skip' | 'fail' | 'crash';

/** A test or a part of one, such as `TestMap/hash`. */
export interface Tested {
  readonly name: string;
  readonly outcome: Outcome;
  /** What it printed. */
  readonly output: string;
}

const begins = /^=== (?:RUN|CONT|NAME|PAUSE)\s+(\S+)$/;
/** A program may have printed the beginning of this line. */
const ends = /--- (PASS|SKIP|FAIL): (\S+) \(/;

/** Reads the output of a Go test program. The tests are in the order in which they began. */
export function parseGoTest(text: string): Tested[] {
  const tests = new Map<string, { outcome: Outcome; output: string[] }>();
  let current: string | undefined;
  for (const line of text.split('\n')) {
    const begun = line.match(begins)?.[1];
    const [, how, ended] = line.match(ends) ?? [];
    if (begun !== undefined) {
      current = begun;
      if (!tests.has(begun)) tests.set(begun, { outcome: 'crash', output: [] });
    } else if (how !== undefined && ended !== undefined) {
      const test = tests.get(ended);
      if (test !== undefined) test.outcome = how.toLowerCase() as Outcome;
    } else if (current !== undefined) {
      tests.get(current)?.output.push(line.trim());
    }
  }
  return [...tests].map(([name, { outcome, output }]) => ({
    name,
    outcome,
    output: output.join('\n').trim(),
  }));
}

/** Returns the test that a part of a test belongs to: `TestMap` for `TestMap/hash/2`. */
export function testOf(name: string): string {
  return name.replace(/\/.*$/, '');
}
