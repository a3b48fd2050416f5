// Changes the sources in one small way at a time, and runs tests that should notice.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, release } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Stryker } from '@stryker-mutator/core';
import { render, shareOf } from './page.mjs';

process.chdir(fileURLToPath(new URL('../..', import.meta.url)));

/** The folders of src/ that are changed: the files, and the tests that need no guest. */
const folders = {
  frame: {
    files: ['src/frame/*.ts'],
    tests: [
      'test/frame/{call,stream}',
      'test/frame/{header,messages,events}',
      'test/session/{failures,lying-agent}',
    ],
  },
  policy: {
    files: ['src/policy/*.ts'],
    tests: ['test/policy/{compile,confinement,describe,explain,file,object,rules,values}'],
  },
  // The tables of commands, records and numbers are compared with the kernel's own by test/abi.
  bpf: {
    files: ['src/bpf/*.ts', '!src/bpf/{commands,infos,enums}.ts'],
    tests: [
      'test/bpf/{decode,encode,insn,instructions,memory,refusals,rows,table,types}',
      'test/bpf/kernel-{maps,programs,objects,links,attach}',
    ],
  },
};

const HELP = `npm run mutants -- [OPTION ...] [FOLDER ...]

Change the code of src/${Object.keys(folders).join(', src/')}, or of some of them, in one small way at a time,
and run the tests that should notice. Print what no test notices.

  --jobs N      how many runs of tests at a time; as many as there are processors unless it is given
  --file NAME   change only this file of the folder
  --record      keep the result in results/mutants.json, and write results/mutants.md
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

async function mutate(name) {
  const { files, tests } = folders[name];
  const startMs = performance.now();
  const stryker = new Stryker({
    mutate: values.file === undefined ? files : [`src/${name}/${values.file}`],
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
  return {
    commit: git('rev-parse', '--short', 'HEAD') + (git('status', '--porcelain') ? ', changed' : ''),
    machine: `${cpus().length} × ${cpus()[0].model}, Linux ${release()}`,
    node: process.version,
    minutes: Math.round((performance.now() - startMs) / 60_000),
    tests,
    mutants: counted(mutants),
    unnoticed: mutants
      .filter(({ status }) => status === 'Survived' || status === 'NoCoverage')
      .map(({ fileName, location, mutatorName, replacement, status }) => ({
        place: `${fileName.replace(`${process.cwd()}/`, '')}:${location.start.line}`,
        change: mutatorName,
        to: replacement,
        reached: status === 'Survived',
      })),
  };
}

/** How many mutants of each file came to what. */
function counted(mutants) {
  const files = {};
  for (const { fileName, status } of mutants) {
    const name = fileName.replace(`${process.cwd()}/`, '');
    files[name] ??= {};
    files[name][status] = (files[name][status] ?? 0) + 1;
  }
  return files;
}

const kept = () => (existsSync(DATA) ? JSON.parse(readFileSync(DATA, 'utf8')) : {});

async function main() {
  const unknown = positionals.find((name) => folders[name] === undefined);
  if (values.help) return console.log(HELP);
  if (unknown !== undefined) throw new Error(`src/${unknown} has no mutants. See --help.`);
  if (values.file !== undefined && (positionals.length !== 1 || values.record)) {
    throw new Error('--file takes one folder, and goes without --record.');
  }
  // The addon is not copied: the sources are.
  process.env.WAEP_NATIVE_DIR = fileURLToPath(new URL('../../build/Release', import.meta.url));
  const chosen = positionals.length > 0 ? positionals : Object.keys(folders);
  for (const name of values.render ? [] : chosen) {
    const result = await mutate(name);
    for (const { place, change, to, reached } of result.unnoticed) {
      console.log(`${place} ${change}${reached ? '' : ' (reached by no test)'}: ${to}`);
    }
    console.log(`src/${name}: ${shareOf(Object.values(result.mutants)).toFixed(1)} % are noticed`);
    if (values.record)
      writeFileSync(DATA, `${JSON.stringify({ ...kept(), [name]: result }, null, 1)}\n`);
  }
  if (values.record || values.render) writeFileSync(PAGE, render(kept()));
}

main().catch((error) => {
  console.error(`mutants: ${error.message}`);
  process.exitCode = 1;
});
