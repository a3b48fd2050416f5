/* `npm run test:device`: the conformance suite on the in-process device, by kernel and by QEMU. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter } from 'node:path';
import t from 'tap';
import { boot, type KernelChoice } from '../../guest/index.js';
import { fromHost, suiteFiles, workerUrl } from '../guest/conformance-guest.js';
import { newerQemu } from './newer-qemu.js';
import { record } from './page.js';

const PEER_PORT = 7000;
const CLOSED_PORT = 7001;

t.setTimeout(3_600_000);

const files = await suiteFiles(t);
const folder = mkdtempSync(`${tmpdir()}/waep-`);
t.teardown(() => rmSync(folder, { recursive: true, force: true }));
await newerQemu(folder);
const { PATH = '' } = process.env;

const kernels: readonly KernelChoice[] = [
  {},
  { suite: 'bullseye' },
  { suite: 'bookworm-backports' },
];
// By both of virtio's transports, MMIO and PCI.
const machines = [
  { name: 'the installed QEMU', path: PATH, machine: 'microvm' },
  { name: 'a newer QEMU', path: `${folder}${delimiter}${PATH}`, machine: 'q35' },
] as const;

for (const { name, path, machine } of machines) {
  for (const kernel of kernels) {
    const suite = 'suite' in kernel ? kernel.suite : 'this machine';
    await t.test(`${name}, the kernel of ${suite}`, async (t) => {
      process.env.PATH = path;
      await using guest = await boot({
        agent: false,
        exec: true,
        vsock: 'device',
        machine,
        kernel,
        files,
      });
      const { qemu, kernel: release } = guest.info;
      t.comment(`QEMU ${qemu}, Linux ${release}`);
      await fromHost(t, guest, `vsock:any:${PEER_PORT}`, {
        peer: guest.vsock(PEER_PORT),
        halfClose: true,
        refused: { address: guest.vsock(CLOSED_PORT), code: 'ECONNRESET' },
        workerUrl,
      });
      t.ok(t.passing(), 'all of it passes');
      record(
        'the conformance suite',
        `QEMU ${qemu} (${machine}), Linux ${release}`,
        `${t.counts.pass} passed, ${t.counts.fail} failed, ${t.counts.skip} skipped`,
      );
    });
  }
}
process.env.PATH = PATH;

t.test('vhost-device-vsock, which is what others have', async (t) => {
  await using guest = await boot({ agent: false, exec: true, vsock: 'mux', files });
  await fromHost(t, guest, `vsock:any:${PEER_PORT}`, {
    peer: guest.vsock(PEER_PORT),
    halfClose: false,
    // Seen with a plain C echo in the guest and a plain Python client on the host as well.
    bulkDefect: 'vhost-device-vsock 0.3.0 stalls now and then when both directions are full',
    refused: { address: guest.vsock(CLOSED_PORT), code: 'ERR_MUX_REFUSED' },
    workerUrl,
  });
});
