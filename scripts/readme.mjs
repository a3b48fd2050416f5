// Writes the table of supported commands in README.md from the command table. With --check it only
// says whether the README has it as it would be written.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { commands, enums } from '../dist/src/bpf/index.js';

const path = fileURLToPath(new URL('../README.md', import.meta.url));
const begin = '<!-- commands: written by scripts/readme.mjs -->';
const end = '<!-- /commands -->';

const returns = { status: '0', fd: 'a handle', length: 'a length' };

const lines = Object.entries(enums.Cmd).map(([name, number]) => {
  const shapes = commands.filter((row) => row.command === number);
  const [first] = shapes;
  if (first === undefined) return `| ${number} | \`${name}\` | not yet | |`;
  const count = shapes.length === 1 ? 'yes' : `yes, ${shapes.length} shapes`;
  return `| ${number} | \`${name}\` | ${count} | ${returns[first.returns]} |`;
});
const table = [
  begin,
  '| number | command | forwarded | result |',
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
