import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { test } from 'tap';
import { FrameType, messageFrame } from '../../src/frame/index.js';
import { Session } from '../../src/index.js';
import { until } from '../until.js';
import { localAgent } from './local-agent.js';

test('a session gets the executor that is kept ready', async (t) => {
  const local = await localAgent({ keepsSpare: true });
  t.teardown(() => local.close());
  const { agent, address } = local;
  const spare = agent.sparePid as number;
  t.ok(existsSync(`/proc/${spare}`));
  t.same(agent.executorPids, [], 'it is no session');

  const first = await Session.connect(address);
  t.same(agent.executorPids, [spare]);
  await first.readClock(1);
  const second = await Session.connect(address);
  await second.readClock(1);
  t.equal(new Set(agent.executorPids).size, 2, 'each session has its own');
  first.close();
  await until('the end of the first', () => agent.sessions === 1);
  t.notOk(existsSync(`/proc/${spare}`), 'it is used once');
  t.equal(agent.sparePid, undefined, 'nothing is started while there is a session');
  second.close();
  await until('the end of both', () => agent.sessions === 0);
  const next = agent.sparePid as number;
  t.ok(existsSync(`/proc/${next}`), 'the next one is ready');

  process.kill(next, 'SIGKILL');
  await until('its end', () => agent.sparePid === undefined);
  const third = await Session.connect(address);
  await third.readClock(1);
  t.pass('a session does without');
  third.close();
  await until('another spare', () => agent.sessions === 0 && agent.sparePid !== undefined);
  const last = agent.sparePid as number;
  await agent.close();
  t.notOk(existsSync(`/proc/${last}`), 'it goes with the agent');
  t.equal(agent.sparePid, undefined);
});

test('no executor is kept unless that is asked for', async (t) => {
  const local = await localAgent();
  t.teardown(() => local.close());
  t.equal(local.agent.sparePid, undefined);
});

test('a client that has given up takes no executor', async (t) => {
  const local = await localAgent({ keepsSpare: true });
  t.teardown(() => local.close());
  const { agent, address } = local;
  const spare = agent.sparePid;
  const refused = once(agent, 'refused');
  const hello = messageFrame(FrameType.HELLO, 0, { protocol: 1, client: 'x' });
  const script = `
    const socket = require('node:net').connect(process.argv[1]);
    socket.end(Buffer.from(process.argv[2], 'hex'), () => socket.destroy());`;
  const words = [address.slice('unix:'.length), Buffer.from(hello).toString('hex')];
  // The agent is in this process, and accepts the connection after the client's end.
  execFileSync(process.execPath, ['-e', script, ...words]);
  const [{ error }] = await refused;
  t.match(error, { code: 'ERR_PEER_REFUSED', message: /before there was an answer/ });
  t.equal(agent.sparePid, spare);
  t.equal(agent.sessions, 0);
});
