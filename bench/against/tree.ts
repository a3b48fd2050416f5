/* Another revision of this project, built in a folder of its own. */
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import type { Progress } from '../../guest/index.js';
import { runTool } from '../../guest/tools.js';
import { failure } from '../../src/errors.js';
import { packageFolder } from '../../src/paths.js';
import { Disposables } from '../disposables.js';

/** A revision that is built. Disposing of it removes its folder. */
export interface Tree extends AsyncDisposable {
  readonly folder: string;
  /** The first twelve digits of its commit. */
  readonly commit: string;
  /** Whether the bench of the working tree measures it, instead of its own bench. */
  readonly sameBench: boolean;
}

/**
 * Builds a revision with everything that it needs, by its own `scripts/setup.mjs`. If the bench of
 * the working tree compiles with the revision's sources, that bench measures the revision, so that
 * only the measured code differs. Otherwise the revision keeps its own bench.
 *
 * @throws ERR_OPTION_INVALID when there is no such revision; ERR_TOOL_FAILED when it does not build
 */
export async function buildTree(revision: string, progress: Progress): Promise<Tree> {
  const commit = await commitOf(revision);
  await using resources = new Disposables();
  const folder = await mkdtemp(join(tmpdir(), 'waep-against-'));
  resources.use({ [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) });
  progress(`building ${revision} (${commit})`);
  await extract(commit, folder);
  if (await sameLock(folder)) {
    // Hard links cost nothing. If they cannot be made, the set-up installs the packages.
    await runTool('cp', ['-al', join(packageFolder, 'node_modules'), folder]).catch(() =>
      rm(join(folder, 'node_modules'), { recursive: true, force: true }),
    );
  }
  await runTool(process.execPath, ['scripts/setup.mjs', 'bench'], { cwd: folder });
  const sameBench = await adoptBench(folder);
  if (!sameBench) {
    await rm(join(folder, 'bench'), { recursive: true });
    await extract(commit, folder, ['bench']);
    await runTool('npm', ['run', '--silent', 'build:ts'], { cwd: folder });
  }
  const owned = resources.move();
  return { folder, commit, sameBench, [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose]() };
}

async function commitOf(revision: string): Promise<string> {
  const words = ['rev-parse', '--verify', '--quiet', '--short=12', `${revision}^{commit}`];
  const { stdout, exitCode } = await execa('git', words, { cwd: packageFolder, reject: false });
  if (exitCode === 0) return stdout;
  const expected = 'a revision of this repository';
  throw failure('ERR_OPTION_INVALID', { option: '--against', value: revision, expected });
}

async function extract(commit: string, folder: string, paths: string[] = []): Promise<void> {
  await execa('git', ['archive', commit, ...paths], { cwd: packageFolder }).pipe('tar', [
    'x',
    '-C',
    folder,
  ]);
}

async function sameLock(folder: string): Promise<boolean> {
  const [theirs, ours] = await Promise.all(
    [folder, packageFolder].map((place) => readFile(join(place, 'package-lock.json'), 'utf8')),
  );
  return theirs === ours;
}

/** Puts the bench of the working tree in the place of a revision's, and builds it with the rest. */
async function adoptBench(folder: string): Promise<boolean> {
  const project = join(folder, 'tsconfig.against.json');
  await rm(join(folder, 'bench'), { recursive: true });
  await cp(join(packageFolder, 'bench'), join(folder, 'bench'), { recursive: true });
  const compilerOptions = { noEmitOnError: true, incremental: false, tsBuildInfoFile: null };
  const settings = { extends: './tsconfig.json', compilerOptions, include: ['bench'] };
  await writeFile(project, JSON.stringify(settings));
  const compile = "import('./dist/bench/compile.js').then((bench) => bench.compilePrograms())";
  try {
    await runTool('npx', ['tsc', '-p', project], { cwd: folder });
    // Its C programs are made of the addon's sources, which may lie elsewhere.
    await runTool(process.execPath, ['-e', compile], { cwd: folder });
    return true;
  } catch {
    return false;
  }
}
