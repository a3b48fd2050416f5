import { rmSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { formatAddress } from '../../src/transport/index.js';
import { bridge, socketFolder, startFakeMux } from './fake-mux.js';
import { compare, nodeKit, transportKit } from './like-net-kits.js';
import { page } from './like-net-table.js';

const folder = socketFolder();
t.teardown(() => rmSync(folder, { recursive: true, force: true }));
let made = 0;

t.test('unix, beside node:net on Unix sockets', (t) =>
  compare(
    t,
    'unix',
    nodeKit(folder),
    transportKit({
      next() {
        const address = `unix:${join(folder, `r${made++}`)}`;
        return { listen: address, dial: () => address };
      },
      nobody: `unix:${join(folder, 'nobody')}`,
    }),
  ),
);

t.test('tcp, beside node:net on TCP', (t) =>
  compare(
    t,
    'tcp',
    nodeKit(),
    transportKit({
      next: () => ({
        listen: 'tcp:127.0.0.1:0',
        dial: (server) => formatAddress(server.address() ?? { transport: 'unix', path: '/' }),
      }),
      nobody: 'tcp:127.0.0.1:1',
    }),
  ),
);

t.test('vsock-mux, over a multiplexer of the test, beside node:net on TCP', async (t) => {
  const mux = await startFakeMux(bridge);
  t.teardown(() => mux[Symbol.asyncDispose]());
  const places = {
    next() {
      const port = 9000 + made++;
      return {
        listen: `unix:${join(mux.folder, `guest_${port}`)}`,
        dial: () => `vsock-mux:${mux.path}:${port}`,
      };
    },
    nobody: `vsock-mux:${mux.path}:9`,
  };
  await compare(t, 'vsock-mux', nodeKit(), transportKit(places));
});

t.test('the page has the table as this suite would write it', (t) => {
  const { found, wanted } = page();
  t.equal(found, wanted, 'write it by: node dist/test/transport/like-net-table.js');
  t.end();
});
