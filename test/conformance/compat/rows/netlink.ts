/* Tools of netlink(7), which show the guest's network and attach programs to an interface of it. */
import type { Row } from '../row.js';

type More = Omit<Row, 'tool' | 'command'>;

/**
 * Makes an interface, which has the same number and address each time, and a listening socket. An
 * interface without addresses of IPv6 sends nothing by itself.
 */
const NETWORK = `set -e
echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6
/usr/bin/ip link add mine index 70 address 02:00:00:00:00:01 type veth peer name other index 71 address 02:00:00:00:00:02
/usr/bin/ip link set mine up
/usr/bin/ip link set other up
nc -l -p 7777 < /dev/null > /dev/null 2>&1 &
until grep -q :1E61 /proc/net/tcp /proc/net/tcp6; do sleep 0.1; done`;
const NO_NETWORK = 'killall nc; /usr/bin/ip link del mine; rm -rf /sys/fs/bpf/*';

const row = (command: string, more: More = {}): Row => ({
  tool: 'netlink',
  command,
  setup: NETWORK,
  teardown: NO_NETWORK,
  mustWork: true,
  ...more,
});

const ip = (words: string) => `/usr/bin/ip ${words}`;
const tc = (words: string) => `/usr/sbin/tc ${words}`;
const ss = (words: string) => `/usr/bin/ss ${words}`;
const loader = (words: string) => `xdp-loader ${words}`;

const FRAME = `obj $COMPAT/packets.bpf.o sec xdp`;
const PACKET = `obj $COMPAT/packets.bpf.o sec tc`;
const LOADED = `${NETWORK}
bpftool prog loadall $COMPAT/packets.bpf.o /sys/fs/bpf/progs 2>&1`;

/** What is about the listening socket. Its number and that of its process are new each time. */
const LISTENING: More = { lines: /^State|7777/, volatile: ['number', 'spaces'] };

const looking: readonly Row[] = [
  row(ip('-d link')),
  row(ip('-j -d link show dev mine')),
  row(ip('addr')),
  row(ip('route show table all')),
  row(ss('-tl')),
  row(ss('-tlnp'), LISTENING),
  row(ss('-tlne'), LISTENING),
  row(tc('qdisc show')),
  row(tc('-j qdisc show dev mine')),
  row(tc('filter show dev mine')),
];

const attaching: readonly Row[] = [
  row(
    [
      ip(`link set dev mine xdpgeneric ${FRAME}`),
      ip('-d link show dev mine'),
      'bpftool net show dev mine',
      ip('link set dev mine xdpgeneric off'),
      ip('-d link show dev mine'),
    ].join(' && '),
    { volatile: ['id', 'loaded at'] },
  ),
  row(
    [
      tc('qdisc add dev mine clsact'),
      tc(`filter add dev mine ingress bpf da ${PACKET}`),
      tc(`filter add dev mine egress bpf da ${PACKET}`),
      tc('filter show dev mine ingress'),
      tc('-j filter show dev mine egress'),
      'bpftool net show dev mine',
      tc('filter del dev mine ingress'),
      tc('filter show dev mine ingress'),
      tc('qdisc del dev mine clsact'),
      tc('qdisc show dev mine'),
    ].join(' && '),
    { volatile: ['id'] },
  ),
  row(
    [
      'attach xdpgeneric pinned /sys/fs/bpf/progs/see_frame dev mine',
      'show dev mine',
      'detach xdpgeneric dev mine',
      'show dev mine',
    ]
      .map((words) => `bpftool net ${words}`)
      .join(' && '),
    { setup: LOADED, volatile: ['id'] },
  ),
  row('bpftool -j net show', { volatile: ['id'] }),
  row(ip(`link set dev mine xdpgeneric obj $COMPAT/packets.bpf.o sec none`), { mustWork: false }),
  row(ip(`link set dev nobody xdpgeneric ${FRAME}`), { mustWork: false }),
];

/** What it prints has ids of programs in columns, and names of files that are made of them. */
const PRINTED: More = { volatile: ['number', 'spaces'], timeoutS: 120 };
const LOAD = 'load -m skb mine $COMPAT/frames.bpf.o';

const loaders: readonly Row[] = [
  row(loader('status'), PRINTED),
  row(loader('features mine'), { ...PRINTED, mustWork: false }),
  row(
    [
      loader(LOAD),
      loader('status'),
      'ls /sys/fs/bpf/xdp',
      'bpftool net show dev mine',
      loader('unload -a mine'),
      loader('status mine'),
    ].join(' && '),
    PRINTED,
  ),
  row(
    [loader(LOAD), loader(LOAD), loader('status mine'), loader('unload -a mine')].join(' && '),
    PRINTED,
  ),
  row([loader(LOAD), loader('clean'), loader('unload --all mine')].join(' && '), PRINTED),
  row(loader('load -m skb mine $COMPAT/packet'), { ...PRINTED, mustWork: false }),
  row(loader('unload -a mine'), { ...PRINTED, mustWork: false }),
];

/** Invocations of iproute2, bpftool and xdp-tools. */
export const netlink: readonly Row[] = [...looking, ...attaching, ...loaders];
