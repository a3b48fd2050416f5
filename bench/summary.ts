import { medianInterval, quantile, sorted } from './statistics.js';
import type { Batch, Compared, Comparison, Row, Summary } from './types.js';

/** With fewer samples, the 99th percentile is left out. */
const FEWEST_FOR_P99 = 1000;

/** The parts of a summary's rows that are no figures. */
export interface SummaryLabels {
  experiment: string;
  accel: string;
  run: string;
}

/** Reduces samples to rows and comparisons. The same samples always give the same summary. */
export function summarise(
  batches: readonly Batch[],
  comparisons: readonly Comparison[],
  labels: SummaryLabels,
): Summary {
  return {
    rows: groups(batches).map((group) => row(group, labels)),
    comparisons: comparisons
      .map((comparison) => comparable(comparison, labels))
      .flatMap((comparison) => compare(batches, comparison)),
  };
}

/**
 * The thesis' guest ran on KVM by hardware, so times of a KVM in software are not compared with it.
 */
function comparable({ thesis, ...comparison }: Comparison, { accel }: SummaryLabels): Comparison {
  return thesis === undefined || accel === 'kvm-software' ? comparison : { ...comparison, thesis };
}

/** The row of an arm and a metric, where they were measured. */
export function findRow(summary: Summary, arm: string, metric: string): Row | undefined {
  return summary.rows.find((candidate) => candidate.arm === arm && candidate.metric === metric);
}

/** The ratio of the medians of two arms, where both were measured. */
export function findCompared(
  { comparisons }: Summary,
  arm: string,
  against: string,
  metric: string,
): Compared | undefined {
  return comparisons.find(
    (one) =>
      one.kind === 'ratio' &&
      one.quantile === 'p50' &&
      one.arm === arm &&
      one.against === against &&
      one.metric === metric,
  );
}

/** Batches of one arm and metric, in the order in which the pair first appears. */
function groups(batches: readonly Batch[]): Batch[][] {
  const found = new Map<string, Batch[]>();
  for (const batch of batches) {
    const key = JSON.stringify([batch.arm, batch.metric]);
    const group = found.get(key);
    if (group === undefined) found.set(key, [batch]);
    else group.push(batch);
  }
  return [...found.values()];
}

function row(group: readonly Batch[], labels: SummaryLabels): Row {
  const [first] = group;
  if (first === undefined) throw new RangeError('a group has at least one batch');
  const values = sorted(group.flatMap((batch) => batch.values));
  const boots = bootsApart(group);
  // Samples of one round resemble each other more than those of another, so a round is one value.
  const interval = medianInterval(group.map((batch) => quantile(sorted(batch.values), 0.5)));
  return {
    experiment: labels.experiment,
    arm: first.arm,
    metric: first.metric,
    unit: first.unit,
    n: values.length,
    p50: Math.round(quantile(values, 0.5)),
    p90: Math.round(quantile(values, 0.9)),
    ...(values.length < FEWEST_FOR_P99 ? {} : { p99: Math.round(quantile(values, 0.99)) }),
    min: Math.round(quantile(values, 0)),
    ciLow: Math.round(interval.low),
    ciHigh: Math.round(interval.high),
    confidence: interval.confidence,
    ...(boots === undefined ? {} : { boots }),
    accel: labels.accel,
    run: labels.run,
  };
}

/** With fewer rounds, a boot lies apart from the others by chance. */
const FEWEST_ROUNDS_OF_BOOT = 4;

function bootsApart(group: readonly Batch[]): number[] | undefined {
  const medians = group.map(({ boot, values }) => ({
    boot,
    median: quantile(sorted(values), 0.5),
  }));
  const boots = [...new Set(medians.map(({ boot }) => boot))].map((boot) => {
    const [own, others] = [true, false].map((wanted) =>
      medians.filter((one) => (one.boot === boot) === wanted).map(({ median }) => median),
    ) as [number[], number[]];
    const apart =
      others.length > 0 &&
      (Math.max(...own) < Math.min(...others) || Math.min(...own) > Math.max(...others));
    return { own, apart };
  });
  if (boots.some(({ own }) => own.length < FEWEST_ROUNDS_OF_BOOT)) return undefined;
  if (!boots.some(({ apart }) => apart)) return undefined;
  return boots.map(({ own }) => Math.round(quantile(sorted(own), 0.5)));
}

const quantiles = { p50: 0.5, p99: 0.99 } as const;

const operations = {
  difference: (a: number, b: number) => a - b,
  ratio: (a: number, b: number) => a / b,
} as const;

/** One comparison, or none when an arm or a metric was not measured. */
function compare(batches: readonly Batch[], comparison: Comparison): Compared[] {
  const q = quantiles[comparison.quantile];
  const ofRounds = (arm: string, metric = comparison.metric) =>
    new Map(
      batches
        .filter((batch) => batch.arm === arm && batch.metric === metric)
        .map((batch) => [`${batch.boot}.${batch.round}`, quantile(sorted(batch.values), q)]),
    );
  const against = ofRounds(comparison.against, comparison.againstMetric);
  const values = [...ofRounds(comparison.arm)].flatMap(([round, value]) => {
    const other = against.get(round);
    return other === undefined ? [] : [operations[comparison.kind](value, other)];
  });
  if (values.length === 0) return [];
  const interval = medianInterval(values);
  return [
    {
      ...comparison,
      value: quantile(sorted(values), 0.5),
      ciLow: interval.low,
      ciHigh: interval.high,
      confidence: interval.confidence,
      rounds: values.length,
    },
  ];
}
