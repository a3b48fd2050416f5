import { micros, significant } from './chart/format.js';
import type { Compared } from './types.js';

/** A comparison in words: what is compared, its figure, and what was promised or reported. */
export interface Verdict {
  what: string;
  value: string;
  interval: string;
  /** The bound and whether it was kept, the thesis' figure, or nothing. */
  expectation: string;
}

/** Puts a comparison into words. */
export function verdict(one: Compared): Verdict {
  const ratio = one.kind === 'ratio';
  const print = (value: number) => (ratio ? `${value.toFixed(2)} ×` : `${micros(value)} µs`);
  return {
    what: `${one.metric}, ${one.quantile}: ${one.arm} ${ratio ? '÷' : '−'} ${one.against}`,
    value: print(one.value),
    interval: ratio
      ? `${one.ciLow.toFixed(2)} … ${one.ciHigh.toFixed(2)}`
      : `${micros(one.ciLow)} … ${micros(one.ciHigh)}`,
    expectation: [
      ...(one.bound === undefined
        ? []
        : [`≤ ${significant(one.bound)} ×: ${one.value <= one.bound ? 'kept' : 'MISSED'}`]),
      ...(one.thesis === undefined ? [] : [`thesis (KVM): ${micros(one.thesis)} µs`]),
    ].join('; '),
  };
}
