/* Compares the outcomes of the same cases on two executors, step by step and byte by byte. */
import { errnoName } from '../../../src/errno.js';
import type { Outcome } from './binary.js';
import {
  type Case,
  isObserved,
  type Observed,
  type Place,
  type Reason,
  type Volatile,
} from './script.js';
import { commandNames } from './uapi.js';

/** One step of a case, as both executors saw it. */
export interface Compared {
  readonly case: Case;
  readonly step: Observed;
  /** The oracle's outcome: `ok`, or the name of the errno. */
  readonly outcome: string;
  /** The names of volatile bytes that actually differed. */
  readonly varied: readonly Reason[];
  /** How the forwarder's answer differs. Empty if it does not. */
  readonly differences: readonly string[];
}

/** Returns the name of a step for reports. */
export function stepName(step: Observed): string {
  if (step.op !== 'bpf') return step.op;
  return commandNames[step.command & 0xffff] ?? `command ${step.command}`;
}

function outcomeName({ result, errno }: Outcome): string {
  return result >= 0 ? 'ok' : errnoName(errno);
}

/** Compares the reports of the oracle and of the forwarder on a case. */
export function compareCase(
  one: Case,
  oracle: readonly Outcome[],
  forwarder: readonly Outcome[],
): Compared[] {
  const places: Place[] = [];
  const compared: Compared[] = [];
  const known = new Set<Place>();
  for (const step of one.steps) {
    if (step.op === 'map') places.push(step.place);
    if (!isObserved(step)) continue;
    const ours = oracle[compared.length];
    const theirs = forwarder[compared.length];
    if (ours === undefined || theirs === undefined) throw new TypeError('an outcome is missing');
    compared.push(compareStep(one, step, places, known, ours, theirs));
  }
  return compared;
}

function compareStep(
  one: Case,
  step: Observed,
  places: readonly Place[],
  known: Set<Place>,
  oracle: Outcome,
  forwarder: Outcome,
): Compared {
  const differences: string[] = [];
  const varied = new Set<Reason>();
  if (oracle.result !== forwarder.result || oracle.errno !== forwarder.errno) {
    differences.push(`${described(oracle)} in the guest, ${described(forwarder)} forwarded`);
  }
  places.forEach((place, at) => {
    const masks = one.volatile.filter((other) => other.place === place);
    const [a, b] = [oracle, forwarder].map(({ places }) => Buffer.from(places[at] ?? []));
    if (a === undefined || b === undefined || a.equals(b)) return;
    for (const { name } of masks) varied.add(name);
    const [ours, theirs] = [masked(a, masks), masked(b, masks)];
    const from = ours.findIndex((byte, index) => byte !== theirs[index]);
    if (from < 0) return;
    // Memory that differs once stays different, so it is reported once.
    if (known.has(place)) return;
    known.add(place);
    const attribute = step.op === 'bpf' && place.address === step.attribute;
    const where = attribute ? 'the attribute' : `the ${place.sizeBytes} bytes of place ${at}`;
    const start = from & ~7;
    const window = (bytes: Uint8Array) =>
      Buffer.from(bytes.subarray(start, start + 24)).toString('hex');
    differences.push(
      `${where} from byte ${start}: ${window(ours)} in the guest, ${window(theirs)} forwarded`,
    );
  });
  return { case: one, step, outcome: outcomeName(oracle), varied: [...varied], differences };
}

function described(outcome: Outcome): string {
  return outcome.result >= 0 ? `${outcome.result}` : errnoName(outcome.errno);
}

function masked(bytes: Buffer, masks: readonly Volatile[]): Buffer {
  let result = Buffer.from(bytes);
  for (const { what } of masks) {
    if (!(what instanceof RegExp)) result.fill(0, what.offset, what.offset + what.sizeBytes);
  }
  const words = masks.map(({ what }) => what).filter((what) => what instanceof RegExp);
  if (words.length > 0) {
    // The replaced words may have other lengths, so the bytes behind the text cannot be compared.
    let text = result.toString('latin1').split('\0', 1)[0] ?? '';
    for (const pattern of words) text = text.replaceAll(pattern, '?');
    result = Buffer.from(text, 'latin1');
  }
  return result;
}
