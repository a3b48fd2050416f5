import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { packageFolder } from '../../src/paths.js';

t.test('an interface is judged by the name that it has when a call is made', async (t) => {
  const changes = join(packageFolder, 'dist/test/policy/interface-changes.js');
  const { stdout } = await promisify(execFile)('unshare', ['--net', process.execPath, changes]);
  t.same(JSON.parse(stdout), [
    'attached',
    'ERR_POLICY_REFUSED waep1 (INDEX)',
    'ERR_POLICY_REFUSED other (INDEX)',
    'attached',
    'ERR_POLICY_REFUSED INDEX',
  ]);
});
