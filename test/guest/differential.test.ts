import t from 'tap';
import { allCases } from '../differential/cases/index.js';
import { stepName } from '../differential/compare.js';
import { bootWithOracle, compareIn } from '../differential/run.js';
import { worldOf } from '../differential/world.js';

const FEWEST_CASES = 400;

t.setTimeout(180_000);

t.test('forwarded calls do what calls made in the guest do', async (t) => {
  const guest = await bootWithOracle();
  t.teardown(() => guest.stop());
  const cases = allCases(await worldOf(guest));
  t.ok(cases.length >= FEWEST_CASES, `${cases.length} cases`);
  const { compared } = await compareIn(guest, cases);
  const commands = new Set(compared.map(({ case: one }) => one.command));
  for (const command of commands) {
    const steps = compared.filter(({ case: one }) => one.command === command);
    const different = steps
      .filter(({ differences }) => differences.length > 0)
      .map(({ case: one, step, differences }) => [one.name, stepName(step), ...differences]);
    t.same(different, [], `${command}: ${steps.length} calls`);
  }
});
