import t from 'tap';
import { boot } from '../../guest/index.js';
import { enums, Session } from '../../src/index.js';
import { patient } from '../until.js';

t.setTimeout(1_800_000);

/** Suites of the archive, and what the releases of their kernels begin with. */
const suites: ReadonlyArray<[string | undefined, RegExp]> = [
  ['bullseye', /^5\.10\./],
  [undefined, /^\d+\./],
  ['trixie', /^6\.12\./],
  ['sid', /^[7-9]\./],
];

for (const [suite, release] of suites) {
  t.test(`the kernel of ${suite ?? 'the configured suites'} boots`, async (t) => {
    await using guest = await boot({ kernel: { suite }, network: 'none', notice: () => {} });
    t.match(guest.info.kernel, release);
    await using session = await Session.connect(guest.vsock(), patient);
    const map = { type: enums.MapType.BPF_MAP_TYPE_ARRAY, keySize: 4, valueSize: 8, maxEntries: 1 };
    await using _ = await session.createMap(map);
  });
}
