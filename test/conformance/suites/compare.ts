/* Compares what became of each test on both sides. */
import type { Outcome, Tested } from './go-test.js';
import { reasonOf } from './reasons.js';

/** A test's result, as in results/suites.json. */
export interface Result {
  /** The kernel, as `--kernel` names it. */
  readonly kernel: string;
  readonly package: string;
  readonly test: string;
  readonly guest: Outcome | 'missing';
  readonly host: Outcome | 'missing';
  /** Why the sides differ, or an empty text. */
  readonly why: string;
  /** The first message of a side that did not pass. */
  readonly said: string;
}

/** Whether nobody has named the reason for a difference. */
export function isUnexplained({ guest, host, why }: Result): boolean {
  return guest !== host && why === '';
}

/** Compares the tests of a package. */
export function compare(
  kernel: string,
  name: string,
  guest: readonly Tested[],
  host: readonly Tested[],
): Result[] {
  const [inGuest, fromHost] = [guest, host].map(
    (side) => new Map(side.map((test) => [test.name, test])),
  ) as [Map<string, Tested>, Map<string, Tested>];
  const names = [...new Set([...inGuest.keys(), ...fromHost.keys()])];
  const results = names.map((test): Result => {
    const [ours, theirs] = [fromHost.get(test), inGuest.get(test)];
    const outcomes = {
      guest: theirs?.outcome ?? 'missing',
      host: ours?.outcome ?? 'missing',
    } as const;
    const differs = outcomes.guest !== outcomes.host;
    const why = differs ? reasonOf(`${name}/${test}`, ours?.output ?? '') : '';
    const spoke = [ours, theirs].find((side) => side !== undefined && side.outcome !== 'pass');
    return {
      kernel,
      package: name,
      test,
      ...outcomes,
      why,
      said: firstMessage(spoke?.output ?? ''),
    };
  });
  const differing = results.filter((result) => result.guest !== result.host);
  return results.map((result) => explainedByCause(result, differing));
}

/** Takes the reason from the tests that cause a difference, for one that only follows from them. */
function explainedByCause(result: Result, differing: readonly Result[]): Result {
  if (!isUnexplained(result)) return result;
  const causes = causesOf(result, differing);
  const explained = causes.length > 0 && causes.every(({ why }) => why !== '');
  return explained ? { ...result, why: (causes[0] as Result).why } : result;
}

/**
 * Returns the tests that a difference follows from. A test fails when a part of it fails. Parts do
 * not begin when their test has failed before.
 */
function causesOf({ test, guest, host }: Result, differing: readonly Result[]): Result[] {
  if (guest === 'missing' || host === 'missing') {
    return differing.filter((other) => test.startsWith(`${other.test}/`));
  }
  return differing.filter(
    (other) =>
      other.test.startsWith(`${test}/`) && other.guest !== 'missing' && other.host !== 'missing',
  );
}

/** Leaves out differences of a package that only follow from others. */
export function causes(results: readonly Result[]): Result[] {
  const differing = results.filter(({ guest, host }) => guest !== host);
  return differing.filter((result) => causesOf(result, differing).length === 0);
}

const SAID_CHARACTERS = 200;

/** Returns the first message of a test, without the stack that some messages end with. */
function firstMessage(text: string): string {
  const [message = ''] = text.split(/\nstack:|\n(?=\S+\.go:\d+: )/);
  return message.replaceAll(/\s+/g, ' ').slice(0, SAID_CHARACTERS);
}
