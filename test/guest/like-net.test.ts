/* What is like node:net on the transports that take a guest: docs/transport.md has what is declared. */
import t from 'tap';
import { boot } from '../../guest/index.js';
import { fromHost, likeNetFiles, withinGuest } from './like-net-guest.js';

t.setTimeout(600_000);

const files = await likeNetFiles(t);
const guest = await boot({ agent: false, exec: true, vsock: 'device', files, notice: () => {} });
t.teardown(() => guest.stop());

t.test('vsock-device, dialled and accepted by the host, beside node:net on TCP', (t) =>
  fromHost(t, guest, 'vsock-device', { halfClose: true }),
);

t.test('vsock, by loopback in the guest, beside node:net on TCP', (t) => withinGuest(t, guest));
