/* `npm run test:device`: the in-process device against TCP, with guests of four kernels. */
import t from 'tap';
import { Disposables } from '../../bench/disposables.js';
import {
  kernelComparisons,
  measureKernel,
  transports,
  worstFactor,
} from '../../bench/experiments/kernels.js';
import { bootKernels, kernelSuites } from '../../bench/kernel-guests.js';
import { quantile, sorted } from '../../bench/statistics.js';
import { record } from './page.js';

const ROUNDS = 5;
const COUNTS = { samples: 200, warmup: 100 };

t.setTimeout(900_000);

for (const suite of kernelSuites) {
  t.test(`the kernel of ${suite}`, async (t) => {
    await using resources = new Disposables();
    const [guest] = await bootKernels([suite], resources);
    if (guest === undefined) throw new RangeError('no guest was booted');
    const { kernel } = guest.environment;
    const rounds: Map<string, number>[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const figures = new Map<string, number>();
      for (const arm of transports) {
        for (const { metric, values } of await measureKernel(guest, arm, COUNTS)) {
          figures.set(`${arm} ${metric}`, quantile(sorted(values), 0.5));
        }
      }
      rounds.push(figures);
    }
    const seen: string[] = [];
    for (const { arm, against, metric } of kernelComparisons([suite])) {
      const ratios = rounds.map(
        (figures) =>
          (figures.get(`${arm} ${metric}`) ?? Number.NaN) /
          (figures.get(`${against} ${metric}`) ?? Number.NaN),
      );
      // Rounds take turns: the median leaves out a round that something else disturbed.
      const median = quantile(sorted(ratios), 0.5);
      t.ok(
        median <= worstFactor,
        `Linux ${kernel}, ${metric}: ${arm} ÷ ${against} is ${median.toFixed(2)}`,
      );
      const ofTcp = arm === 'tcp' ? 1 / median : median;
      seen.push(`${metric.replace(/, kernel.*/, '')}: ${ofTcp.toFixed(2)} × TCP`);
    }
    t.ok(seen.length > 0, 'something was compared');
    record(
      `the device against TCP, the median of ${ROUNDS} rounds`,
      `Linux ${kernel}`,
      seen.join('; '),
    );
  });
}
