import type { Comparison } from './types.js';

/** The median of `arm` divided by that of `against`, and the largest value that is expected. */
export function ratio(arm: string, against: string, metric: string, bound?: number): Comparison {
  return {
    kind: 'ratio',
    arm,
    against,
    metric,
    quantile: 'p50',
    ...(bound === undefined ? {} : { bound }),
  };
}
