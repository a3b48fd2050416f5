/* What is said of kernels without a guest of them at hand, on kernels from 5.10 to the newest. */
import t from 'tap';
import { boot } from '../../guest/index.js';
import { preflight, Session } from '../../src/session/index.js';
import { judge } from '../library/map-breaches.js';
import {
  bpftoolOf,
  comparison,
  featuresOf,
  installedBpftool,
  unaskedByBpftool,
  wrongOfBpftool,
} from '../preflight/oracle.js';

t.setTimeout(900_000);

/** The kernels of Debian's suites. */
const kernels = [
  { suite: 'bullseye', release: /^5\.10\./, wrong: [] },
  { suite: 'bookworm', release: /^6\.1\./, wrong: wrongOfBpftool },
  // The bpftool of Debian 12 says there that every program may call every helper: the verifier has
  // a new sentence for those that may not, "program of this type cannot use helper", which libbpf
  // knows since 1.6. So the newest one is asked, with the libraries of its suite.
  { suite: 'bookworm-backports', release: /^6\.12\./, wrong: wrongOfBpftool, tool: 'sid' },
  { suite: 'sid', release: /^[7-9]\./, wrong: wrongOfBpftool, tool: 'sid' },
] as const;

for (const { suite, release, wrong, ...more } of kernels) {
  t.test(`the kernel of ${suite}`, async (t) => {
    const bpftool = 'tool' in more ? await bpftoolOf(more.tool) : await installedBpftool();
    await using guest = await boot({
      ...{ kernel: { suite }, lab: true, vsock: 'none', network: 'user', notice: () => {} },
      agent: { profile: 'full' },
      files: bpftool.files,
    });
    t.match(guest.facts.kernel, release);
    const session = await Session.connect(guest.tcp());
    t.teardown(() => session.close());

    const found = await preflight(session);
    const compared = comparison(await featuresOf(guest, bpftool), found, bpftool);
    t.same(compared.differences, wrong, 'preflight says what bpftool says');
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
