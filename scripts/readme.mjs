// Writes what README.md and docs/ have from elsewhere: the figures and the charts of the newest runs
// from results/, the supported commands from the command table. With --check it only says which pages
// are out of date.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { enums, rows } from '../dist/src/bpf/index.js';
import { speedTable } from './speed-table.mjs';

const root = new URL('../', import.meta.url);

const returns = { status: '0', fd: 'a handle', length: 'a length' };

/** What a shape is called beside its command: `CGROUP` for `PROG_ATTACH_CGROUP`. */
function shapeName(name, command) {
  const bare = command.replace(/^BPF_/, '');
  const rest = name.startsWith(`${bare}_`) ? name.slice(bare.length + 1) : '';
  return rest === '' ? 'default' : rest.toLowerCase().replaceAll('_', ' ');
}

function listed(names) {
  const last = (name) => name === 'default' || name === 'other';
  return names.sort((a, b) => last(a) - last(b) || a.localeCompare(b)).join(', ');
}

function shapesOf(command, shapes) {
  const forwarded = shapes.filter(([, row]) => row.stays === undefined);
  if (forwarded.length === 1) return 'one';
  const names = forwarded.map(([name]) => shapeName(name, command));
  const ofLinks = names.filter((name) => name.startsWith('link '));
  if (ofLinks.length === 0) return listed(names);
  const others = names.filter((name) => !name.startsWith('link'));
  return `${listed(others)}; of a link: ${listed([...ofLinks.map((name) => name.slice(5)), 'default'])}`;
}

function commandTable() {
  const lines = Object.entries(enums.Cmd).map(([name, number]) => {
    const shapes = Object.entries(rows).filter(([, row]) => row.command === number);
    const [first] = shapes;
    if (first === undefined) throw new Error(`the table has no row for ${name}`);
    return `| ${number} | \`${name}\` | ${shapesOf(name, shapes)} | ${returns[first[1].returns]} |`;
  });
  return ['| number | command | shapes | result |', '|--:|---|---|---|', ...lines];
}

function newestRun(experiment) {
  return readdirSync(new URL(`results/${experiment}/`, root))
    .sort()
    .at(-1);
}

/** A JSON file of an experiment's newest run. */
function newest(experiment, file) {
  const path = `results/${experiment}/${newestRun(experiment)}/${file}.json`;
  return JSON.parse(readFileSync(new URL(path, root), 'utf8'));
}

/** Where a run was made. */
function machineOf(experiment) {
  const { host, run } = newest(experiment, 'environment');
  return `run ${run}, ${host.cpus} × ${host.cpuModel}`;
}

const microseconds = (ns) =>
  `${Math.round(ns / 1000)
    .toLocaleString('en')
    .replaceAll(',', '\u00a0')} µs`;

/** What forwarding adds to the thesis' two commands, beside what the thesis says. */
function figureTable() {
  const rowOf = (title, comparisons, arm, key = 'value') => {
    const cells = ['PROG_LOAD', 'RAW_TRACEPOINT_OPEN'].map((metric) => {
      const found = comparisons.find(
        (one) =>
          one.kind === 'difference' &&
          one.against === 'native' &&
          one.arm === arm &&
          one.metric === metric,
      );
      if (found === undefined) throw new Error(`results/ has no ${metric} of ${arm}`);
      return microseconds(found[key]);
    });
    return `| ${title} | ${cells.join(' | ')} |`;
  };
  const here = newest('software-overhead', 'summary').comparisons;
  const emulated = newest('thesis', 'summary').comparisons;
  return [
    `Our times are medians: with an emulated guest of ${machineOf('thesis')}, without a guest of ${machineOf('software-overhead')}. The rows without a guest show what waep itself costs at native speed.`,
    '',
    '| added by forwarding | PROG_LOAD | RAW_TRACEPOINT_OPEN |',
    '|---|--:|--:|',
    rowOf('the thesis: TCP, KVM guest, Core i7-9700', emulated, 'tcp', 'thesis'),
    rowOf('no guest, client and agent on one kernel: Unix socket', here, 'unix'),
    rowOf('no guest, client and agent on one kernel: TCP', here, 'tcp'),
    rowOf('emulated guest: TCP', emulated, 'tcp'),
    rowOf('emulated guest: **vsock**, by the device in the process', emulated, 'vsock-device'),
    rowOf('emulated guest: vsock, by vhost-device-vsock', emulated, 'vsock-mux'),
  ];
}

/** What each experiment came to: the titles of the charts, as results/README.md has them. */
function answers(results) {
  const page = readFileSync(new URL('results/README.md', root), 'utf8');
  const rows = page.matchAll(/^\| [^|]+ \| ([^|]+) \| `[^`]+` \| \[([a-z-]+)\.svg\]\(([^)]+)\) /gm);
  return [...rows].map(([, title, name, path]) => {
    const { accel, guest: kept } = newest(name, 'environment');
    const emulated = kept?.outer === undefined ? 'emulated guest' : 'emulated guest in a guest';
    const guest = accel === 'none' ? 'no guest' : emulated;
    return { name, text: `[${name}](${results}/${path}): ${title} (${guest}; ${machineOf(name)})` };
  });
}

/** A decision with what an experiment came to. */
const decision = (page, experiment) => ({
  file: `docs/decisions/${page}.md`,
  name: experiment,
  lines: () => [found(answers('../../results'), { name: experiment }).text],
});

const found = (things, wanted) => {
  const one = things.find((thing) =>
    Object.entries(wanted).every(([key, value]) => thing[key] === value),
  );
  if (one === undefined) throw new Error(`results/ has no ${JSON.stringify(wanted)}`);
  return one;
};

/** Where the time of a round trip goes, with everything on one core. */
function oneCore() {
  const { rows, comparisons } = newest('rtt-one-core', 'summary');
  const metric = 'echo 64 B';
  const cell = (arm, name) => microseconds(found(rows, { arm, metric: name }).p50);
  const row = (title, name) =>
    `| ${title} | ${cell('vsock-device/c', name)} | ${cell('tcp/c', name)} |`;
  const ratio = found(comparisons, {
    arm: 'vsock-device/c',
    against: 'tcp/c',
    metric,
    quantile: 'p50',
  });
  return [
    `The median of the rounds' ratios is ${ratio.value.toFixed(2)}; we had hoped for ${ratio.bound} (${machineOf('rtt-one-core')}).`,
    '',
    '| plain C, 64 bytes each way | device | TCP |',
    '|---|--:|--:|',
    row('a round trip', metric),
    row('processor time of the emulated processor', `CPU of the guest, ${metric}`),
    row(
      'processor time of QEMU’s other threads: they deliver interrupts, and move the packets of TCP',
      `CPU of QEMU’s devices, ${metric}`,
    ),
  ];
}

/** The rates of large records, as multiples of those of a C program in the guest. */
function largeRecords() {
  const { comparisons } = newest('events', 'summary');
  const rates = (metric) => {
    const [device, mux, tcp] = ['vsock-device', 'vsock-mux', 'tcp'].map((arm) => {
      const { value, ciLow, ciHigh } = found(comparisons, { arm, metric });
      return `${rate(value)} (${rate(ciHigh)} to ${rate(ciLow)})`;
    });
    return `${device} by the device, ${mux} by vhost-device-vsock and ${tcp} by TCP`;
  };
  const rate = (ratio) => (1 / ratio).toFixed(2);
  const metric = 'a record of 4 KiB';
  const { bound } = found(comparisons, { arm: 'tcp', metric });
  return [
    `Records of 4 KiB reach the host at these multiples of the rate of a C program in the guest, if all in the guest have the same priority: ${rates(metric)}. If the C program and the agent's thread both have nice −4: ${rates(`${metric}, reader at nice −4`)}. We had hoped for ${rate(bound)} in both cases (${machineOf('events')}).`,
  ];
}

/** How the bounds of unmodified programs fared, and what intercepting a call costs. */
function toolBounds() {
  const { rows, comparisons } = newest('tools', 'summary');
  const sentence = (arm, title) => {
    const bounded = comparisons.filter((one) => one.arm === arm && one.bound !== undefined);
    const kept = bounded.filter(({ ciHigh, bound }) => ciHigh <= bound).length;
    const missed = bounded.filter(({ ciLow, bound }) => ciLow > bound).length;
    const uname = microseconds(found(rows, { arm, metric: 'uname' }).p50);
    return `${title} ${kept} of ${bounded.length} bounds are kept and ${missed} missed, and \`uname\`, which is answered on the host, takes ${uname}.`;
  };
  const fewest = Math.min(...comparisons.map(({ rounds }) => rounds));
  return [
    `${sentence('vsock-device/standby', 'With a standby')} ${sentence('vsock-device', 'Without one')} (${fewest} rounds; ${machineOf('tools')}.)`,
  ];
}

/** How long whole programs take with a standby and without. */
function starts() {
  const { rows } = newest('tools', 'summary');
  const programs = {
    'bpftool prog show': '`bpftool prog show`',
    'libbpf hello': 'an example with libbpf',
    'bpftrace BEGIN': '`bpftrace`, until BEGIN',
    'bpftool feature probe': '`bpftool feature probe`, the first time',
    'bpftool feature probe, again': '`bpftool feature probe`, again',
  };
  const seconds = (arm, metric) => `${(found(rows, { arm, metric }).p50 / 1e9).toFixed(3)} s`;
  return [
    `Medians of whole runs ([tools](../../results/tools/${newestRun('tools')}/tools.svg); emulated guest; ${machineOf('tools')}):`,
    '',
    '| program | with a standby | without | in the guest |',
    '|---|--:|--:|--:|',
    ...Object.entries(programs).map(([metric, title]) => {
      const cells = ['vsock-device/standby', 'vsock-device', 'guest'].map((arm) =>
        seconds(arm, metric),
      );
      return `| ${title} | ${cells.join(' | ')} |`;
    }),
  ];
}

/** What a MiB to the guest takes beside time, by transport. */
function streams() {
  const { rows } = newest('counts', 'summary');
  const { times, name } = newest('counts', 'environment').parameters.loads[1];
  const cells = (kind) =>
    ['vsock-device', 'tcp'].map((arm) =>
      (found(rows, { arm, metric: `${kind}, ${times} ${name}` }).p50 / times).toFixed(1),
    );
  const [kicks, interrupts, switches] = ['kicks', 'interrupts', 'switches in the guest'].map(cells);
  const text = ([device, tcp], what) => `${device} ${what} (TCP: ${tcp})`;
  return [
    `A MiB in messages of 64 KiB takes ${text(kicks, 'kicks')}, ${text(interrupts, 'interrupts')} and ${text(switches, 'switches in the guest')} ([chart](../results/counts/${newestRun('counts')}/counts.svg); ${machineOf('counts')}).`,
  ];
}

/** Where the time of a call through a session goes, with everything on one core. */
function sessionCall() {
  const { rows } = newest('software-overhead', 'summary');
  const [transport, placement] = ['unix', 'one core'];
  const median = (arm) =>
    (found(rows, { arm, metric: `MAP_LOOKUP_ELEM, ${placement}` }).p50 / 1000).toFixed(1);
  const boots = newest('software-overhead', 'profile').map(({ profile }) =>
    found(profile, { transport, placement }),
  );
  const range = (values) =>
    `${Math.min(...values).toFixed(1)} to ${Math.max(...values).toFixed(1)} µs`;
  // The profiler itself is `dispatch`. The process waits for others in (idle), as in `exchange`.
  const notOurs = ['exchange', 'dispatch', '(idle)'];
  const ours = boots.map(({ client }) =>
    client.functions
      .filter(({ name }) => !notOurs.includes(name))
      .reduce((sum, { usPerCall }) => sum + usPerCall, 0),
  );
  const executors = boots.map(({ agent }) => agent.cpuUsPerCall);
  return [
    `By a Unix socket and on one core, the median call takes ${median(transport)} µs, and the exchange of the same bytes by plain C ${median(`${transport}/c`)} µs. In profiles of ${boots.length} clients, JavaScript and the garbage collector take ${range(ours)} of a call. The executor needs ${range(executors)} of processor time for a call ([profile.json](../results/software-overhead/${newestRun('software-overhead')}/profile.json); ${machineOf('software-overhead')}).`,
  ];
}

/** How many commands of each tool do the same inside the guest and from the host. */
function toolsTried() {
  const read = (name) => JSON.parse(readFileSync(new URL(`results/${name}.json`, root), 'utf8'));
  const runs = new Map(read('compat-runs').map((run) => [run.at, run]));
  const ways = {
    'work alike': ['same', 'same-but-volatile'],
    'fail alike': ['failing-alike'],
    'are refused by name': ['refused'],
    'cannot run in that guest': ['unsupported-in-guest', 'failing-in-guest'],
    differ: ['different'],
  };
  const groups = new Map();
  for (const { tool, run, verdict } of read('compat')) {
    if (tool === 'killed') continue;
    const { suite = 'installed', kernel } = runs.get(run);
    const key = [tool, suite, kernel.match(/^\d+\.\d+/)[0]].join(' | ');
    groups.set(key, [...(groups.get(key) ?? []), verdict]);
  }
  const row = ([key, own]) => {
    const counts = Object.values(ways).map(
      (verdicts) => own.filter((verdict) => verdicts.includes(verdict)).length,
    );
    return `| ${[key, own.length, ...counts].join(' | ')} |`;
  };
  return [
    `| tool | from | kernel | commands | ${Object.keys(ways).join(' | ')} |`,
    `|---|---|---|--:|${'--:|'.repeat(Object.keys(ways).length)}`,
    ...[...groups].map(row),
  ];
}

/** How much memory the agent and its executors needed while everything was done at once. */
function agentMemory() {
  const lines = readFileSync(new URL('results/soak/samples.jsonl', root), 'utf8')
    .trim()
    .split('\n');
  const samples = lines.map((line) => JSON.parse(line));
  const range = (values, digits) => {
    const [least, most] = [Math.min(...values), Math.max(...values)];
    return `${least.toFixed(digits)} to ${most.toFixed(digits)} MiB`;
  };
  const agents = samples.map(({ agent }) => agent.rss / 2 ** 20);
  const executors = samples
    .filter(({ guest }) => guest.executors > 0)
    .map(({ guest }) => guest.executorsKib / guest.executors / 2 ** 10);
  return [
    `In a test that did everything at once ([chart](../results/soak/memory.svg)), the agent of \`waep vm\` needed ${range(agents, 0)}, and each session's executor ${range(executors, 1)} on average.`,
  ];
}

/** What a round trip takes beside time, by transport. */
function beside() {
  const { rows } = newest('counts', 'summary');
  const [{ times, name }] = newest('counts', 'environment').parameters.loads;
  const arms = ['vsock-device', 'tcp', 'vsock-mux'];
  const load = `, ${times.toLocaleString('en')} ${name}`;
  const kinds = rows
    .filter(({ arm, metric }) => arm === arms[0] && metric.endsWith(load))
    .map(({ metric }) => metric.slice(0, -load.length));
  const cell = (kind, arm) => {
    const row = rows.find((one) => one.arm === arm && one.metric === `${kind}${load}`);
    return row === undefined ? '–' : (row.p50 / times).toFixed(2);
  };
  return [
    `Medians of ${times.toLocaleString('en')} round trips of 64 bytes, each ([chart](results/counts/${newestRun('counts')}/counts.svg); ${machineOf('counts')}).`,
    '',
    '| in a round trip | device | TCP | vhost-device-vsock |',
    '|---|--:|--:|--:|',
    ...kinds.map((kind) => `| ${kind} | ${arms.map((arm) => cell(kind, arm)).join(' | ')} |`),
  ];
}

const tables = [
  { file: 'README.md', name: 'figures', lines: figureTable },
  {
    file: 'docs/bench.md',
    name: 'answers',
    lines: () => answers('../results').map(({ text }) => `- ${text}`),
  },
  decision('events-on-their-own-connections', 'events'),
  decision('process-per-session', 'software-overhead'),
  decision('device-on-the-event-loop', 'rtt'),
  decision('cbor-at-a-fixed-shape', 'codec'),
  { file: 'docs/decisions/standby.md', name: 'starts', lines: starts },
  { file: 'paper-notes.md', name: 'one core', lines: oneCore },
  { file: 'paper-notes.md', name: 'beside time', lines: beside },
  { file: 'paper-notes.md', name: 'large records', lines: largeRecords },
  { file: 'paper-notes.md', name: 'tools', lines: toolBounds },
  {
    file: 'docs/speed.md',
    name: 'figures',
    lines: () => speedTable({ newest, found, machineOf, microseconds }),
  },
  { file: 'docs/speed.md', name: 'streams', lines: streams },
  { file: 'docs/speed.md', name: 'session call', lines: sessionCall },
  { file: 'docs/agent.md', name: 'memory', lines: agentMemory },
  { file: 'docs/run.md', name: 'tools tried', lines: toolsTried },
  { file: 'docs/commands.md', name: 'commands', lines: commandTable },
];

/** A page with its table written anew. */
function withTable(page, { file, name, lines }) {
  const begin = `<!-- ${name}: written by scripts/readme.mjs -->`;
  const end = `<!-- /${name} -->`;
  const from = page.indexOf(begin);
  const to = page.indexOf(end);
  if (from < 0 || to < from) throw new Error(`${file} lacks "${begin}" … "${end}"`);
  return page.slice(0, from) + [begin, ...lines(), end].join('\n') + page.slice(to + end.length);
}

/** A page with its links to charts leading to the newest runs. */
function withNewestRuns(page) {
  return page.replace(
    /results\/([a-z-]+)\/\d{4}-\d\d-\d\dT\d+\//g,
    (_, experiment) => `results/${experiment}/${newestRun(experiment)}/`,
  );
}

const pages = [
  'README.md',
  'paper-notes.md',
  ...readdirSync(new URL('docs/', root), { recursive: true }).map((name) => `docs/${name}`),
];
for (const file of pages.filter((name) => name.endsWith('.md'))) {
  const path = fileURLToPath(new URL(file, root));
  const page = readFileSync(path, 'utf8');
  const own = tables.filter((table) => table.file === file);
  const written = withNewestRuns(own.reduce(withTable, page));
  if (!process.argv.includes('--check')) {
    writeFileSync(path, written);
  } else if (written !== page) {
    console.error(`${file}: its tables or charts are out of date; run "npm run readme"`);
    process.exitCode = 1;
  }
}
