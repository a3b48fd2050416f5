/* results/compat.*: the newest result of each row, by the tools and the kernel that it is about. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { jsonRows } from '../../../bench/json-rows.js';
import { packageFolder } from '../../../src/paths.js';
import { renderCompat } from './report.js';
import { conditionsOf, type Result, type Run, type RunInfo } from './row.js';

const folder = join(packageFolder, 'results');
const paths = {
  results: join(folder, 'compat.json'),
  runs: join(folder, 'compat-runs.json'),
  page: join(folder, 'compat.md'),
} as const;

/** Replaces the earlier results of the same rows, with the same tools and kernel, by a run's results. */
export async function record({ info, results, rows }: Run): Promise<void> {
  await mkdir(folder, { recursive: true });
  const runs = (await read<RunInfo>(paths.runs)).filter(({ at }) => at !== info.at);
  const all = [...runs, info];
  const conditions = new Map(all.map((run) => [run.at, conditionsOf(run)]));
  const earlier = await read<Result>(paths.results);
  const isOwn = ({ run }: Result) => conditions.get(run) === conditionsOf(info);
  const own = new Map([...earlier.filter(isOwn), ...results].map((one) => [keyOf(one), one]));
  // In the order of the matrix, without rows that the matrix no longer has.
  const known = rows.flatMap((row) => own.get(keyOf({ tool: row.tool, args: row.command })) ?? []);
  const others = earlier.filter((result) => !isOwn(result));
  const order = [...new Set(conditions.values())].sort();
  const place = ({ run }: Result) => order.indexOf(conditions.get(run) ?? '');
  const kept = [...others, ...known].sort((a, b) => place(a) - place(b));
  const used = new Set(kept.map(({ run }) => run));
  const keptRuns = all.filter(({ at }) => used.has(at));
  await writeFile(paths.results, `${jsonRows(kept)}\n`);
  await writeFile(paths.runs, `${jsonRows(keptRuns)}\n`);
  await writeFile(paths.page, renderCompat(kept, keptRuns));
}

function keyOf({ tool, args }: Pick<Result, 'tool' | 'args'>): string {
  return `${tool}: ${args}`;
}

async function read<T>(path: string): Promise<T[]> {
  const text = await readFile(path, 'utf8').catch(() => '[]');
  return JSON.parse(text) as T[];
}
