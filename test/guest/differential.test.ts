import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { packageFolder } from '../../src/paths.js';
import { stepName } from '../conformance/differential/compare.js';
import { bootWithOracle, compareIn } from '../conformance/differential/run.js';
import { commandNames } from '../conformance/differential/uapi.js';
import { worldOf } from '../conformance/differential/world.js';

const FEWEST_CASES = 400;

t.setTimeout(600_000);

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

t.test('the suite runs a part on one kernel, and writes no results unless told', async (t) => {
  const page = join(packageFolder, 'results/conformance.md');
  const before = await readFile(page, 'utf8');
  const suite = fileURLToPath(new URL('../conformance/differential/main.js', import.meta.url));
  const words = [suite, '--kernel', '6.1', '--part', 'batches'];
  const { stdout } = await promisify(execFile)(process.execPath, words);
  t.match(stdout, /^Linux 6\.1\.\S+: \d+ calls, 0 different, \d+ ms\n$/);
  t.equal(await readFile(page, 'utf8'), before);
});
