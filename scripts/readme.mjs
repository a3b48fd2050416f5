// Writes what README.md and docs/ have from elsewhere: the figures and the charts of the newest runs
// from results/, the supported commands from the command table. With --check it only says which pages
// are out of date.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { enums, rows } from '../dist/src/bpf/index.js';

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

/** The comparisons of an experiment's newest run. */
function comparisonsOf(experiment) {
  const path = `results/${experiment}/${newestRun(experiment)}/summary.json`;
  const text = readFileSync(new URL(path, root), 'utf8');
  return JSON.parse(text).comparisons;
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
        (one) => one.kind === 'difference' && one.arm === arm && one.metric === metric,
      );
      if (found === undefined) throw new Error(`results/ has no ${metric} of ${arm}`);
      return microseconds(found[key]);
    });
    return `| ${title} | ${cells.join(' | ')} |`;
  };
  const here = comparisonsOf('software-overhead');
  const emulated = comparisonsOf('thesis');
  return [
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

const tables = [
  { file: 'README.md', name: 'figures', lines: figureTable },
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

const pages = ['README.md', ...readdirSync(new URL('docs/', root)).map((name) => `docs/${name}`)];
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
