/* Runs the attacks as a test, on a given kernel. */
import type { Test } from 'tap';
import type { KernelChoice } from '../../guest/image/kernel.js';
import { attackAll, attackedPolicy } from './attacks.js';
import { bootBystanders } from './bystanders.js';

/** Tests that a rule refuses each attack, and that no attack changes anything of others. */
export function testAttacks(t: Test, suite: string, kernel: KernelChoice): void {
  t.test(`attacks on the kernel of ${suite} are refused`, async (t) => {
    const folder = t.testdir({ 'policy.yaml': attackedPolicy });
    const others = await bootBystanders({ policy: `${folder}/policy.yaml` }, kernel);
    t.teardown(() => others.stop());
    t.comment(others.guest.info.kernel);
    for (const { attack, error, changes } of await attackAll(others)) {
      const { name, rule, message } = attack;
      const code = rule === undefined ? 'ERR_CALL_MALFORMED' : 'ERR_POLICY_REFUSED';
      t.match(error, { code, message }, name);
      if (rule !== undefined) t.match(error, { detail: { rule } }, name);
      t.same(changes, [], name);
    }
  });
}
