/* `npm run compat`: runs every row on both sides, and writes the pages about it. */
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { Command, Option } from 'commander';
import pc from 'picocolors';
import type { Progress } from '../../../guest/index.js';
import { kernelNamed } from '../../kernels.js';
import { equip } from './equipment.js';
import { bootEquipped, describeGuest } from './equipped-guest.js';
import { type Options, runMatrix } from './matrix.js';
import { failing, type Result } from './row.js';
import { record } from './store.js';

const colours = {
  same: pc.green,
  'same-but-volatile': pc.green,
  'failing-alike': pc.dim,
  different: pc.red,
  refused: pc.yellow,
  'unsupported-in-guest': pc.dim,
  'failing-in-guest': pc.red,
} as const;

function show(result: Result, done: number, total: number): void {
  const { args, verdict, why, guestMs, hostMs, standbyMs = 0 } = result;
  const inS = [guestMs, hostMs, standbyMs].map((ms) => `${(ms / 1000).toFixed(1)} s`);
  const times = pc.dim(inS.join(', '));
  const reason = why === '' ? '' : `\n      ${why}`;
  console.log(`[${done}/${total}] ${colours[verdict](verdict)} ${args} ${times}${reason}`);
}

/** Keeps a guest for several runs, because a boot takes longer than a few rows. */
async function keepGuest(
  path: string,
  progress: Progress,
  { kernel, tools }: Pick<Flags, 'kernel' | 'tools'>,
): Promise<void> {
  const choice = kernel === undefined ? undefined : kernelNamed(kernel);
  const equipment = await equip(progress, tools, choice);
  await using guest = await bootEquipped(equipment, progress, choice);
  await writeFile(path, describeGuest(guest, equipment));
  console.log(`The guest is up; in another terminal: npm run compat -- --join ${path}`);
  await Promise.race([guest.ended, once(process, 'SIGINT')]);
}

interface Flags {
  only?: string;
  kernel?: string;
  tools?: string;
  keep?: string;
  join?: string;
  record: boolean;
  verbose: boolean;
}

new Command('npm run compat --')
  .description('Runs each tool inside a guest and from the host, and compares.')
  .option('--only <pattern>', 'only commands that match this regular expression')
  .addOption(
    new Option(
      '--kernel <name>',
      'a kernel such as 6.12, or a suite of Debian such as sid',
    ).conflicts('join'),
  )
  .addOption(
    new Option(
      '--tools <suite>',
      'the tools of a suite of Debian such as sid, in place of those of this machine',
    ).conflicts('join'),
  )
  .option('--record', 'keep the results in results/compat.*, beside those of other commands', false)
  .option('--keep <file>', 'boot the guest, describe it in a file, and keep it until Ctrl-C')
  .option('--join <file>', 'use the guest that the file describes')
  .option('--verbose', 'show what both sides print where they differ', false)
  .action(async (flags: Flags) => {
    const { only, kernel, tools, keep, join: joined, record: keepResults, verbose } = flags;
    const progress = (line: string) => console.error(pc.dim(line));
    if (keep !== undefined) return keepGuest(keep, progress, flags);
    const options: Options = {
      show,
      progress,
      ...(joined === undefined ? {} : { join: joined }),
      ...(only === undefined ? {} : { only: new RegExp(only) }),
      ...(kernel === undefined ? {} : { kernel: kernelNamed(kernel) }),
      ...(tools === undefined ? {} : { suite: tools }),
      ...(keepResults ? { record } : {}),
      ...(verbose ? { outputs: (text: string) => console.log(text) } : {}),
    };
    const { info, results } = await runMatrix(options);
    const count = (verdict: string) => results.filter((one) => one.verdict === verdict).length;
    const counts = Object.keys(colours).map((name) => `${count(name)} ${name}`);
    console.log(
      `${info.rows} commands in ${info.tookS} s: ${counts.join(', ')}. Host: ${info.host}.`,
    );
    if (results.some(({ verdict }) => failing.has(verdict))) process.exitCode = 1;
  })
  .parseAsync()
  .catch((error: Error) => {
    console.error(pc.red(error.stack ?? error.message));
    process.exitCode = 1;
  });
