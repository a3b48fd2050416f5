import { micros, significant } from './chart/format.js';
import { isSure } from './statistics.js';
import type { Compared, Row } from './types.js';

/** What became of a bound: `undecided` where the interval has it inside, or there is none. */
export type Outcome = 'kept' | 'MISSED' | 'undecided';

/** A comparison in words: what is compared, its figure, and what was promised or reported. */
export interface Verdict {
  what: string;
  value: string;
  interval: string;
  /** The bound and what became of it, the thesis' figure and how it compares, or nothing. */
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
    what: `${one.metric}, ${one.quantile}: ${one.arm} ${ratio ? '÷' : '−'} ${one.against}`,
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

/** The thesis measured under KVM: less, more or the same says what is added here, not what is faster. */
function againstThesis({ ciLow, ciHigh, confidence }: Compared, thesis: number): string {
  const figure = `thesis (KVM): ${micros(thesis)} µs`;
  if (confidence === 0) return figure;
  if (ciHigh < thesis) return `${figure}, here less`;
  return ciLow > thesis ? `${figure}, here more` : `${figure}, here undecided`;
}

/** An interval in words; of too few rounds the range that they have, and of one round nothing. */
export function intervalText(
  one: Pick<Row, 'ciLow' | 'ciHigh' | 'confidence'>,
  print: (value: number) => string,
): string {
  if (one.confidence === 0) return '–';
  const bounds = `${print(one.ciLow)} … ${print(one.ciHigh)}`;
  return isSure(one) ? bounds : `${bounds} (range: ${Math.round(one.confidence * 100)} %)`;
}
