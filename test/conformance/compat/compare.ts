import { lackOf } from './lacks.js';
import {
  type Compared,
  type Comparison,
  failing,
  NOT_RUN,
  type Outcome,
  type Result,
  type Row,
  type Verdict,
} from './row.js';
import { withoutVolatile } from './volatile.js';

/** A message of `waep run` about a call that it does not forward. */
const refusal = /^waep: (.* is refused: .*)$/m;

/** Compares the outcomes of a row on both sides, in a run that began at `run`. */
export function compare(row: Row, guest: Outcome, host: Outcome, run = ''): Comparison {
  const { verdict, why } = judge(row, guest, host);
  return {
    tool: row.tool,
    args: row.command,
    guest: summary(guest),
    host: summary(host),
    verdict,
    why,
    compared: comparedOf(row),
    volatile: row.volatile ?? [],
    guestMs: Math.round(guest.tookMs),
    hostMs: Math.round(host.tookMs),
    run,
  };
}

/** Says what of a row is compared. */
function comparedOf(row: Row): Compared {
  if (isKilled(row)) return { output: 'nothing', figures: false };
  const { compares = 'text', volatile = [], lines } = row;
  return {
    output: compares,
    figures: compares !== 'shape' && !volatile.includes('number'),
    ...(lines === undefined ? {} : { lines: String(lines) }),
  };
}

/** Returns the result of a row that was run without a standby and with one: the worse of both. */
export function worse(without: Comparison, withOne: Comparison): Result {
  const both = { ...without, standby: withOne.host, standbyMs: withOne.hostMs };
  if (without.verdict === withOne.verdict) return both;
  const [how, result] = failing.has(without.verdict)
    ? ['without a standby', without]
    : ['with a standby', withOne];
  const verdict = failing.has(result.verdict) ? result.verdict : 'different';
  return { ...both, verdict, why: `${how}: ${result.why || result.verdict}` };
}

function judge(row: Row, guest: Outcome, host: Outcome): { verdict: Verdict; why: string } {
  if (row.mustWork === true && !['0', '130'].includes(guest.ending)) {
    return nativeFailure(row, guest);
  }
  // Two commands that did not run are not equal.
  if (guest.ending === NOT_RUN || host.ending === NOT_RUN) {
    return { verdict: 'different', why: lastLine(guest.stderr) || lastLine(host.stderr) };
  }
  const difference =
    host.left.length > guest.left.length
      ? `it leaves ${host.left.join(', ')} in the guest`
      : differenceOf(row, guest, host);
  const refused = host.stderr.match(refusal)?.[1];
  if (difference === undefined) {
    if (!isKilled(row) && !['0', '130'].includes(guest.ending)) {
      return { verdict: 'failing-alike', why: lastLine(guest.stderr) };
    }
    const shape = row.compares === 'shape';
    return { verdict: shape ? 'same-but-volatile' : 'same', why: '' };
  }
  if (refused !== undefined) return { verdict: 'refused', why: refused };
  if (!isKilled(row) && guest.ending !== '0' && guest.stdout.trim() === '') {
    return nativeFailure(row, guest);
  }
  return { verdict: 'different', why: difference };
}

function nativeFailure({ command }: Row, guest: Outcome): { verdict: Verdict; why: string } {
  const said = lastLine(guest.stderr) || guest.ending;
  const lack = lackOf(command, guest.stderr);
  if (lack === undefined) return { verdict: 'failing-in-guest', why: said };
  return { verdict: 'unsupported-in-guest', why: `${lack}: ${said}` };
}

/** A killed tool has no time to print. Only the objects that it leaves behind are compared. */
function isKilled({ watch }: Row): boolean {
  return watch?.signal === 'SIGKILL';
}

function differenceOf(row: Row, guest: Outcome, host: Outcome): string | undefined {
  if (guest.ending !== host.ending) {
    return `it ends with ${host.ending} instead of ${guest.ending}: ${lastLine(host.stderr)}`;
  }
  for (const stream of isKilled(row) ? [] : (['stdout', 'stderr'] as const)) {
    const [ours, theirs] = [linesOf(row, host[stream]), linesOf(row, guest[stream])];
    const at = theirs.findIndex((line, index) => line !== ours[index]);
    const index = at < 0 && ours.length > theirs.length ? theirs.length : at;
    if (index >= 0) {
      return `${stream}, line ${index + 1}: ${shown(ours[index])} instead of ${shown(theirs[index])}`;
    }
  }
  return undefined;
}

function linesOf({ volatile = [], lines, compares = 'text' }: Row, text: string): string[] {
  const all = text.split('\n').filter((line) => lines?.test(line) ?? true);
  const kept = withoutVolatile(all.join('\n'), volatile)
    .split('\n')
    .map((line) => line.trimEnd());
  // A tool that prints each second prints as many empty lines as seconds.
  if (compares !== 'text') return [...new Set(kept.filter((line) => line !== ''))].sort();
  while (kept.at(-1) === '') kept.pop();
  return kept;
}

function shown(line: string | undefined): string {
  return line === undefined ? 'nothing' : JSON.stringify(line.slice(0, 160));
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1)?.slice(0, 300) ?? '';
}

function summary({ ending, stdout, stderr }: Outcome): string {
  const count = (text: string) => text.split('\n').length - 1;
  const errors = stderr === '' ? '' : `, ${count(stderr)} of errors`;
  return `${ending === '0' ? 'ok' : ending}, ${count(stdout)} lines${errors}`;
}
