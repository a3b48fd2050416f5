import t from 'tap';
import { stepName } from '../differential/compare.js';
import { bootWithOracle, compareIn } from '../differential/run.js';
import { commandNames } from '../differential/uapi.js';
import { worldOf } from '../differential/world.js';

const FEWEST_CASES = 400;

t.setTimeout(180_000);

t.test('forwarded calls do what calls made in the guest do', async (t) => {
  const guest = await bootWithOracle();
  t.teardown(() => guest.stop());
  const { compared } = await compareIn(guest, await worldOf(guest));
  const cases = new Set(compared.map(({ case: one }) => one));
  t.ok(cases.size >= FEWEST_CASES, `${cases.size} cases`);
  const commands = new Set([...cases].map(({ command }) => command));
  for (const command of commandNames) t.ok(commands.has(command), `there are cases of ${command}`);
  for (const command of commands) {
    const steps = compared.filter(({ case: one }) => one.command === command);
    const different = steps
      .filter(({ differences }) => differences.length > 0)
      .map(({ case: one, step, differences }) => [one.name, stepName(step), ...differences]);
    t.same(different, [], `${command}: ${steps.length} calls`);
  }
});
