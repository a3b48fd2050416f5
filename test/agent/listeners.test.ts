import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { agentPath } from '../../src/paths.js';
import { Session } from '../../src/session.js';
import { folderOf } from './agent-process.js';

const breaker = fileURLToPath(new URL('./listener-breaker.js', import.meta.url));

t.test('an agent outlives a listener that fails, and ends with the last one', async (t) => {
  const folder = folderOf(t);
  const first = `unix:${join(folder, 'first')}`;
  const second = `unix:${join(folder, 'second')}`;
  const listen = ['--listen', first, '--listen', second];
  const agent = spawn(process.execPath, ['--import', breaker, agentPath, '--quiet', ...listen], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exit = once(agent, 'exit');
  t.teardown(async () => {
    agent.kill('SIGKILL');
    await exit;
  });
  const says = createInterface(agent.stdout)[Symbol.asyncIterator]();
  const warnings = createInterface(agent.stderr)[Symbol.asyncIterator]();
  /** The next line about listening; what the agent says of this machine's file systems is left out. */
  const warning = async (): Promise<string | undefined> => {
    const { value, done } = await warnings.next();
    return done || value.includes('listen') ? value : warning();
  };
  await says.next();
  t.equal((await says.next()).value, `waep-agent: listening on ${second}`);

  const session = await Session.connect(first);
  agent.kill('SIGUSR2');
  const failed = `waep-agent: not listening on ${first} any more: accept EINVAL`;
  t.equal(await warning(), failed);
  await session.createMap({ type: 2, keySize: 4, valueSize: 4, maxEntries: 1 });
  session.close();
  (await Session.connect(second)).close();

  agent.kill('SIGUSR2');
  t.match(await warning(), `not listening on ${second} any more`);
  t.match(await warning(), 'no address is left to listen on');
  t.same(await exit, [1, null], 'its status says so');
});
