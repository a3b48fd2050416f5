import { fewestRounds } from '../statistics.js';
import { findRow } from '../summary.js';
import type { Compared, Row, Summary } from '../types.js';

/** The ratio above which the whole interval counts as slower. */
const TOLERATED_RATIO = 1.05;

/** The result of one comparison of two revisions. */
export interface Verdict {
  arm: string;
  metric: string;
  /** The rows of this tree and of the other. */
  now: Row;
  before: Row;
  /** The time of this tree divided by that of the other, with its 95 % confidence interval. */
  ratio: number;
  low: number;
  high: number;
  rounds: number;
  /**
   * `slower` when the whole interval is above 1.05; `undecided` when there are too few rounds to
   * tell.
   */
  outcome: 'slower' | 'not slower' | 'undecided';
}

/** Judges every comparison of a summary, whose ratios are the newer median by the older one. */
export function judgeAll(summary: Summary): Verdict[] {
  return summary.comparisons.flatMap((one) => {
    const now = findRow(summary, one.arm, one.metric);
    const before = findRow(summary, one.against, one.metric);
    return now === undefined || before === undefined ? [] : [judge(one, now, before)];
  });
}

function judge(compared: Compared, now: Row, before: Row): Verdict {
  const { arm, metric, value, ciLow, ciHigh, rounds } = compared;
  // A rate is turned into the time of one operation.
  const [ratio, low, high] =
    now.unit === 'ns' ? [value, ciLow, ciHigh] : [1 / value, 1 / ciHigh, 1 / ciLow];
  const slower = low > TOLERATED_RATIO;
  const outcome = rounds < fewestRounds ? 'undecided' : slower ? 'slower' : 'not slower';
  return { arm, metric, now, before, ratio, low, high, rounds, outcome };
}
