/* results/suites.*: the newest results of each kernel. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { jsonRows } from '../../../bench/json-rows.js';
import { packageFolder } from '../../../src/paths.js';
import type { Result } from './compare.js';
import { testOf } from './go-test.js';
import { pageOf } from './page.js';
import type { Recording, RunInfo } from './recording.js';

const paths = {
  results: join(packageFolder, 'results/suites.json'),
  page: join(packageFolder, 'results/suites.md'),
} as const;

/**
 * Replaces the earlier results of the same programs on the same kernel, or of the same tests of them
 * if only some ran.
 */
export async function record(info: RunInfo, results: readonly Result[]): Promise<void> {
  const before = await read();
  const isOld = (kernel: string, program: string) =>
    kernel === info.name && info.programs.includes(program);
  const runs = before.runs
    .map((run) => {
      const isReplaced = info.only === undefined || run.only === info.only;
      const kept = run.programs.filter((program) => !isReplaced || !isOld(run.name, program));
      return { ...run, programs: kept };
    })
    .filter(({ programs }) => programs.length > 0);
  const ran = new Set(results.map((one) => `${one.package}/${testOf(one.test)}`));
  const others = before.results.filter(
    (one) =>
      !isOld(one.kernel, one.package) ||
      (info.only !== undefined && !ran.has(`${one.package}/${testOf(one.test)}`)),
  );
  const recording: Recording = { runs: [...runs, info], results: [...others, ...results] };
  await writeFile(paths.results, encode(recording));
  await writeFile(paths.page, pageOf(recording));
}

async function read(): Promise<Recording> {
  const text = await readFile(paths.results, 'utf8').catch(() => '{"runs":[],"results":[]}');
  return JSON.parse(text);
}

function encode({ runs, results }: Recording): string {
  return `{"runs":${jsonRows(runs)},"results":${jsonRows(results)}}\n`;
}
