/* results/compat.md: the matrix for people. */
import { type Result, type Verdict, verdicts } from './row.js';
import { volatileReasons } from './volatile.js';

/** What the matrix was made on, and what was watched meanwhile. */
export interface Run {
  readonly kernel: string;
  readonly kernelOrigin: string;
  readonly accel: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly tookS: number;
  readonly host: string;
  readonly results: readonly Result[];
}

/** Renders the page. */
export function renderCompat(run: Run): string {
  const tools = [...new Set(run.results.map(({ tool }) => tool))];
  const names = Object.keys(verdicts) as Verdict[];
  const count = (tool: string, verdict: Verdict) =>
    run.results.filter((result) => result.tool === tool && result.verdict === verdict).length;
  const versions = Object.entries(run.versions).map(([name, version]) => `${name} ${version}`);
  const used = new Set(run.results.flatMap((result) => result.volatile));
  const lines = [
    '# Compatibility of `waep run`',
    '',
    'Written by `npm run compat`; do not edit. Each command runs twice: inside the guest, which holds the',
    'tools for this purpose, and on the host under `waep run`, acting on the same guest. What it prints,',
    'how it ends and what it leaves behind are compared. `test/compat/rows` has the commands.',
    '',
    `Guest: Linux ${run.kernel} (${run.kernelOrigin}) on ${run.accel.toUpperCase()}. ${versions.join(', ')}. ${run.results.length} commands on both sides in ${run.tookS} s.`,
    '',
    `Host: ${run.host}`,
    '',
    `| tool | commands | ${names.join(' | ')} |`,
    `|---|--:|${names.map(() => '--:').join('|')}|`,
    ...tools.map((tool) => {
      const total = run.results.filter((result) => result.tool === tool).length;
      return `| ${tool} | ${total} | ${names.map((name) => count(tool, name)).join(' | ')} |`;
    }),
    '',
    '| verdict | meaning |',
    '|---|---|',
    ...names.map((name) => `| ${name} | ${verdicts[name]} |`),
  ];
  for (const tool of tools) {
    lines.push(
      '',
      `## ${tool}`,
      '',
      '| command | verdict | volatile fields | why |',
      '|---|---|---|---|',
    );
    for (const result of run.results.filter((one) => one.tool === tool)) {
      const { args, verdict, volatile, why } = result;
      lines.push(`| ${code(args)} | ${verdict} | ${volatile.join(', ')} | ${escaped(why)} |`);
    }
  }
  lines.push('', '## Volatile fields', '', '| field | why it differs |', '|---|---|');
  for (const [name, why] of volatileReasons) {
    if (used.has(name as never)) lines.push(`| ${name} | ${why} |`);
  }
  return `${lines.join('\n')}\n`;
}

function code(text: string): string {
  return `\`\`${text.replaceAll('|', '\\|').replaceAll('\n', ' ')}\`\``;
}

function escaped(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ').replaceAll('<', '&lt;');
}
