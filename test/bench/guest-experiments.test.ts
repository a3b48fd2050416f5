import t from 'tap';
import { guestClientFiles } from '../../bench/client/guest-client.js';
import type { Experiment } from '../../bench/experiment.js';
import { counts } from '../../bench/experiments/counts.js';
import { loopback } from '../../bench/experiments/loopback.js';
import { openGuestLab, prepareGuest } from '../../bench/guest-lab.js';
import type { Lab } from '../../bench/lab.js';
import { SharedLab } from '../../bench/shared-lab.js';
import { findRow } from '../../bench/summary.js';
import { tinyRun } from './tiny-run.js';

const skip = process.getuid?.() !== 0 && 'the bench boots its guests as root (try: sudo npm test)';
const amount = { boots: 1, rounds: 2, samples: 10, warmup: 2 };
const shared = new SharedLab();
t.teardown(() => shared.drop());

async function openLab(): Promise<Lab> {
  const choice = { notice: () => {} };
  const image = await prepareGuest(choice, () => {});
  return shared.use(async () => openGuestLab(choice, image, { files: await guestClientFiles() }));
}

/** What an experiment compares, by the arms and the metric. */
const compared = ({ comparisons }: Pick<Experiment, 'comparisons'>) =>
  comparisons.map(({ arm, against, metric }) => `${arm} ${against} ${metric}`);

t.test('the loopback experiment yields all that it compares', { skip }, async (t) => {
  const { summary, environment } = await tinyRun(loopback, amount, openLab);
  t.same(compared(summary), compared(loopback));
  const [figure] = loopback.figures(summary, environment);
  t.match(figure?.title, /^Within one kernel vsock takes \d/);
});

t.test('the counts experiment counts each kind of event', { skip }, async (t) => {
  const { summary } = await tinyRun(counts, amount, openLab);
  t.same(compared(summary), compared(counts));
  for (const arm of ['tcp', 'vsock-device']) {
    for (const kind of ['kicks', 'interrupts', 'switches in the guest', 'switches of the client']) {
      const { p50 = 0 } = findRow(summary, arm, `${kind}, 1,000 echoes of 64 B`) ?? {};
      // A thousand round trips, each there and back. Under load several events become one.
      t.ok(p50 >= 500 && p50 < 20_000, `${arm}: ${kind}: ${p50}`);
    }
  }
});
