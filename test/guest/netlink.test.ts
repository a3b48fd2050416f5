import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { boot } from '../../guest/index.js';
import { requireTool } from '../../guest/tools.js';
import { filesOf } from '../conformance/compat/equipment.js';
import { cli } from '../run/application.js';
import { type Outcome, start } from '../run/outcome.js';
import { until } from '../until.js';

t.setTimeout(300_000);

const OBSERVING_PORT = 2001;
const POLICY = '/etc/waep/netlink.yaml';

const folder = mkdtempSync(join(tmpdir(), 'waep-netlink-'));
t.teardown(() => rmSync(folder, { recursive: true }));
const object = join(folder, 'netlink.bpf.o');
execFileSync('clang', [
  ...['-target', 'bpf', '-g', '-O2', '-Wall', '-Werror', '-mcpu=v3'],
  ...['-I', '/usr/include/x86_64-linux-gnu'],
  ...['-c', 'test/guest/netlink.bpf.c', '-o', object],
]);

/** The commands of busybox have some of these names. */
const [ip, tc, ss, bpftool] = ['ip', 'tc', 'ss', 'bpftool'].map(requireTool) as [
  string,
  string,
  string,
  string,
];

type Told = Pick<Outcome, 'status' | 'output' | 'errors'>;

interface Row {
  readonly command: string;
  /** What is refused if the policy allows looking only. */
  readonly refused?: RegExp;
}
const rows: readonly Row[] = [
  { command: `${ip} -d link` },
  { command: `${ip} -j addr` },
  { command: `${ss} -tlnH` },
  { command: `${tc} qdisc show` },
  { command: `${tc} qdisc add dev mine clsact`, refused: /RTM_NEWQDISC/ },
  { command: `${tc} qdisc show dev mine` },
  {
    command: `${tc} filter add dev mine ingress bpf da obj ${object} sec tc`,
    // tc and ip look for a place for pins before they load a program.
    refused: /statfs: rule readable_paths does not allow \/sys\/fs\/bpf/,
  },
  { command: `${tc} filter show dev mine ingress` },
  { command: `${tc} -j filter show dev mine ingress` },
  {
    command: `${ip} link set dev mine xdpgeneric obj ${object} sec xdp`,
    refused: /statfs: rule readable_paths does not allow \/sys\/fs\/bpf/,
  },
  { command: `${ip} -d link show dev mine` },
  { command: `${bpftool} net` },
  { command: `${ip} link set dev mine xdpgeneric off`, refused: /RTM_NEWLINK/ },
  { command: `${tc} filter del dev mine ingress`, refused: /RTM_DELTFILTER/ },
  { command: `${tc} qdisc del dev mine clsact`, refused: /RTM_DELQDISC/ },
];

/** What is attached to the interface, as the guest tells it itself. */
const attached = [
  `${ip} -d link show dev mine`,
  `${tc} qdisc show dev mine`,
  `${tc} filter show dev mine ingress`,
  'find /sys/fs/bpf',
].join(' && ');

/** The ids of programs and the times at which they were loaded are new each time. */
const lasting = (text: string) => text.replace(/\b((btf_)?id|load_time)\b("?:| ) ?\d+/g, '$1$3 …');

t.test('tools of netlink do from the host what they do in the guest', async (t) => {
  await using guest = await boot({
    exec: true,
    agent: { args: ['--policy', POLICY] },
    modules: ['veth', 'sch_ingress', 'cls_bpf', 'tcp_diag'],
    files: {
      ...(await filesOf([ip, tc, ss, bpftool])),
      [object]: { source: object },
      [POLICY]: {
        text: JSON.stringify({
          profile: 'full',
          interfaces: ['mine'],
          netlink: ['read_network', 'read_sockets', 'attach_xdp', 'attach_tc'],
          pin_paths: ['/sys/fs/bpf/'],
        }),
      },
    },
    notice: () => {},
  });
  await guest.sh(`${ip} link add mine type veth peer other && ${ip} link add no type veth`);
  await guest.sh(`${ip} link set mine up && ${ip} link set other up`);
  const from = (address: string) => (command: string) =>
    start([process.execPath, cli, 'run', '--vm', address, '--', 'sh', '-c', command], {}).ended;

  const inGuest = async (command: string) => {
    const { status, stdout, stderr } = await guest.exec(['/bin/sh', '-c', command]);
    return { status, output: stdout, errors: stderr };
  };
  const told = async (run: (command: string) => Promise<Told>) => {
    const all = [];
    for (const { command } of rows) {
      const { status, output, errors } = await run(command);
      const now = lasting(await guest.sh(attached));
      all.push({ command, status, output: lasting(output), errors, attached: now });
    }
    return all;
  };
  const addressesAreKnown = async () => !/tentative/.test(await guest.sh(`${ip} addr`));
  await until('the addresses of the interfaces', addressesAreKnown, { everyMs: 100 });

  const observer = await guest.spawn(
    [
      ...['node', '/usr/lib/waep/agent.cjs', '--quiet', '--any-source-port'],
      ...['--listen', `vsock:any:${OBSERVING_PORT}`, '--profile', 'observe'],
    ],
    { env: { WAEP_NATIVE_DIR: '/usr/lib/waep' } },
  );
  t.teardown(() => observer.destroy());
  observer.ended.catch(() => {});
  await once(observer.stdout, 'data');
  const observing = from(guest.vsock(OBSERVING_PORT));
  const untouched = await guest.sh(attached);
  for (const { command, refused } of rows) {
    if (refused === undefined) continue;
    const { status, errors } = await observing(command);
    t.match(errors, refused, command);
    t.not(status, 0, command);
    t.equal(await guest.sh(attached), untouched, command);
  }

  const run = from(guest.vsock());
  const made = await run(`unshare --net ${bpftool} net`);
  t.match(made.errors, /BPF_PROG_QUERY with a descriptor of net:.* is refused/);

  const relayed = await told(run);
  await guest.sh('rm -r /sys/fs/bpf/*');
  const native = await told(inGuest);
  for (const [index, one] of native.entries()) {
    t.same(relayed[index], one, one.command);
    t.equal(one.status, 0, one.command);
  }
  const after = (part: string) => relayed.find(({ command }) => command.includes(part))?.attached;
  t.match(after('filter add'), /:\[tc\] direct-action .* name see_packet /);
  t.match(after('xdpgeneric obj'), /prog\/xdp .* name see_frame /);
  t.match(after('xdpgeneric obj'), '/sys/fs/bpf/xdp\n', 'ip has made a link for pins');
  t.notMatch(relayed.at(-1)?.attached, /clsact|see_/);

  // What the tool has attached goes on in the guest when the tool has ended.
  const { errors } = await run(
    `${tc} qdisc add dev mine clsact && ${tc} filter add dev mine ingress bpf da obj ${object} sec tc`,
  );
  t.equal(errors, '');
  await guest.sh(`${ip} addr add 10.9.9.1/24 dev other`);
  const counted = async () => {
    // Nobody has this address, so that the guest asks for it.
    await guest.sh('ping -c 1 -w 1 10.9.9.2 > /dev/null || true');
    return /"formatted":\{"key":0,"value":[1-9]/.test(
      await guest.sh(`${bpftool} -j map dump name seen`),
    );
  };
  t.ok(await until('a packet that the filter sees', counted, { everyMs: 100 }));
});
