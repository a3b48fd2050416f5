// The table of docs/speed.md: each figure that is wanted faster, with its goal, and another figure
// of the same run that it is to be compared with.

/** A ratio that a run compares, or a difference. */
const compared = (experiment, arm, against, metric, quantile = 'p50') => ({
  experiment,
  of: ({ comparisons }, found) => found(comparisons, { arm, against, metric, quantile }),
});

/** The quotient of two medians of a run. */
const quotient = (experiment, [arm, metric], [other, otherMetric]) => ({
  experiment,
  of: ({ rows }, found) => ({
    kind: 'ratio',
    value: found(rows, { arm, metric }).p50 / found(rows, { arm: other, metric: otherMetric }).p50,
  }),
});

/** The rate of records, from times. */
const inverse = ({ experiment, of }) => ({
  experiment,
  of: (...given) => {
    const { value, ciLow, ciHigh, ...rest } = of(...given);
    return { ...rest, value: 1 / value, ciLow: 1 / ciHigh, ciHigh: 1 / ciLow };
  },
});

const device = 'vsock-device';
const oneCore = 'MAP_LOOKUP_ELEM, one core';
const entries = (atATime) => `100,000 entries, ${atATime} at a time`;
const few = (atATime) => `200 entries, ${atATime} at a time`;
const [echo, show, hello] = ['echo 64 B', 'bpftool prog show', 'libbpf hello'];

/** `most` and `least` are goals. `limit` has the figure that is compared, and what it is. */
const figures = [
  {
    title: 'echo of 64 B, plain C: device ÷ TCP',
    now: compared('rtt', `${device}/c`, 'tcp/c', echo),
    most: 0.75,
    limit: quotient('rtt', [`${device}/c`, `CPU of the guest, ${echo}`], ['tcp/c', echo]),
    because: 'the guest’s processor alone, with the device',
  },
  {
    title: 'the same, the slowest of a hundred (p99)',
    now: compared('rtt', `${device}/c`, 'tcp/c', echo, 'p99'),
    most: 0.9,
  },
  {
    title: 'echo of 64 B, TypeScript: device ÷ TCP',
    now: compared('rtt', device, 'tcp', echo),
    most: 0.75,
    limit: quotient('rtt', [`${device}/c`, echo], ['tcp', echo]),
    because: 'plain C over the device',
  },
  {
    title: 'messages of 1 MiB to the guest, plain C, bytes per second: device ÷ TCP',
    now: compared('throughput', `${device}/c`, 'tcp/c', '1024 KiB to the guest'),
    least: 1,
  },
  {
    title: 'a call through a session ÷ plain C, device',
    now: compared('rtt', device, `${device}/c`, 'MAP_LOOKUP_ELEM'),
    most: 1.2,
  },
  {
    title: 'the same over a Unix socket, one core',
    now: compared('software-overhead', 'unix', 'unix/c', oneCore),
    most: 1.4,
  },
  {
    title: 'the same over a Unix socket, one core, p99',
    now: compared('software-overhead', 'unix', 'unix/c', oneCore, 'p99'),
    most: 2,
  },
  {
    title: '100,000 entries of a map, 1,000 at a time ÷ in the guest',
    now: compared('map-ops', device, 'native', entries('1,000')),
    most: 1.4,
    limit: compared('map-ops', device, 'native', entries('100,000')),
    because: 'the same entries in one message',
  },
  {
    title: '200 entries one by one ÷ 200 at a time',
    now: quotient('map-ops', [device, few('1')], [device, few('200')]),
    most: 1.5,
    limit: quotient('map-ops', ['native', few('1')], ['native', few('200')]),
    because: 'a C program in the guest',
  },
  {
    title: 'PROG_LOAD, added by forwarding, without a guest',
    now: compared('software-overhead', 'unix', 'native', 'PROG_LOAD'),
    most: 100_000,
    limit: compared('software-overhead', 'unix/c', 'native', 'PROG_LOAD'),
    because: 'two plain C processes',
  },
  {
    title: 'RAW_TRACEPOINT_OPEN, added by forwarding, without a guest',
    now: compared('software-overhead', 'unix', 'native', 'RAW_TRACEPOINT_OPEN'),
    most: 80_000,
    limit: compared('software-overhead', 'unix/c', 'native', 'RAW_TRACEPOINT_OPEN'),
    because: 'two plain C processes',
  },
  {
    title: '`bpftool feature probe`, the first time, with a standby ÷ in the guest',
    now: compared('tools', `${device}/standby`, 'guest', 'bpftool feature probe'),
    most: 1,
  },
  {
    title: '`bpftool prog show` under `waep run` without a standby ÷ in the guest',
    now: compared('tools', device, 'guest', show),
    most: 1.5,
  },
  {
    title: 'an example with libbpf under `waep run` without a standby ÷ in the guest',
    now: compared('tools', device, 'guest', hello),
    most: 1.5,
  },
  {
    title: 'decoding a reply, rate: fixed shape ÷ cbor-x',
    now: compared('codec', 'fixed-shape', 'cbor-x', 'decode a reply'),
    least: 1.5,
  },
  {
    title: 'records of 4 KiB by TCP, rate ÷ a reader in the guest',
    now: inverse(compared('events', 'tcp', 'native', 'a record of 4 KiB')),
    least: 0.7,
  },
];

/**
 * Returns the table's lines.
 *
 * @param reader `newest(experiment, file)` reads a file of the newest run, `found(things, wanted)`
 *   finds one thing, `machineOf(experiment)` says where a run was made, `microseconds(ns)` prints
 */
export function speedTable({ newest, found, machineOf, microseconds }) {
  const print = (kind, value) => (kind === 'difference' ? microseconds(value) : value.toFixed(2));
  const read = ({ experiment, of }) => of(newest(experiment, 'summary'), found);
  const verdict = ({ most = Infinity, least = 0 }, { value, ciLow = value, ciHigh = value }) => {
    if (ciHigh <= most && ciLow >= least) return 'reached';
    return ciLow > most || ciHigh < least ? 'missed' : 'undecided';
  };
  const rows = figures.map((figure) => {
    const { title, now, most, least, limit, because } = figure;
    const one = read(now);
    const [low, high] = [one.ciLow, one.ciHigh].map((end) => end && print(one.kind, end));
    // Few rounds cannot give 95 %; then both ends are the least and the largest ratio.
    const range = one.confidence < 0.95 ? `, ${one.rounds} rounds` : '';
    const interval = low === undefined ? '' : ` (${low} to ${high}${range})`;
    const goal = `${most === undefined ? '≥' : '≤'} ${print(one.kind, most ?? least)}`;
    const bound = limit === undefined ? '–' : `${print(one.kind, read(limit).value)}: ${because}`;
    const cells = [title, `${print(one.kind, one.value)}${interval}`, goal];
    return `| ${[...cells, verdict(figure, one), bound].join(' | ')} |`;
  });
  const runs = [...new Set(figures.map(({ now }) => now.experiment))];
  return [
    '| figure | now | goal | | to compare with |',
    '|---|--:|--:|---|---|',
    ...rows,
    '',
    `Medians of the rounds' ratios, with their 95 % intervals. Below six rounds the brackets hold the least and the largest ratio, which is less certain. Without brackets, the figure is the quotient of two medians. ${runs.map((name) => `*${name}*: ${machineOf(name)}`).join('; ')}.`,
  ];
}
