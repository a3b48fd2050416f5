/* results/compat.md: the matrix as a page. */
import {
  type Compared,
  conditionsOf,
  type Result,
  type RunInfo,
  type Verdict,
  verdicts,
} from './row.js';
import { volatileReasons } from './volatile.js';

/** Renders the page. */
export function renderCompat(results: readonly Result[], runs: readonly RunInfo[]): string {
  const names = Object.keys(verdicts) as Verdict[];
  const conditions = new Map(runs.map((run) => [run.at, conditionsOf(run)]));
  const groups = new Map<string, { tool: string; conditions: string; own: Result[] }>();
  for (const result of results) {
    const { tool, run } = result;
    const group = { tool, conditions: conditions.get(run) ?? '', own: [] };
    const key = `${group.tool} (${group.conditions})`;
    groups.set(key, groups.get(key) ?? group);
    groups.get(key)?.own.push(result);
  }
  const older = results.filter(({ standby }) => standby === undefined).length;
  const used = new Set(results.flatMap((result) => result.volatile));
  const lines = [
    '# Compatibility of `waep run`',
    '',
    'Written by `npm run compat -- --record`; do not edit. Each command runs inside the guest, which holds the',
    'tools for this purpose, and on the host under `waep run`, with a standby and without, acting on the same',
    'guest. What it prints, how it ends and what it leaves behind are compared; a second after it nothing goes',
    'on in the guest. `test/conformance/compat/rows` has the commands. The tools are those that are installed on',
    'the machine (Debian 12), or those of a suite of Debian with the libraries of that suite.',
    '',
    ...(older === 0
      ? []
      : [
          `${older} commands were last run when this was done without a standby only; their rows say so.`,
          '',
        ]),
    '| run | began | rows | took | tools | guest | this machine, the host |',
    '|--:|---|--:|--:|---|---|---|',
    ...runs.map(
      ({ at, rows, tookS, suite, versions, kernel, kernelOrigin, accel, host }, index) =>
        `| ${index + 1} | ${at} | ${rows} | ${tookS} s | ${suite === undefined ? 'installed' : `${suite}: ${versions}`} | Linux ${kernel} (${kernelOrigin}) on ${accel.toUpperCase()} | ${host} |`,
    ),
    '',
    `| tool | tools and kernel | commands | ${names.join(' | ')} | of the same, with all lines and figures |`,
    `|---|---|--:|${names.map(() => '--:').join('|')}|--:|`,
    ...[...groups.values()].map(({ tool, conditions, own }) => {
      const full = own.filter((one) => one.verdict === 'same' && isWhole(one.compared)).length;
      const counts = names.map((name) => own.filter(({ verdict }) => verdict === name).length);
      return `| ${[tool, conditions, own.length, ...counts, full].join(' | ')} |`;
    }),
    '',
    '| verdict | meaning |',
    '|---|---|',
    ...names.map((name) => `| ${name} | ${verdicts[name]} |`),
  ];
  for (const [title, { own }] of groups) {
    lines.push(
      '',
      `## ${title}`,
      '',
      '| command | run | verdict | in the guest | compared, beside how it ends | volatile fields | why |',
      '|---|--:|---|---|---|---|---|',
    );
    for (const result of own) {
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
