/* What is like node:net over the multiplexer that others have: docs/transport.md has what is declared. */
import t from 'tap';
import { boot } from '../../guest/index.js';
import { fromHost, likeNetFiles } from '../guest/like-net-guest.js';

t.setTimeout(600_000);

t.test('vsock-mux, by vhost-device-vsock, beside node:net on TCP', async (t) => {
  const files = await likeNetFiles(t);
  await using guest = await boot({ agent: false, exec: true, vsock: 'mux', files });
  await fromHost(t, guest, 'vsock-mux', { halfClose: false });
});
