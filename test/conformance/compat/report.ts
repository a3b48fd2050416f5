/* results/compat.md: the matrix as a page. */
import { type Compared, type Result, type RunInfo, type Verdict, verdicts } from './row.js';
import { volatileReasons } from './volatile.js';

/** Renders the page. */
export function renderCompat(results: readonly Result[], runs: readonly RunInfo[]): string {
  const tools = [...new Set(results.map(({ tool }) => tool))];
  const names = Object.keys(verdicts) as Verdict[];
  const count = (tool: string, verdict: Verdict) =>
    results.filter((result) => result.tool === tool && result.verdict === verdict).length;
  const older = results.filter(({ standby }) => standby === undefined).length;
  const used = new Set(results.flatMap((result) => result.volatile));
  const lines = [
    '# Compatibility of `waep run`',
    '',
    'Written by `npm run compat -- --record`; do not edit. Each command runs inside the guest, which holds the',
    'tools for this purpose, and on the host under `waep run`, with a standby and without, acting on the same',
    'guest. What it prints, how it ends and what it leaves behind are compared; a second after it nothing goes',
    'on in the guest. `test/conformance/compat/rows` has the commands.',
    '',
    ...(older === 0
      ? []
      : [
          `${older} commands were last run when this was done without a standby only; their rows say so.`,
          '',
        ]),
    '| run | began | rows | took | guest | this machine, the host |',
    '|--:|---|--:|--:|---|---|',
    ...runs.map(
      ({ at, rows, tookS, kernel, kernelOrigin, accel, host }, index) =>
        `| ${index + 1} | ${at} | ${rows} | ${tookS} s | Linux ${kernel} (${kernelOrigin}) on ${accel.toUpperCase()} | ${host} |`,
    ),
    '',
    `| tool | commands | ${names.join(' | ')} | of the same, with all lines and figures |`,
    `|---|--:|${names.map(() => '--:').join('|')}|--:|`,
    ...tools.map((tool) => {
      const own = results.filter((result) => result.tool === tool);
      const full = own.filter((one) => one.verdict === 'same' && isWhole(one.compared)).length;
      return `| ${tool} | ${own.length} | ${names.map((name) => count(tool, name)).join(' | ')} | ${full} |`;
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
      '| command | run | verdict | in the guest | compared, beside how it ends | volatile fields | why |',
      '|---|--:|---|---|---|---|---|',
    );
    for (const result of results.filter((one) => one.tool === tool)) {
      const { args, verdict, compared, volatile, why, standby } = result;
      const run = runs.findIndex(({ at }) => at === result.run) + 1;
      const how = standby === undefined ? ', without a standby' : '';
      lines.push(
        `| ${code(args)} | ${run} | ${verdict}${how} | ${escaped(result.guest)} | ${escaped(wordsOf(compared))} | ${volatile.join(', ')} | ${escaped(why)} |`,
      );
    }
  }
  lines.push('', '## Volatile fields', '', '| field | why it differs |', '|---|---|');
  for (const [name, why] of volatileReasons) {
    if (used.has(name as never)) lines.push(`| ${name} | ${why} |`);
  }
  return `${lines.join('\n')}\n`;
}

function isWhole({ output, figures, lines }: Compared): boolean {
  return (output === 'text' || output === 'set') && figures && lines === undefined;
}

const outputs = {
  text: 'lines',
  set: 'which lines there are',
  shape: 'which kinds of lines there are',
  nothing: 'what it leaves in the guest',
} as const;

function wordsOf({ output, figures, lines }: Compared): string {
  const which = lines === undefined ? '' : ` of those that match \`${lines}\``;
  return `${outputs[output]}${which}${figures || output === 'nothing' ? '' : ', without figures'}`;
}

function code(text: string): string {
  return `\`\`${text.replaceAll('|', '\\|').replaceAll('\n', ' ')}\`\``;
}

function escaped(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ').replaceAll('<', '&lt;');
}
