/*
 * Attaches programs to interfaces that come, go and are renamed while an agent runs, in the network
 * namespace that it is started in, and prints what came of each attempt as JSON.
 */
import { execFileSync } from 'node:child_process';
import { kernelNames } from '../../guest/agent/kernel-names.js';
import { enums } from '../../src/bpf/index.js';
import { compile, profiles } from '../../src/policy/index.js';
import { Session } from '../../src/session.js';
import { localAgent } from '../agent/local-agent.js';
import { end, load } from './case.js';

const ip = (...args: string[]) => execFileSync('ip', args, { encoding: 'utf8' });
const indexOf = (name: string) => Number.parseInt(ip('-o', 'link', 'show', 'dev', name), 10);

const policy = { ...profiles.full, interfaces: ['waep0'] };
const local = await localAgent({ rules: compile(policy, kernelNames()), profile: policy.name });
const session = await Session.connect(local.address);
try {
  const program = await load(session, end, enums.ProgType.BPF_PROG_TYPE_XDP);
  const outcomes: string[] = [];
  const attach = async (index: number) => {
    try {
      await (await program.attachXdp(index, 'generic')).close();
      outcomes.push('attached');
    } catch (error) {
      const { code, detail } = error as Error & { code?: string; detail?: { value?: string } };
      outcomes.push(`${code} ${(detail?.value ?? '').replace(String(index), 'INDEX')}`);
    }
  };
  ip('link', 'add', 'waep0', 'type', 'veth', 'peer', 'name', 'waep1');
  const [first, second] = [indexOf('waep0'), indexOf('waep1')];
  await attach(first);
  await attach(second);
  ip('link', 'set', 'waep0', 'name', 'other');
  await attach(first);
  ip('link', 'set', 'waep1', 'name', 'waep0');
  await attach(second);
  ip('link', 'del', 'waep0');
  await attach(second);
  console.log(JSON.stringify(outcomes));
} finally {
  await session.close();
  await local.close();
}
