import { release } from 'node:os';
import t from 'tap';
import { enums } from '../../src/bpf/index.js';
import { compile, profiles } from '../../src/policy/index.js';
import { Session } from '../../src/session.js';
import { localAgent } from '../agent/local-agent.js';
import { names, raw } from './case.js';

const [EINVAL, EOPNOTSUPP] = [22, 95];
const [major = 0, minor = 0] = release().split('.').map(Number);

t.test('a session that may do everything gets no token', async (t) => {
  const local = await localAgent({ rules: compile(profiles.full, names) });
  t.teardown(() => local.close());
  const session = await Session.connect(local.address);
  t.teardown(() => session.close());
  const folder = await session.open('/sys/fs/bpf');
  const { BPF_TOKEN_CREATE } = enums.Cmd;
  const { result, errno } = await raw(session, BPF_TOKEN_CREATE, 8, { 4: { handle: folder } });
  const hasTokens = major > 6 || (major === 6 && minor >= 9);
  t.same({ result, errno }, { result: -1, errno: hasTokens ? EOPNOTSUPP : EINVAL });
});
