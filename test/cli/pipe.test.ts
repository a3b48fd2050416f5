import { spawn } from 'node:child_process';
import { once } from 'node:events';
import t from 'tap';
import { Session } from '../../src/index.js';
import { localAgent } from '../agent/local-agent.js';
import { emitter } from '../events/emitter.js';
import { ringOf } from '../events/maps.js';
import { cli } from '../run/application.js';
import { until } from '../until.js';

t.test('a command whose reader goes ends its session, and waits for no lease', async (t) => {
  const { agent, address, close } = await localAgent();
  t.teardown(close);
  let ended = 0;
  agent.on('ended', () => ended++);
  await using session = await Session.connect(address);
  await using ring = await ringOf(session, 64 * 1024);
  await using emit = await emitter(session, ring, 16);
  const script =
    '"$NODE" "$CLI" stream "$MAP" --vm "$VM" --lease 60s | head -n 1; echo $PIPESTATUS';
  const env = { NODE: process.execPath, CLI: cli, VM: address, MAP: `${(await ring.info()).id}` };
  const reader = spawn('bash', ['-c', script], {
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { ...process.env, ...env },
  });
  let printed = '';
  reader.stdout.setEncoding('utf8').on('data', (text: string) => {
    printed += text;
  });
  const exit = once(reader, 'close').then(() => true);
  await until(
    'the end of the command',
    async () => {
      await emit.run(1);
      return Promise.race([exit, new Promise((resolve) => setImmediate(resolve))]);
    },
    { everyMs: 50 },
  );
  t.match(printed, /^.+\n141\n$/);
  await until('the end of its session', () => ended === 1, { withinMs: 30_000 });
});
