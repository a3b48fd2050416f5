/*
 * `npm run hostile -- FOLDER` makes the attacks on two agents: the one that was built in FOLDER, a
 * clone of this repository at any revision, and the one of this revision. It prints the outcome of
 * each attack.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import type { GuestFile } from '../../guest/index.js';
import { runTool } from '../../guest/tools.js';
import { packageFolder } from '../../src/paths.js';
import { kernelNamed, kernelOption, recordedKernels } from '../kernels.js';
import { type AttackOutcome, attackAll, attackedPolicy, attacks } from './attacks.js';
import { bootBystanders } from './bystanders.js';

const HOME = '/usr/lib/waep';
const PROGRAMS = ['waep.node', 'waep-keeper', 'waep-executor'];

const command = new Command('npm run hostile --')
  .description('Makes the attacks on an agent of another revision, and on this one.')
  .argument('<folder>', 'a clone of this repository at that revision, built')
  .addOption(kernelOption())
  .option('--record', 'write results/attacks.md')
  .parse();
const { kernel: kernels = recordedKernels, record } = command.opts<{
  kernel?: string[];
  record?: boolean;
}>();
const [folder = ''] = command.args;

/** Returns the files that replace the agent in an image by the agent of another revision. */
async function agentOf(clone: string): Promise<Record<string, GuestFile>> {
  const files: Record<string, GuestFile> = {
    [`${HOME}/agent.cjs`]: { source: join(clone, 'dist/guest/agent.cjs') },
  };
  for (const name of PROGRAMS) {
    const source = join(clone, 'prebuilds/linux-x64', name);
    // An agent without this program must not find this revision's.
    const there = await readFile(source).catch(() => undefined);
    files[`${HOME}/${name}`] = there === undefined ? { text: '' } : { source };
  }
  // Older agents look for their programs in other folders.
  const init = await readFile(join(packageFolder, 'guest/agent/init'), 'utf8');
  const text = init.replace('\n', `\nexport WAEP_NATIVE_DIR=${HOME}\n`);
  files['/init'] = { text, mode: 0o755 };
  return files;
}

async function attack(
  files: Record<string, GuestFile>,
  kernel: string,
): Promise<readonly AttackOutcome[]> {
  const policy = join(packageFolder, 'build/attacked-policy.yaml');
  await writeFile(policy, attackedPolicy);
  const others = await bootBystanders({ policy }, kernelNamed(kernel), files);
  try {
    return await attackAll(others);
  } finally {
    await others.stop();
  }
}

/** Returns the beginning and the end of a long text, for a line of a table. */
function shortened(text: string): string {
  const line = text.trim().replace(/\s+/g, ' ').replaceAll('|', '');
  return line.length < 140 ? line : `${line.slice(0, 60)} … ${line.slice(-70)}`;
}

/** Returns an attack's outcome in a few words. `changed` are the changes that it made. */
function inWords({ result, error }: AttackOutcome, changed: readonly string[]): string {
  const harm = changed.map((change) => `; ${shortened(change)}`).join('');
  if (error !== undefined) {
    const { code, detail, message } = error as Error & { code?: string; detail?: object };
    const rule = (detail as { rule?: string } | undefined)?.rule;
    if (code === 'ERR_POLICY_REFUSED') return `refused by the rule \`${rule}\`${harm}`;
    if (code === 'ERR_CALL_MALFORMED') return `refused as malformed${harm}`;
    return `failed (${code ?? message})${harm}`;
  }
  const { result: number = 0, errno = 0 } = (result ?? {}) as { result?: number; errno?: number };
  return number < 0
    ? `made; the kernel refused it (errno ${errno})${harm}`
    : `**succeeded**${harm}`;
}

function column(outcomes: readonly AttackOutcome[]): string[] {
  return outcomes.map((outcome, at) => {
    const before = outcomes[at - 1]?.changes ?? [];
    return inWords(
      outcome,
      outcome.changes.filter((change) => !before.includes(change)),
    );
  });
}

/** Makes the attacks on each kernel. Equal outcomes of an attack are reported once. */
async function attackOn(files: Record<string, GuestFile>): Promise<string[]> {
  const columns: string[][] = [];
  for (const kernel of kernels) columns.push(column(await attack(files, kernel)));
  return attacks.map((_, at) => {
    const byWords = new Map<string, string[]>();
    for (const [index, kernel] of kernels.entries()) {
      const words = columns[index]?.[at] ?? '';
      byWords.set(words, [...(byWords.get(words) ?? []), kernel]);
    }
    const said = [...byWords].map(([words, on]) => `${words} (${on.join(', ')})`);
    return byWords.size === 1 ? ([...byWords.keys()][0] ?? '') : said.join('; ');
  });
}

async function main(): Promise<void> {
  const commitOf = (clone: string) => runTool('git', ['-C', clone, 'rev-parse', '--short', 'HEAD']);
  const [before, now] = [await commitOf(folder), await commitOf(packageFolder)];
  const old = await attackOn(await agentOf(folder));
  const young = await attackOn({});
  const page = [
    '# Attacks on the policy, before and now',
    '',
    `Written by \`npm run hostile\`; do not edit. Each attack of test/hostile/attacks.ts, made in a guest`,
    `with a session, a process and settings of others, on Linux ${kernels.join(', ')}.`,
    '',
    `| attack | agent of ${before} | agent of ${now} |`,
    '|---|---|---|',
    ...attacks.map(({ name }, at) => `| ${name} | ${old[at]} | ${young[at]} |`),
    '',
  ].join('\n');
  console.log(page);
  if (record === true) await writeFile(join(packageFolder, 'results/attacks.md'), page);
  if (young.some((outcome) => !/^refused [^;]*$/.test(outcome))) process.exitCode = 1;
}

main().catch((error: Error) => {
  console.error(`hostile: ${error.message}`);
  process.exitCode = 1;
});
