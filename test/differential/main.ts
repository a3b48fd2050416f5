/* `npm run test:differential`: the suite on three kernels, and the page about it. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { KernelChoice } from '../../guest/index.js';
import { packageFolder } from '../../guest/paths.js';
import { renderConformance } from './report.js';
import { bootWithOracle, compareIn, type KernelRun } from './run.js';
import { worldOf } from './world.js';

/** Debian's kernels: 5.10, 6.1 and 6.12. */
const kernels: readonly KernelChoice[] = [
  { suite: 'bullseye' },
  {},
  { suite: 'bookworm-backports' },
];

const runs: KernelRun[] = [];
for (const kernel of kernels) {
  const guest = await bootWithOracle(kernel);
  try {
    const run = await compareIn(guest, await worldOf(guest));
    const different = run.compared.filter(({ differences }) => differences.length > 0).length;
    console.log(
      `Linux ${run.release}: ${run.compared.length} calls, ${different} different, ${run.tookMs} ms`,
    );
    if (different > 0) process.exitCode = 1;
    runs.push(run);
  } finally {
    await guest.stop();
  }
}
const page = join(packageFolder, 'results/conformance.md');
await writeFile(page, renderConformance(runs));
console.log(`written: ${page}`);
