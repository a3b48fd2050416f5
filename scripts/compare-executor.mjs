// compare-executor REVISION: what the agent's executor costs in the working tree, beside the same at
// another revision. Both are compiled, take turns, and run under callgrind, which counts their
// instructions exactly.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const TURNS = 9;
const CALLS_OF_A_TURN = 20_000;
const COUNTED_CALLS = 2000;
/** A single instruction that fills memory would be counted once for each byte. */
const BY_VECTORS = 'glibc.cpu.x86_rep_stosb_threshold=1000000';
const kinds = ['lookup', 'update', 'batch', 'load'];
const profileNames = ['observe', 'full'];

const root = fileURLToPath(new URL('..', import.meta.url));
const [revision] = process.argv.slice(2);
if (revision === undefined) {
  console.error('compare-executor: expected a revision, such as HEAD~1');
  process.exit(1);
}
const folder = mkdtempSync(join(tmpdir(), 'waep-compare-'));

/** The encoded rules of a profile, by the code of a revision itself. */
async function rulesOf(tree, profile, file) {
  const script = `
    import { compile } from '${tree}/src/policy/compile.ts';
    import { profiles } from '${tree}/src/policy/profiles.ts';
    import { encodeRules } from '${tree}/src/policy/rules.ts';
    const none = () => undefined;
    const names = { possibleCpus: 2, functions: () => [], hooks: () => [], tracepoints: () => [],
      probes: () => [], perfType: none, interfaceIndex: none };
    export const rules = encodeRules(compile(profiles.${profile}, names));`;
  const outfile = `${file}.mjs`;
  const stdin = { contents: script, resolveDir: root };
  // What is bundled may be CommonJS.
  const js =
    "import { createRequire as r } from 'node:module'; const require = r(import.meta.url);";
  const banner = { js };
  await build({ stdin, outfile, bundle: true, platform: 'node', format: 'esm', banner });
  const { rules } = await import(pathToFileURL(outfile).href);
  writeFileSync(file, rules);
}

/** Compiles the calls against a tree's executor. */
async function prepare(name, tree) {
  // Where older revisions have everything.
  const folders = ['addon/core/executor', 'addon/core'].map((name) => join(tree, name));
  const core = folders.find((name) => existsSync(name));
  const place = join(folder, name);
  mkdirSync(place);
  const needed = [
    'executor',
    'call_memory',
    'call_image',
    'file_operations',
    'readable_file',
    'rule_checker',
    'rules',
    'audit_trail',
    'cancellation',
  ];
  const sources = readdirSync(core).filter((file) => needed.includes(file.replace(/\.cc$/, '')));
  const program = join(place, 'executor');
  const flags = ['-std=c++17', '-O2', '-g', '-fno-exceptions', '-fno-rtti', '-I', core];
  const files = sources.filter((file) => file.endsWith('.cc')).map((file) => join(core, file));
  execFileSync('g++', [...flags, join(root, 'bench/c/executor.cc'), ...files, '-o', program]);
  for (const profile of profileNames) await rulesOf(tree, profile, join(place, profile));
  return {
    run: (profile, calls, kind) =>
      execFileSync(program, [join(place, profile), String(calls), kind], { encoding: 'utf8' }),
    count: (profile, calls, kind) => {
      const words = ['--tool=callgrind', '--callgrind-out-file=/dev/null', program];
      const { stderr } = spawnChecked('valgrind', [
        ...words,
        join(place, profile),
        String(calls),
        kind,
      ]);
      return Number(/Collected : (\d+)/.exec(stderr)?.[1]);
    },
  };
}

/** Runs a command that reports on its standard error. */
function spawnChecked(command, words) {
  const stderr = execFileSync(
    '/bin/sh',
    ['-c', 'exec "$0" "$@" 2>&1 >/dev/null', command, ...words],
    { encoding: 'utf8', env: { ...process.env, GLIBC_TUNABLES: BY_VECTORS } },
  );
  return { stderr };
}

const median = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];

try {
  const old = join(folder, 'tree');
  mkdirSync(old);
  const tar = execFileSync('git', ['-C', root, 'archive', revision], { maxBuffer: 2 ** 30 });
  execFileSync('tar', ['x', '-C', old], { input: tar });
  execFileSync('ln', ['-s', join(root, 'node_modules'), join(old, 'node_modules')]);
  const sides = { before: await prepare('before', old), now: await prepare('now', root) };
  for (const profile of profileNames) {
    for (const kind of kinds) {
      const instructions = {};
      const times = { before: [], now: [] };
      for (const [name, side] of Object.entries(sides)) {
        const more =
          side.count(profile, 2 * COUNTED_CALLS, kind) - side.count(profile, COUNTED_CALLS, kind);
        instructions[name] = more / COUNTED_CALLS;
      }
      for (let turn = 0; turn < TURNS; turn++) {
        for (const [name, side] of Object.entries(sides)) {
          times[name].push(Number(side.run(profile, CALLS_OF_A_TURN, kind).split(' ')[1]));
        }
      }
      const ratio = instructions.now / instructions.before;
      console.log(
        `${kind} under ${profile}: ${instructions.before.toFixed(0)} instructions before, ` +
          `${instructions.now.toFixed(0)} now (${ratio.toFixed(3)}); ` +
          `${median(times.before).toFixed(0)} ns and ${median(times.now).toFixed(0)} ns of processor`,
      );
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
