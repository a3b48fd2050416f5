/* What the rules of policies come to, kept in files that a reader of a change sees. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { packageFolder } from '../../src/paths.js';
import { compiled, policies } from './compiled.js';

for (const [name, policy] of Object.entries(policies)) {
  t.test(name, async (t) => {
    const file = `test/policy/compiled/${name}.txt`;
    t.equal(
      compiled(policy),
      readFileSync(join(packageFolder, file), 'utf8'),
      `after a change that is meant: node dist/test/policy/compiled.js ${name} >${file}`,
    );
  });
}
