/*
 * Builds the tests: those of cilium/ebpf from Debian's packages, a static program for each Go
 * package, and the kernel's own.
 */
import { cp, mkdir, readdir, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { cached, contentKey, filesBelow } from '../../../guest/image/cache.js';
import { fetchPackage } from '../../../guest/image/debian.js';
import type { Progress } from '../../../guest/index.js';
import { requireTool, runTool } from '../../../guest/tools.js';
import { packageFolder } from '../../../src/paths.js';
import { type Equipment, filesOf } from '../compat/equipment.js';
import type { Side } from '../compat/sides.js';
import type { Tested } from './go-test.js';
import { playPackage } from './play.js';
import { buildSelftests } from './selftests.js';
import { playMapsTest, playProgsTest } from './selftests-test.js';
import { playVerifierTest } from './verifier-test.js';

/** A program of tests. */
export interface TestProgram {
  readonly name: string;
  /** What it is, with the versions of what it was built from. */
  readonly origin: string;
  /** A library that makes its tests wait, where these can be made to. */
  readonly patience?: string;
  /**
   * Runs its tests on a side.
   *
   * @param only which tests to run, by `PROGRAM/TEST`
   */
  readonly play: (side: Side, only: (test: string) => boolean) => Promise<Tested[]>;
}

/** The tests, built. */
export interface Suite extends Pick<Equipment, 'folder' | 'files'> {
  readonly programs: readonly TestProgram[];
}

/** The kernel's own. */
const selftests = {
  test_verifier: playVerifierTest,
  test_maps: playMapsTest,
  test_progs: playProgsTest,
} as const;
const IMPORT_PATH = 'github.com/cilium/ebpf';
/** The Go packages that have tests. `root` is the module's own. */
const packages = [
  'root',
  'link',
  'ringbuf',
  'perf',
  'features',
  'btf',
  'asm',
  'rlimit',
  ...['internal', 'internal/epoll', 'internal/sys'],
];

/** Returns the folder of a Go package below the suite's. The programs find their data from it. */
function folderOf(name: string): string {
  return name === 'root' ? '.' : name;
}

/** Fetches and builds the tests. */
export async function buildSuite(progress: Progress): Promise<Suite> {
  const follow = (stanza: ReadonlyMap<string, string>) =>
    /^golang-.*-dev$/.test(stanza.get('package') ?? '');
  const module = await fetchPackage('golang-github-cilium-ebpf-dev', { follow, progress });
  const helper = await fetchPackage('golang-github-frankban-quicktest-dev', { follow, progress });
  const go = (await runTool('go', ['version'])).trim();
  const key = contentKey(module.version, helper.version, go, ...packages);
  const folder = await cached('suites', key, async (draft) => {
    const roots = [module, helper].map((one) => join(one.folder, 'usr/share/gocode'));
    const sources = join(roots[0] as string, 'src', IMPORT_PATH);
    const env = {
      ...process.env,
      GO111MODULE: 'off',
      CGO_ENABLED: '0',
      GOPATH: roots.join(':'),
      GOCACHE: join(draft, '..', '.go'),
    };
    for (const name of packages) {
      progress(`compiling the tests of ${name}`);
      const program = join(draft, folderOf(name), 'tests');
      await mkdir(join(draft, folderOf(name)), { recursive: true });
      // Without symbols for debuggers the guest's image is much smaller.
      const flags = ['-c', '-ldflags', '-s -w', '-o', program];
      await runTool('go', ['test', ...flags, `./${folderOf(name)}`], { cwd: sources, env });
    }
    for (const data of await foldersNamed('testdata', sources)) {
      await cp(data, join(draft, relative(sources, data)), { recursive: true });
    }
  });
  // Tests run these, and attach to them.
  const goroot = (await runTool('go', ['env', 'GOROOT'])).trim();
  const commands = ['ip', 'tc'].map(requireTool);
  const others = ['/bin/bash', join(goroot, 'bin/go'), ...commands];
  const built = await filesBelow(folder);
  const kernels = await buildSelftests(progress);
  const theirs = await filesBelow(kernels.folder);
  const patience = await buildPatience();
  const files = await filesOf([...built, ...theirs, patience, ...others]);
  const origin = `cilium/ebpf ${module.version} of Debian with ${go}`;
  const programs: TestProgram[] = packages.map((name) => ({
    ...{ name, origin },
    play: (side, only) => playPackage(name, join(folder, folderOf(name)), side, only),
  }));
  for (const [name, play] of Object.entries(selftests)) {
    programs.push({
      ...{ name, origin: kernels.title },
      play: (side, only) => play(kernels.folder, side, (test) => only(`${name}/${test}`)),
      ...(name === 'test_progs' ? { patience } : {}),
    });
  }
  return { programs, folder, files };
}

async function buildPatience(): Promise<string> {
  const source = join(packageFolder, 'test/conformance/suites/patient.c');
  const folder = await cached('patience', contentKey(await readFile(source)), async (draft) => {
    const flags = ['-O1', '-Wall', '-Werror', '-shared', '-fPIC'];
    await runTool('gcc', [...flags, '-o', join(draft, 'patient.so'), source]);
  });
  return join(folder, 'patient.so');
}

async function foldersNamed(wanted: string, folder: string): Promise<string[]> {
  const entries = (await readdir(folder, { withFileTypes: true })).filter((one) =>
    one.isDirectory(),
  );
  const found = entries.map(({ name }) => {
    const path = join(folder, name);
    return name === wanted ? [path] : foldersNamed(wanted, path);
  });
  return (await Promise.all(found)).flat();
}
