/* `npm run test:device`: the in-process device against TCP, with guests of four kernels. */
import t from 'tap';
import { Disposables } from '../../bench/disposables.js';
import {
  kernelComparisons,
  measureKernel,
  roads,
  worstFactor,
} from '../../bench/experiments/kernels.js';
import { bootKernels, kernelSuites } from '../../bench/kernel-guests.js';
import { summarise } from '../../bench/summary.js';
import { record } from './page.js';

const ROUNDS = 3;

t.setTimeout(900_000);

for (const suite of kernelSuites) {
  t.test(`the kernel of ${suite}`, async (t) => {
    await using resources = new Disposables();
    const [guest] = await bootKernels([suite], resources);
    if (guest === undefined) throw new RangeError('no guest was booted');
    const { kernel } = guest.environment;
    const batches = [];
    for (let round = 1; round <= ROUNDS; round++) {
      for (const arm of roads) {
        for (const batch of await measureKernel(guest, arm, { samples: 200, warmup: 100 })) {
          batches.push({ boot: 1, round, arm, ...batch });
        }
      }
    }
    const { comparisons } = summarise(batches, kernelComparisons([suite]), {
      experiment: 'kernels',
      accel: guest.environment.accel,
      run: 'test',
    });
    t.equal(comparisons.length, kernelComparisons([suite]).length, `Linux ${kernel}`);
    for (const { arm, metric, value } of comparisons) {
      const worse = arm === 'tcp' ? 'TCP carries' : 'the device takes';
      t.ok(value <= worstFactor, `${metric}: ${worse} ${value.toFixed(2)} times as much`);
    }
    record(
      'the device against TCP',
      `Linux ${kernel}`,
      comparisons
        .map(({ arm, metric, value }) => {
          const ofTcp = arm === 'tcp' ? 1 / value : value;
          return `${metric.replace(/, kernel.*/, '')}: ${ofTcp.toFixed(2)} × TCP`;
        })
        .join('; '),
    );
  });
}
