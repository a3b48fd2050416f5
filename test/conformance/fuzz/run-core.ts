/* Compiles targets with clang and runs them under libFuzzer. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { execa } from 'execa';
import { cached, contentKey, filesBelow } from '../../../guest/image/cache.js';
import { requireTool, runTool } from '../../../guest/tools.js';
import { cacheFolder, packageFolder } from '../../../src/paths.js';
import type { Mutant } from './mutants.js';
import type { Outcome } from './outcome.js';
import type { CoreTarget } from './targets.js';

const coreFolder = join(packageFolder, 'addon/core');
const harnessFolder = join(packageFolder, 'test/conformance/fuzz/core');
const corpusFolder = join(packageFolder, 'test/conformance/fuzz/corpus');

const flags = [
  '-std=c++17',
  '-g',
  '-O2',
  '-fno-exceptions',
  '-fno-rtti',
  '-fno-omit-frame-pointer',
  '-fno-sanitize-recover=all',
  // The lines of a fake that an input runs say nothing about the input.
  `-fsanitize-coverage-ignorelist=${join(harnessFolder, 'uncovered.txt')}`,
  '-Wall',
  '-Wextra',
  '-Wpedantic',
  '-Werror',
];

/**
 * The comparisons of a harness say nothing about an input, and tracing them takes half of the time.
 */
const harnessFlags = ['-fno-sanitize-coverage=trace-cmp'];

/**
 * An input frees little. So a short quarantine keeps all freed memory, and the kernel need not
 * provide new memory all the time.
 */
const ASAN_OPTIONS = 'quarantine_size_mb=4:malloc_context_size=8';

/** An input that takes longer has found an endless loop. */
const SLOWEST_INPUT_SECONDS = 20;
const MOST_MEMORY_MIB = 1024;
const LARGEST_ALLOCATION_MIB = 16;

/** Compiles a target, without a guard if one is given. The cache has unchanged objects. */
async function compile(target: CoreTarget, mutant?: Mutant): Promise<string> {
  const sanitizers = `-fsanitize=fuzzer,${target.withoutAddresses === true ? '' : 'address,'}undefined`;
  const sources = [
    ...target.harness.map((name) => join(harnessFolder, name)),
    ...target.sources.map((name) => join(coreFolder, name)),
  ];
  const headers = await contentsOf([coreFolder, harnessFolder], '.h');
  const objects: string[] = [];
  for (const path of sources) {
    const text = await readFile(path, 'utf8');
    const source = basename(path) === mutant?.file ? withoutGuard(text, mutant) : text;
    const all = [...flags, ...(path.startsWith(harnessFolder) ? harnessFlags : []), sanitizers];
    const key = contentKey(all.join(' '), path, source, ...headers);
    const folder = await cached('fuzz-objects', key, async (draft) => {
      const copy = join(draft, basename(path));
      await writeFile(copy, source);
      const folders = ['-I', dirname(path), '-I', coreFolder, '-I', harnessFolder];
      const object = ['-c', copy, '-o', join(draft, 'object.o')];
      await runTool('clang++-14', [...all, ...folders, ...object]);
    });
    objects.push(join(folder, 'object.o'));
  }
  const wrapped = (target.wrapped ?? []).map((name) => `-Wl,--wrap=${name}`);
  const folder = await cached('fuzz', contentKey(...objects, ...wrapped), async (draft) => {
    const program = ['-o', join(draft, target.name)];
    await runTool('clang++-14', [sanitizers, ...objects, ...wrapped, ...program]);
  });
  return join(folder, target.name);
}

async function contentsOf(folders: readonly string[], ending: string): Promise<Buffer[]> {
  const files = (await Promise.all(folders.map(filesBelow))).flat();
  return Promise.all(files.filter((name) => name.endsWith(ending)).map((name) => readFile(name)));
}

/** Returns the text of a source without a guard. */
function withoutGuard(text: string, { file, changes }: Mutant): string {
  let changed = text;
  for (const [from, to] of changes) {
    const pieces = changed.split(from);
    if (pieces.length !== 2) throw new Error(`${file} has ${pieces.length - 1} times: ${from}`);
    changed = pieces.join(to);
  }
  return changed;
}

/** Returns the folders of a target's inputs: one that grows with each run, and the initial ones. */
async function corpus(
  target: CoreTarget,
): Promise<{ grown: string; given: string[]; rules: string }> {
  const work = join(cacheFolder(), 'fuzz-corpus', target.name);
  const grown = join(work, 'grown');
  const seeds = join(work, 'seeds');
  const committed = join(corpusFolder, target.name);
  for (const folder of [grown, seeds, committed]) await mkdir(folder, { recursive: true });
  for (const seed of target.seeds?.() ?? []) await writeFile(join(seeds, contentKey(seed)), seed);
  const rules = join(work, 'rules');
  await writeFile(rules, target.rules?.() ?? '');
  return { grown, given: [committed, seeds], rules };
}

/** Fuzzes a target for a time, from a given seed on. */
export async function fuzzCore(
  target: CoreTarget,
  { seconds, seed }: { seconds: number; seed: number },
): Promise<Outcome> {
  const program = await compile(target);
  const { grown, given, rules } = await corpus(target);
  return feed(target, program, [grown, ...given], rules, [
    `-max_total_time=${seconds}`,
    `-seed=${seed}`,
  ]);
}

/** Fuzzes a target without a guard, from valid inputs alone, until it finds something. */
export async function fuzzMutant(
  target: CoreTarget,
  mutant: Mutant,
  { seconds, seed }: { seconds: number; seed: number },
): Promise<Outcome> {
  const program = await compile(target, mutant);
  const { rules } = await corpus(target);
  const folder = await mkdtemp(join(tmpdir(), 'waep-mutant-'));
  try {
    for (const one of target.plainSeeds?.() ?? []) {
      await writeFile(join(folder, contentKey(one)), one);
    }
    const limits = [`-max_total_time=${seconds}`, `-seed=${seed}`];
    return {
      ...(await feed(target, program, [folder], rules, limits)),
      without: mutant.against,
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function feed(
  target: CoreTarget,
  program: string,
  folders: readonly string[],
  rules: string,
  limits: readonly string[],
): Promise<Outcome> {
  const artifacts = join(cacheFolder(), 'fuzz-found', target.name);
  await mkdir(artifacts, { recursive: true });
  const started = performance.now();
  const run = await execa(
    requireTool(program),
    [
      ...limits,
      `-max_len=${target.maxInputBytes}`,
      `-timeout=${SLOWEST_INPUT_SECONDS}`,
      `-rss_limit_mb=${MOST_MEMORY_MIB}`,
      `-malloc_limit_mb=${LARGEST_ALLOCATION_MIB}`,
      `-artifact_prefix=${artifacts}/`,
      '-print_final_stats=1',
      '-verbosity=1',
      '-print_funcs=0',
      // Nobody else adds inputs during the run.
      '-reload=0',
      ...folders,
    ],
    { reject: false, stdin: 'ignore', all: true, env: { ASAN_OPTIONS, WAEP_FUZZ_RULES: rules } },
  );
  const number = (pattern: RegExp) => Number([...run.all.matchAll(pattern)].at(-1)?.[1] ?? 0);
  const edges = number(/ cov: (\d+) /g);
  const outcome: Outcome = {
    target: target.name,
    // Without the statistics of an orderly end, this reads the last printed line.
    inputs: number(/number_of_executed_units: (\d+)/g) || number(/^#(\d+)/gm),
    seconds: (performance.now() - started) / 1000,
    coverage: `${edges} of ${number(/\((\d+) inline 8-bit counters\)/g)} edges`,
  };
  if (run.exitCode === 0) return outcome;
  const artifact = /Test unit written to (\S+)/.exec(run.all)?.[1];
  const again = artifact === undefined ? '' : `\nAgain: ${program} ${artifact}`;
  return { ...outcome, found: `${report(run.all)}${again}` };
}

/** Returns the part of libFuzzer's output that describes the error. */
function report(output: string): string {
  const lines = output.split('\n');
  const first = lines.findIndex((line) => /^wrong: |^==\d+==|runtime error:/.test(line));
  return lines.slice(Math.max(0, first), Math.max(0, first) + 40).join('\n');
}

/** Adds inputs to the committed corpus that reach further than the corpus does. */
export async function mergeCorpus(target: CoreTarget): Promise<void> {
  const program = await compile(target);
  const { grown, given, rules } = await corpus(target);
  const [committed = '', ...seeds] = given;
  const args = [
    '-set_cover_merge=1',
    // By lines, and not by how often a line runs: those counts keep many more inputs.
    '-use_counters=0',
    `-max_len=${target.committedInputBytes}`,
    committed,
    grown,
    ...seeds,
  ];
  await runTool(program, args, { env: { ...process.env, WAEP_FUZZ_RULES: rules } });
}
