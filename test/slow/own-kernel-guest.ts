/* Boots a guest by defaults and prints where its kernel is from. */
import { boot } from '../../guest/index.js';
import { Session } from '../../src/index.js';
import { patient } from '../until.js';

await using guest = await boot({ accel: 'tcg', network: 'none', notice: () => {} });
await using session = await Session.connect(guest.vsock(), patient);
const { kernelOrigin: origin } = guest.info;
console.log(JSON.stringify({ origin, release: session.kernel.release }));
