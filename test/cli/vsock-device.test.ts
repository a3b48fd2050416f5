import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t, { type Test } from 'tap';
import { createServer } from '../../src/transport/index.js';
import { ringsOf } from '../rings.js';
import { cli } from '../run/application.js';
import { attemptAsSecondUser, noSecondUser } from '../second-user.js';

/** A device in a folder that everybody can enter, and what /proc says of its process. */
async function device(t: Test, ...options: string[]) {
  const folder = mkdtempSync(join(tmpdir(), 'waep-test-'));
  chmodSync(folder, 0o711);
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const [socket, path] = [join(folder, 'vhost.sock'), join(folder, 'vsock')];
  const words = [cli, 'vsock-device', '--socket', socket, '--uds-path', path, ...options];
  const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'pipe'] });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  t.teardown(() => child.kill('SIGKILL'));
  await Promise.race([
    once(createInterface(child.stdout), 'line'),
    once(child, 'exit').then(() => Promise.reject(new Error(errors))),
  ]);
  const rights = () => {
    const lines = readFileSync(`/proc/${child.pid}/status`, 'utf8').split('\n');
    return Object.fromEntries(lines.map((line) => line.split(/:\s*/, 2)));
  };
  return { child, socket, path, rights, address: `vsock-device:${path}` };
}

t.test('waep vsock-device holds only what it needs', async (t) => {
  const { child, socket, path, rights, address } = await device(t);
  const { Seccomp, NoNewPrivs, Uid = '', CapEff } = rights();
  t.match({ Seccomp, NoNewPrivs }, { Seccomp: '2', NoNewPrivs: '1' });
  t.same(ringsOf(child.pid ?? 0), []);
  if (noSecondUser === false) {
    const [uid = 0] = Uid.split('\t').map(Number);
    t.ok(uid >= 0x70000000, `user ${uid}, which is nobody's`);
    t.match(CapEff, /^0+$/);
    t.equal(statSync(socket).mode & 0o077, 0, "QEMU's socket is for nobody else");
    for (const one of [socket, path]) {
      t.equal((await attemptAsSecondUser(one, Buffer.from('CONNECT 1024\n'))).error, 'EACCES');
    }
    const server = createServer().listen(`${address}:5000`);
    await once(server, 'listening');
    t.equal(statSync(`${path}_5000`).uid, uid, 'it may connect to listeners of waep');
    server.close();
  }
  child.kill('SIGTERM');
  t.same(await once(child, 'exit'), [0, null]);

  // What it has left behind is replaced.
  const next = spawn(process.execPath, [
    cli,
    'vsock-device',
    '--socket',
    socket,
    '--uds-path',
    path,
  ]);
  t.teardown(() => next.kill('SIGKILL'));
  t.match(await once(createInterface(next.stdout), 'line'), [address]);
});

t.test('unless it is told otherwise', async (t) => {
  const { rights } = await device(t, '--no-confine');
  t.match(rights(), { Seccomp: '0', Uid: new RegExp(`^${process.getuid?.()}\\t`) });
});
