/* results/compat.*: the newest result of each row. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { jsonRows } from '../../../bench/json-rows.js';
import { packageFolder } from '../../../src/paths.js';
import { renderCompat } from './report.js';
import type { Result, Run, RunInfo } from './row.js';

const folder = join(packageFolder, 'results');
const paths = {
  results: join(folder, 'compat.json'),
  runs: join(folder, 'compat-runs.json'),
  page: join(folder, 'compat.md'),
} as const;

/** Replaces the earlier results of the same rows by a run's results. */
export async function record({ info, results, rows }: Run): Promise<void> {
  await mkdir(folder, { recursive: true });
  const all = new Map((await read<Result>(paths.results)).map((result) => [keyOf(result), result]));
  for (const result of results) all.set(keyOf(result), result);
  // In the order of the matrix, without rows that the matrix no longer has.
  const known = rows.flatMap((row) => all.get(keyOf({ tool: row.tool, args: row.command })) ?? []);
  const used = new Set(known.map(({ run }) => run));
  const runs = (await read<RunInfo>(paths.runs)).filter(({ at }) => at !== info.at);
  const kept = [...runs, info].filter(({ at }) => used.has(at));
  await writeFile(paths.results, `${jsonRows(known)}\n`);
  await writeFile(paths.runs, `${jsonRows(kept)}\n`);
  await writeFile(paths.page, renderCompat(known, kept));
}

function keyOf({ tool, args }: Pick<Result, 'tool' | 'args'>): string {
  return `${tool}: ${args}`;
}

async function read<T>(path: string): Promise<T[]> {
  const text = await readFile(path, 'utf8').catch(() => '[]');
  return JSON.parse(text) as T[];
}
