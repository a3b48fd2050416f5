// Writes the table of supported commands in README.md from the command table. With --check it only
// says whether the README has it as it would be written.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { enums, rows } from '../dist/src/bpf/index.js';

const path = fileURLToPath(new URL('../README.md', import.meta.url));
const begin = '<!-- commands: written by scripts/readme.mjs -->';
const end = '<!-- /commands -->';

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

const lines = Object.entries(enums.Cmd).map(([name, number]) => {
  const shapes = Object.entries(rows).filter(([, row]) => row.command === number);
  const [first] = shapes;
  if (first === undefined) throw new Error(`the table has no row for ${name}`);
  return `| ${number} | \`${name}\` | ${shapesOf(name, shapes)} | ${returns[first[1].returns]} |`;
});
const table = [
  begin,
  '| number | command | shapes | result |',
  '|--:|---|---|---|',
  ...lines,
  end,
].join('\n');

const readme = readFileSync(path, 'utf8');
const from = readme.indexOf(begin);
const to = readme.indexOf(end);
if (from < 0 || to < from) throw new Error(`README.md lacks "${begin}" … "${end}"`);
const written = readme.slice(0, from) + table + readme.slice(to + end.length);
if (process.argv.includes('--check')) {
  if (written !== readme) {
    console.error('README.md: the table of commands is out of date; run "npm run readme"');
    process.exitCode = 1;
  }
} else {
  writeFileSync(path, written);
}
