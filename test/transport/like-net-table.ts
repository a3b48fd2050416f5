/*
 * The page docs/transport.md has a table of what is like node:net and what is not, written from the
 * suite that looks: node dist/test/transport/like-net-table.js
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { packageFolder } from '../../src/paths.js';
import { behaviours, differenceOn, transportsOfTable } from './like-net.js';

const path = join(packageFolder, 'docs/transport.md');
const begin = '<!-- like-net: written by test/transport/like-net-table.ts -->';
const end = '<!-- /like-net -->';

function table(): string {
  const reasons: string[] = [];
  const rows = behaviours.map((behaviour) => {
    const cells = transportsOfTable.map((transport) => {
      const difference = differenceOn(behaviour, transport);
      if (difference === undefined) return 'equal';
      if (!reasons.includes(difference.reason)) reasons.push(difference.reason);
      return `${difference.kind} (${reasons.indexOf(difference.reason) + 1})`;
    });
    return `| ${behaviour.name} | ${cells.join(' | ')} |`;
  });
  return [
    begin,
    `| of node:net | ${transportsOfTable.join(' | ')} |`,
    `|---|${transportsOfTable.map(() => '---|').join('')}`,
    ...rows,
    '',
    ...reasons.map((reason, index) => `${index + 1}. ${reason}`),
    end,
  ].join('\n');
}

/** The page as it is, and as the suite would have it. */
export function page(): { found: string; wanted: string } {
  const found = readFileSync(path, 'utf8');
  const [before = '', rest = ''] = found.split(begin);
  return { found, wanted: before + table() + (rest.split(end)[1] ?? '\n') };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(path, page().wanted);
