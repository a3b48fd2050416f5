/* The attacks of test/guest/hostile-host on other kernels, and made-up calls under `observe`. */
import t from 'tap';
import { fuzzObserve } from '../conformance/fuzz/observe.js';
import { testAttacks } from '../hostile/suite.js';

t.setTimeout(3_600_000);

for (const suite of ['bullseye', 'trixie', 'sid']) testAttacks(t, suite, { suite });

t.test('a few hundred sequences of made-up calls change nothing', async (t) => {
  const { found, inputs } = await fuzzObserve({ sequences: 300, seed: 1 });
  t.equal(found, undefined);
  t.equal(inputs, 300);
});

t.test('where the policy allows everything, a breach is seen', async (t) => {
  const { found } = await fuzzObserve({ sequences: 5000, seed: 1, profile: 'full' });
  t.match(found, /their|process|there are/);
});
