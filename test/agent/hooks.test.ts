import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { whyNoKernel } from '../bpf/kernel.js';
import { agentProcess, folderOf } from './agent-process.js';

t.test('a hook that this kernel does not have is warned of', { skip: whyNoKernel() }, async (t) => {
  const policy = join(folderOf(t), 'policy.yaml');
  const hooks = ['sys_enter', 'sched_*', 'vfs_read', '!do_exit', 'sys_entre', '!sched_swich*'];
  writeFileSync(policy, `profile: full\nhooks: ${JSON.stringify(hooks)}\n`);
  const { stderr } = await agentProcess(t, ['--policy', policy]);
  const warned = [...stderr().matchAll(/warning: the policy's hook "(.*?)"/g)];
  t.same(
    warned.map(([, name]) => name),
    ['sys_entre', '!sched_swich*'],
  );

  writeFileSync(policy, 'profile: full\n');
  const { stderr: silent } = await agentProcess(t, ['--policy', policy]);
  t.notMatch(silent(), 'warning: the policy');
});
