/* Compares what became of each test on the three sides. */
import type { Outcome, Tested } from './go-test.js';
import { ELSEWHERE, reasonOf, STALE } from './reasons.js';

/** What the tests of a program did: in the guest itself, and forwarded from both places. */
export interface Played {
  readonly guest: readonly Tested[];
  readonly within: readonly Tested[];
  readonly host: readonly Tested[];
  /** Those that differ within the guest, made to wait and forwarded within the guest once more. */
  readonly patient: readonly Tested[];
}

/** The sides whose system calls are forwarded. */
const forwarded = ['within', 'host'] as const;
type Forwarded = (typeof forwarded)[number];

/** A test's result, as in results/suites.json. */
export interface Result {
  /** The kernel, as `--kernel` names it. */
  readonly kernel: string;
  readonly package: string;
  readonly test: string;
  /** The test in the guest itself. */
  readonly guest: Outcome | 'missing';
  /** The test forwarded, with its process in the guest. It is not there in older recordings. */
  readonly within?: Outcome | 'missing';
  /** The test forwarded, with its process on the host. */
  readonly host: Outcome | 'missing';
  /** The test as on `within`, but made to wait. It is there for tests that differ on `within`. */
  readonly patient?: Outcome;
  /** Why the sides differ, or an empty text. */
  readonly why: string;
  /** The first message of a side that did not pass. */
  readonly said: string;
}

/** Whether a test did not end alike on all sides. */
export function isDifferent(result: Result): boolean {
  return forwarded.some((side) => differsOn(side, result));
}

/** Whether nobody has named the reason for a difference. */
export function isUnexplained(result: Result): boolean {
  return isDifferent(result) && result.why === '';
}

function differsOn(side: Forwarded, result: Result): boolean {
  return result[side] !== undefined && result[side] !== result.guest;
}

/** Compares the tests of a package. */
export function compare(kernel: string, name: string, played: Played): Result[] {
  const sides = {
    guest: byName(played.guest),
    within: byName(played.within),
    host: byName(played.host),
  };
  const patients = byName(played.patient);
  const names = [...new Set(Object.values(sides).flatMap((side) => [...side.keys()]))];
  const results = names.map((test): Result => {
    const [guest, within, host] = [sides.guest, sides.within, sides.host].map((side) =>
      side.get(test),
    );
    const outcomes = {
      guest: guest?.outcome ?? 'missing',
      within: within?.outcome ?? 'missing',
      host: host?.outcome ?? 'missing',
    } as const;
    const patient = patients.get(test);
    const spoke = [within, host, guest].find((one) => one !== undefined && one.outcome !== 'pass');
    const said = firstMessage(spoke?.output ?? '');
    const result: Result = {
      ...{ kernel, package: name, test, ...outcomes, ...(patient && { patient: patient.outcome }) },
      ...{ why: '', said },
    };
    return { ...result, why: whyOf(result, (patient ?? within)?.output ?? '', host?.output ?? '') };
  });
  return results.map((result) => explainedByCause(result, results));
}

function byName(side: readonly Tested[]): Map<string, Tested> {
  return new Map(side.map((test) => [test.name, test]));
}

/**
 * Returns why a test differs. If it differs within the guest, what it says there is the evidence,
 * because forwarding is all that differs there. If it was made to wait, what it says then is the
 * evidence. If it only differs from the host and does not meet a known refusal, the place of its
 * process is all that differs.
 */
function whyOf(result: Result, within: string, host: string): string {
  const name = `${result.package}/${result.test}`;
  if (differsOn('within', result)) {
    return result.patient === result.guest ? STALE : reasonOf(name, within);
  }
  return differsOn('host', result) ? reasonOf(name, host) || ELSEWHERE : '';
}

/** Takes the reason from the tests that cause a difference, for one that only follows from them. */
function explainedByCause(result: Result, results: readonly Result[]): Result {
  if (!isUnexplained(result)) return result;
  const causes = causesOn('within', result, results);
  const explained = causes.length > 0 && causes.every(({ why }) => why !== '');
  return explained ? { ...result, why: (causes[0] as Result).why } : result;
}

/**
 * Returns the tests that a difference on a side follows from. A test fails when a part of it fails.
 * Parts do not begin when their test has failed before.
 */
function causesOn(side: Forwarded, result: Result, results: readonly Result[]): Result[] {
  const isMissing = (one: Result) => one.guest === 'missing' || one[side] === 'missing';
  const { test } = result;
  const differing = results.filter((one) => differsOn(side, one));
  return isMissing(result)
    ? differing.filter((other) => test.startsWith(`${other.test}/`))
    : differing.filter((other) => other.test.startsWith(`${test}/`) && !isMissing(other));
}

/** Leaves out differences of a package that only follow from others. */
export function causes(results: readonly Result[]): Result[] {
  return results
    .filter(isDifferent)
    .filter((result) =>
      forwarded
        .filter((side) => differsOn(side, result))
        .some((side) => causesOn(side, result, results).length === 0),
    );
}

const SAID_CHARACTERS = 200;

/** Returns the first message of a test, without the stack that some messages end with. */
function firstMessage(text: string): string {
  const [message = ''] = text.split(/\nstack:|\n(?=\S+\.go:\d+: )/);
  return message.replaceAll(/\s+/g, ' ').slice(0, SAID_CHARACTERS);
}
