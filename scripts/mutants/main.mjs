// Changes the sources in one small way at a time, and runs tests that should notice.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, release } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Stryker } from '@stryker-mutator/core';
import { groups } from './groups.mjs';
import { render, shareOf } from './page.mjs';

process.chdir(fileURLToPath(new URL('../..', import.meta.url)));

const HELP = `npm run mutants -- [OPTION ...] [FOLDER ...]

Change the code of src/${Object.keys(groups).join(', src/')}, or of some of them, in one small way at a time,
and run the tests that should notice. Print what no test notices.

  --jobs N      how many runs of tests at a time; as many as there are processors unless it is given
  --file NAME   change only the files that are tested together with this one
  --record      keep each result in results/mutants.json, and write results/mutants.md
  --render      write results/mutants.md of the results that are kept, and run nothing`;

const { values, positionals } = parseArgs({
  options: {
    jobs: { type: 'string', default: `${availableParallelism()}` },
    file: { type: 'string' },
    record: { type: 'boolean' },
    render: { type: 'boolean' },
    help: { type: 'boolean' },
  },
  allowPositionals: true,
});
const DATA = 'results/mutants.json';
const PAGE = 'results/mutants.md';

const git = (...words) => execFileSync('git', words, { encoding: 'utf8' }).trim();

/** Git's name of a folder of sources as it is: `git log --find-object` finds its commits. */
function treeOf(folder) {
  const changed = git('status', '--porcelain', `src/${folder}`) !== '';
  return git('rev-parse', '--short', `HEAD:src/${folder}`) + (changed ? ', changed' : '');
}

/** Runs tests with each mutant of these files, or parts of files. */
async function judge(mutate, tests) {
  const stryker = new Stryker({
    mutate,
    testRunner: 'tap',
    tap: { testFiles: tests.map((path) => `dist/${path}.test.js`), nodeArgs: [], forceBail: true },
    buildCommand: 'node scripts/mutants/build.mjs',
    coverageAnalysis: 'perTest',
    concurrency: Number(values.jobs),
    // Changed code that waits for what never comes is noticed by that.
    timeoutMS: 10_000,
    ignorePatterns: ['/build', '/dist', '/docs', '/prebuilds', '/results'],
    tempDirName: '.stryker-tmp',
    reporters: ['progress-append-only'],
    allowConsoleColors: false,
  });
  const mutants = await stryker.runMutationTest();
  return mutants.map(({ fileName, location, mutatorName, replacement, status }) => {
    const { start, end } = location;
    const file = fileName.replace(`${process.cwd()}/`, '');
    const key = `${file}:${start.line}:${start.column}-${end.line}:${end.column} ${mutatorName} ${replacement}`;
    const lines = `${file}:${start.line}-${end.line}`;
    return { file, line: start.line, lines, key, change: mutatorName, to: replacement, status };
  });
}

const isUnnoticed = ({ status }) => status === 'Survived' || status === 'NoCoverage';
const isNoticed = ({ status }) => status === 'Killed' || status === 'Timeout';

async function mutate(folder, { files, tests, slower = [] }) {
  const startMs = performance.now();
  let mutants = await judge(
    files.map((name) => `src/${folder}/${name}.ts`),
    tests,
  );
  const places = [...new Set(mutants.filter(isUnnoticed).map(({ lines }) => lines))];
  if (slower.length > 0 && places.length > 0) {
    const later = new Map((await judge(places, slower)).map((one) => [one.key, one]));
    mutants = mutants.map((mutant) => {
      const again = isUnnoticed(mutant) ? later.get(mutant.key) : undefined;
      if (again === undefined) return mutant;
      return isNoticed(again) || mutant.status === 'NoCoverage' ? again : mutant;
    });
  }
  return {
    folder,
    files,
    tests: [...tests, ...slower],
    tree: treeOf(folder),
    machine: `${cpus().length} × ${cpus()[0].model}, Linux ${release()}`,
    node: process.version,
    minutes: Math.round((performance.now() - startMs) / 60_000),
    mutants: counted(mutants),
    unnoticed: mutants.filter(isUnnoticed).map(({ file, line, change, to, status }) => ({
      place: `${file}:${line}`,
      change,
      to,
      reached: status === 'Survived',
    })),
  };
}

/** How many mutants of each file came to what. */
function counted(mutants) {
  const files = {};
  for (const { file, status } of mutants) {
    files[file] ??= {};
    files[file][status] = (files[file][status] ?? 0) + 1;
  }
  return files;
}

const kept = () => (existsSync(DATA) ? JSON.parse(readFileSync(DATA, 'utf8')) : []);

/** The files that have no result among these. */
function missing(results) {
  const measured = results.flatMap(({ folder, files }) => files.map((name) => `${folder}/${name}`));
  return Object.entries(groups)
    .flatMap(([folder, all]) =>
      all.flatMap(({ files }) => files.map((name) => `${folder}/${name}`)),
    )
    .filter((name) => !measured.includes(name))
    .map((name) => `src/${name}.ts`);
}

/** Puts a result in the place of an older one of the same files. */
function record(result) {
  const order = Object.entries(groups).flatMap(([folder, all]) =>
    all.map(({ files }) => `${folder} ${files}`),
  );
  const nameOf = ({ folder, files }) => `${folder} ${files}`;
  const all = [...kept().filter((one) => nameOf(one) !== nameOf(result)), result]
    .filter((one) => order.includes(nameOf(one)))
    .sort((a, b) => order.indexOf(nameOf(a)) - order.indexOf(nameOf(b)));
  writeFileSync(DATA, `${JSON.stringify(all, null, 1)}\n`);
  writeFileSync(PAGE, render(all, missing(all)));
}

async function main() {
  if (values.help) return console.log(HELP);
  if (values.render) return writeFileSync(PAGE, render(kept(), missing(kept())));
  const unknown = positionals.find((name) => groups[name] === undefined);
  if (unknown !== undefined) throw new Error(`src/${unknown} has no mutants. See --help.`);
  // The addon is not copied: the sources are.
  process.env.WAEP_NATIVE_DIR = fileURLToPath(new URL('../../build/Release', import.meta.url));
  const folders = positionals.length > 0 ? positionals : Object.keys(groups);
  const chosen = folders.flatMap((folder) =>
    groups[folder]
      .filter(({ files }) => values.file === undefined || files.includes(values.file))
      .map((group) => [folder, group]),
  );
  if (chosen.length === 0) throw new Error(`No file of src/ is ${values.file}. See --help.`);
  for (const [folder, group] of chosen) {
    const result = await mutate(folder, group);
    for (const { place, change, to, reached } of result.unnoticed) {
      console.log(`${place} ${change}${reached ? '' : ' (reached by no test)'}: ${to}`);
    }
    const share = shareOf(Object.values(result.mutants)).toFixed(1);
    console.log(`src/${folder}/${group.files.join(', ')}: ${share} % are noticed`);
    if (values.record) record(result);
  }
}

main().catch((error) => {
  console.error(`mutants: ${error.message}`);
  process.exitCode = 1;
});
