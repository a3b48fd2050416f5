import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { boot } from '../../guest/index.js';
import { preflight } from '../../src/kernel/index.js';
import { Session } from '../../src/session.js';
import {
  comparison,
  featuresOf,
  installedBpftool,
  unaskedByBpftool,
  wrongOfBpftool,
} from '../preflight/oracle.js';
import { patient } from '../until.js';

const cli = fileURLToPath(new URL('../../cli/main.js', import.meta.url));

t.setTimeout(1_200_000);

t.test('preflight says of a guest what bpftool says in it', async (t) => {
  const bpftool = await installedBpftool();
  const guest = await boot({
    ...{ exec: true, network: 'none', notice: () => {} },
    agent: { profile: 'full' },
    files: bpftool.files,
  });
  t.teardown(() => guest.stop());
  const session = await Session.connect(guest.vsock(), patient);
  t.teardown(() => session.close());
  const found = await preflight(session);
  const { differences, notAsked, alike } = comparison(
    await featuresOf(guest, bpftool),
    found,
    bpftool,
  );
  t.same(differences, wrongOfBpftool);
  t.same(
    notAsked.filter((what) => !unaskedByBpftool.includes(what)),
    [],
  );
  t.ok(alike > 5000, `${alike} answers are the same`);
  const helper = (name: string) => found.helpers.find((one) => one.name === name);
  // What bpftool does not tell.
  t.match(helper('bpf_seq_printf'), { offered: true, programTypes: ['tracing'] });
  t.match(helper('bpf_ima_inode_hash'), { offered: true, programTypes: ['lsm'] });
  t.same(Object.keys(found.helpersNotAskedOf), ['ext']);

  await t.test('and prints it in lines of 80 characters', async (t) => {
    // This process serves the guest's vsock meanwhile.
    const print = (...words: string[]) =>
      promisify(execFile)(process.execPath, [cli, 'preflight', '--vm', guest.vsock(), ...words], {
        maxBuffer: 2 ** 24,
      });
    const { stdout: short, stderr } = await print();
    t.equal(stderr, '');
    t.match(short, /^helpers +\d+ +\d+ +0 +0$/m);
    t.ok(short.split('\n').length < 24, 'it fits a screen');
    const { stdout: long } = await print('--all');
    t.match(long, /^ {2}bpf_skb_store_bytes\s+sched_cls sched_act lwt_xmit sk_skb$/m);
    for (const text of [short, long]) {
      t.same(
        text.split('\n').filter((line) => line.length > 80),
        [],
      );
    }
    t.match(JSON.parse((await print('--json')).stdout), { helpersNotAskedOf: { ext: /replaces/ } });
  });
});
