/* What is said of kernels without a guest of them at hand, on kernels from 5.10 to the newest. */
import t from 'tap';
import { boot } from '../../guest/index.js';
import { preflight } from '../../src/kernel/index.js';
import { Session } from '../../src/session.js';
import { judge } from '../kernel/map-breaches.js';
import { kernelNamed } from '../kernels.js';
import {
  arenaWithoutMemory,
  bpftoolOf,
  comparison,
  featuresOf,
  installedBpftool,
  unaskedByBpftool,
  wrongOfBpftool,
} from '../preflight/oracle.js';
import { patient } from '../until.js';

t.setTimeout(1_800_000);

/** The types of maps that kernels lack, by the release that has them first. */
const since: Readonly<Record<string, readonly string[]>> = {
  '5.11': ['task_storage'],
  '5.16': ['bloom_filter'],
  '6.1': ['user_ringbuf'],
  '6.2': ['cgrp_storage'],
  '6.9': ['arena'],
  '7.2': ['insn_array', 'rhash'],
};
const lackedBefore = (...releases: readonly string[]) =>
  releases.flatMap((release) => since[release] ?? []);

/**
 * The release of each kernel, the types of maps that it lacks, where bpftool is wrong of it, and
 * from which suite to take that.
 */
const kernels: readonly (readonly [
  string,
  RegExp,
  readonly string[],
  readonly string[],
  string?,
])[] = [
  ['5.10', /^5\.10\./, lackedBefore('5.11', '5.16', '6.1', '6.2', '6.9', '7.2'), []],
  ['6.1', /^6\.1\./, lackedBefore('6.2', '6.9', '7.2'), wrongOfBpftool],
  // The bpftool of Debian 12 says there that every program may call every helper: the verifier has
  // a new sentence for those that may not, "program of this type cannot use helper", which its
  // libbpf, 1.1, does not know. So the newest one is asked, with the libraries of its suite.
  ['6.12', /^6\.12\./, lackedBefore('7.2'), wrongOfBpftool, 'sid'],
  ['sid', /^[7-9]\./, [], wrongOfBpftool, 'sid'],
];

for (const [name, release, lacked, wrong, suite] of kernels) {
  t.test(`the kernel ${name}`, async (t) => {
    const bpftool = await (suite === undefined ? installedBpftool() : bpftoolOf(suite));
    await using guest = await boot({
      ...{ kernel: kernelNamed(name), exec: true, vsock: 'none', network: 'user' },
      agent: { tcp: 'anybody', profile: 'full' },
      files: bpftool.files,
      notice: () => {},
    });
    t.match(guest.info.kernel, release);
    const session = await Session.connect(guest.tcp(), patient);
    t.teardown(() => session.close());

    const found = await preflight(session);
    const those = (is: boolean | undefined) =>
      found.mapTypes.filter(({ offered }) => offered === is).map((one) => one.name);
    t.same(those(false), lacked, 'the types of maps that the kernel lacks');
    t.same(those(undefined), [], 'of no type it is not known');
    const compared = comparison(await featuresOf(guest, bpftool), found, bpftool);
    t.same(
      compared.differences.filter((line) => line !== arenaWithoutMemory),
      wrong,
      'preflight says what bpftool says',
    );
    t.same(
      compared.notAsked.filter((what) => !unaskedByBpftool.includes(what)),
      [],
    );
    t.ok(compared.alike > 5000, `${compared.alike} answers are the same`);

    const { made, asked, mistaken } = await judge(session);
    t.same(mistaken, [], 'the kernel refuses the maps that createMap refuses');
    t.ok(made.length > 24 && asked > 400, `${asked} maps of ${made.length} types`);
  });
}
