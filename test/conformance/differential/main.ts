/* `npm run test:differential`: runs the suite on Debian's kernels, and writes the page about it. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import pc from 'picocolors';
import { packageFolder } from '../../../src/paths.js';
import { kernelNamed, kernelOption, recordedKernels } from '../../kernels.js';
import { type Part, parts } from './cases/index.js';
import { stepName } from './compare.js';
import { renderConformance } from './report.js';
import { bootWithOracle, compareIn, type KernelRun } from './run.js';
import { worldOf } from './world.js';

const PAGE = 'results/conformance.md';

interface Options {
  kernel?: string[];
  part?: Part[];
  record: boolean;
}

function partNamed(name: string, before: Part[] = []): Part[] {
  if (Object.hasOwn(parts, name)) return [...before, name as Part];
  throw new InvalidArgumentError(`Expected one of ${Object.keys(parts).join(', ')}.`);
}

async function runSuite({ kernel, part, record }: Options): Promise<void> {
  const runs: KernelRun[] = [];
  for (const name of kernel ?? recordedKernels) {
    const guest = await bootWithOracle(kernelNamed(name));
    try {
      const run = await compareIn(guest, await worldOf(guest), part);
      const different = run.compared.filter(({ differences }) => differences.length > 0);
      for (const { case: one, step, differences } of different) {
        console.log(`${one.command}, ${one.name}: ${stepName(step)}: ${differences.join('; ')}`);
      }
      console.log(
        `Linux ${run.release}: ${run.compared.length} calls, ${different.length} different, ${run.tookMs} ms`,
      );
      if (different.length > 0) process.exitCode = 1;
      runs.push(run);
    } finally {
      await guest.stop();
    }
  }
  if (!record) return;
  await writeFile(join(packageFolder, PAGE), renderConformance(runs));
  console.log(`written: ${PAGE}`);
}

const command = new Command('npm run test:differential --')
  .description(
    'Makes the same bpf(2) calls in a guest and from the host, and compares results, errno and all memory.',
  )
  .addOption(kernelOption())
  .option(
    '--part <name>',
    `only these cases: ${Object.keys(parts).join(', ')}; may be given several times`,
    partNamed,
  )
  .option('--record', `write ${PAGE}, which takes all kernels and all parts`, false)
  .action(async (options: Options) => {
    if (options.record && (options.kernel ?? options.part) !== undefined) {
      command.error('error: --record takes all kernels and parts: leave out --kernel and --part');
    }
    await runSuite(options);
  });

command.parseAsync().catch((error: Error) => {
  console.error(pc.red(error.stack ?? error.message));
  process.exitCode = 1;
});
