import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { Session } from '../../src/index.js';
import { readTlsFiles } from '../../src/tls-files.js';
import { localAgent } from '../agent/local-agent.js';
import { cli } from '../run/application.js';

const execute = promisify(execFile);

const scratch = mkdtempSync(join(tmpdir(), 'waep-test-'));
t.teardown(() => rmSync(scratch, { recursive: true, force: true }));

t.test('waep keys', async (t) => {
  const folder = join(scratch, 'keys');
  const make = (...options: string[]) =>
    execute(process.execPath, [cli, 'keys', folder, ...options]);
  const { stdout } = await make();
  const first = ['agent.crt', 'agent.key', 'ca.crt', 'ca.key', 'client.crt', 'client.key'];
  t.same(readdirSync(folder).sort(), first);
  t.same(stdout.trim().split('\n').sort(), first.map((name) => join(folder, name)).sort());
  const modes = first.map((name) => statSync(join(folder, name)).mode & 0o777);
  t.same(
    modes,
    first.map(() => 0o600),
  );
  t.equal(statSync(folder).mode & 0o777, 0o700);

  await make('--client', 'alice');
  t.same(
    readdirSync(folder).sort(),
    ['agent.crt', 'agent.key', 'alice.crt', 'alice.key', ...first.slice(2)].sort(),
  );

  const local = await localAgent({ tls: readTlsFiles({ keys: folder }, 'agent') });
  t.teardown(() => local.close());
  const peers: string[] = [];
  local.agent.on('session', ({ peer }) => peers.push(peer));
  const alice = {
    tlsCa: join(folder, 'ca.crt'),
    tlsCert: join(folder, 'alice.crt'),
    tlsKey: join(folder, 'alice.key'),
  };
  for (const options of [{ keys: folder }, alice]) {
    const tls = readTlsFiles(options, 'client');
    (await Session.connect(local.address, tls === undefined ? {} : { tls })).close();
  }
  t.match(peers, [/ as client$/, / as alice$/]);

  await t.rejects(make(), { code: 1, stderr: /EEXIST.*agent\.key/ }, 'nothing is replaced');
  await t.rejects(make('--agent', 'a/b'), { code: 1, stderr: /Invalid name of a certificate/ });
});

t.test('files of TLS', async (t) => {
  const invalid = { code: 'ERR_OPTION_INVALID' };
  t.equal(readTlsFiles({}, 'client'), undefined);
  t.throws(() => readTlsFiles({ tlsCa: '/dev/null' }, 'client'), invalid);
  t.throws(() => readTlsFiles({ keys: scratch }, 'client'), {
    ...invalid,
    message:
      /^Invalid --keys: ".*ca\.crt"\. Expected a certificate in PEM.*; there is no such file\.$/,
  });
});
