import { micros, significant } from './chart/format.js';
import { isSure } from './statistics.js';
import type { Compared, Row } from './types.js';

/**
 * Whether a bound was kept. It is `undecided` if the interval contains the bound, or is missing.
 */
export type Outcome = 'kept' | 'MISSED' | 'undecided';

/** A comparison in words: what is compared, its figure, and what was promised or reported. */
export interface Verdict {
  what: string;
  value: string;
  interval: string;
  /** The bound and whether it was kept, the thesis' figure and how it compares, or nothing. */
  expectation: string;
  /** Of the bound, where there is one. */
  outcome?: Outcome;
}

/** Puts a comparison into words. */
export function verdict(one: Compared): Verdict {
  const ratio = one.kind === 'ratio';
  const print = (value: number) => (ratio ? `${value.toFixed(2)} ×` : `${micros(value)} µs`);
  const bounds = (value: number) => (ratio ? value.toFixed(2) : micros(value));
  const outcome = one.bound === undefined ? undefined : outcomeOf(one, one.bound);
  return {
    what:
      one.againstMetric === undefined
        ? `${one.metric}, ${one.quantile}: ${one.arm} ${ratio ? '÷' : '−'} ${one.against}`
        : `${one.arm}: ${one.metric} ÷ ${one.againstMetric}`,
    value: print(one.value),
    interval: intervalText(one, bounds),
    expectation: [
      ...(one.bound === undefined ? [] : [`≤ ${significant(one.bound)} ×: ${outcome}`]),
      ...(one.thesis === undefined ? [] : [againstThesis(one, one.thesis)]),
    ].join('; '),
    ...(outcome === undefined ? {} : { outcome }),
  };
}

function outcomeOf({ ciLow, ciHigh, confidence }: Compared, bound: number): Outcome {
  if (confidence === 0) return 'undecided';
  if (ciHigh <= bound) return 'kept';
  return ciLow > bound ? 'MISSED' : 'undecided';
}

/**
 * Says whether less or more is added here than in the thesis. As that used KVM, it is no verdict on
 * speed.
 */
function againstThesis({ ciLow, ciHigh, confidence }: Compared, thesis: number): string {
  const figure = `thesis (KVM): ${micros(thesis)} µs`;
  if (confidence === 0) return figure;
  if (ciHigh < thesis) return `${figure}, here less`;
  return ciLow > thesis ? `${figure}, here more` : `${figure}, here undecided`;
}

/** Prints an interval; with too few rounds it is a range, and with one round nothing. */
export function intervalText(
  one: Pick<Row, 'ciLow' | 'ciHigh' | 'confidence'>,
  print: (value: number) => string,
): string {
  if (one.confidence === 0) return '–';
  const bounds = `${print(one.ciLow)} … ${print(one.ciHigh)}`;
  return isSure(one) ? bounds : `${bounds} (range: ${Math.round(one.confidence * 100)} %)`;
}
