/* Clients of the ecosystem on the host, their servers in a guest. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { bootServers, ecosystemFiles, fromHost } from '../ecosystem/places.js';

t.setTimeout(400_000);

const only = ['http', 'https', 'ws', 'undici'];
const folder = mkdtempSync(join(tmpdir(), 'waep-'));
t.teardown(() => rmSync(folder, { recursive: true, force: true }));

t.test('clients of the host, by its own device', async (t) => {
  const done: string[] = [];
  const errand = {
    only,
    report({ program, ok, why }: { program: string; ok: boolean; why?: string }) {
      done.push(program);
      t.ok(ok, program, { why });
    },
  };
  const guest = await bootServers(errand, {
    files: await ecosystemFiles(folder),
    vsock: 'device',
  });
  t.teardown(() => guest.stop());
  await fromHost(guest, errand);
  t.same(done, only, 'all have been run');
});
