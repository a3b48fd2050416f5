import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { makeKeys } from '../../cli/keys.js';
import { Session } from '../../src/session.js';
import { agentProcess } from '../agent/agent-process.js';
import { localAgent } from '../agent/local-agent.js';
import { cli } from '../run/application.js';
import { until } from '../until.js';

const keys = mkdtempSync(join(tmpdir(), 'waep-keys-'));
await makeKeys(keys, 1, { agent: 'agent', client: 'client' });
t.teardown(() => rmSync(keys, { recursive: true, force: true }));

const options = ['--keys', keys];
const run = promisify(execFile);
const waep = (...words: string[]) => run(process.execPath, [cli, ...words]);

t.test('every command that connects does over TLS', async (t) => {
  const { address } = await agentProcess(t, ['--quiet', '--profile', 'full', ...options]);
  const ping = JSON.parse((await waep('ping', address, ...options, '--json')).stdout);
  t.match(ping, { ok: true, address, sessions: 0, maxSessions: 64 });
  t.match((await waep('preflight', '--vm', address, ...options)).stdout, /under the policy "full"/);
  t.match((await waep('run', '--vm', address, ...options, '--', 'uname', '-r')).stdout, /^\d/);

  const following = async (
    words: readonly [string, ...string[]],
    what: RegExp,
    see: 'stdout' | 'stderr',
  ) => {
    const child = spawn(process.execPath, [cli, ...words, ...options], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    t.teardown(() => child.kill('SIGKILL'));
    let said = '';
    child[see].setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    await until(
      () => `${words[0]} to follow; it says ${said}`,
      async () => {
        await run('true');
        return what.test(said);
      },
    );
    child.kill('SIGINT');
    const [status] = await once(child, 'exit');
    t.equal(status, 0, words[0]);
  };
  await following(['trace', '--vm', address], /following the log/, 'stderr');
  await following(['hello', '--vm', address], /Hello World!/, 'stdout');
});

t.test('an agent that is full, or is not there, is told of by ping', async (t) => {
  const few = await localAgent({ maxSessions: 1 });
  t.teardown(few.close);
  await using _ = await Session.connect(few.address);
  for (const [at, message] of [
    [few.address, /the maximum of 1 sessions is reached/],
    ['unix:/nonexistent/agent.sock', /ENOENT/],
  ] as const) {
    const { code, stdout, stderr } = await waep('ping', at, '--json', '--timeout', '30s').catch(
      (error) => error,
    );
    t.equal(code, 1);
    t.match(JSON.parse(stdout), { ok: false, address: at, error: { message } });
    t.equal(stderr, '');
  }
});
