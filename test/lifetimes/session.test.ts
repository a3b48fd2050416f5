import { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import t from 'tap';
import { ControlChannel } from '../../guest/agent/control.js';
import { ExecutorProcess } from '../../guest/agent/executor.js';
import { Session } from '../../src/index.js';
import { native } from '../../src/native.js';
import { localAgent } from '../agent/local-agent.js';
import { noneStays } from './alive.js';

t.setTimeout(120_000);

/** What a session is made of: on the host, and in the agent, which is in this process, too. */
const host = { Session, Channel: native.Channel, Poller: native.Poller, 'net.Socket': net.Socket };
const agent = { ExecutorProcess, ControlChannel, ChildProcess };

t.test('sessions', async (t) => {
  const local = await localAgent();
  t.teardown(() => local.close());
  const { signal } = new AbortController();
  await noneStays(t, { ...host, ...agent, AbortSignal }, 1000, async () => {
    const session = await Session.connect(local.address, { signal });
    session.onClose(() => {});
    await session.readClock(1);
    session.close();
    while (local.agent.sessions > 0) await once(local.agent, 'ended');
  });
});
