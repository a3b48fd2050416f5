/* Builds the kernel's own tests of bpf(2) from Debian's package of its sources. */
import { copyFile, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { cached, contentKey } from '../../../guest/image/cache.js';
import { fetchPackage } from '../../../guest/image/debian.js';
import { findKernel } from '../../../guest/image/kernel.js';
import { unpackKernel } from '../../../guest/image/unpack.js';
import type { Progress } from '../../../guest/index.js';
import { runTool } from '../../../guest/tools.js';
import { packageFolder } from '../../../src/paths.js';

/** The package with the sources of the kernel of the first guest. Others run the same tests. */
const SOURCES = 'linux-source-6.1';
/** The parts of the sources that the tests are compiled from. */
const parts = [
  ...['arch/x86/include', 'include', 'lib/bpf', 'testing/selftests/bpf'].map(
    (name) => `tools/${name}/*`,
  ),
  'tools/testing/selftests/*.h',
  'include/linux/filter.h',
];
const here = join(packageFolder, 'test/conformance/suites');
/** Of programs in such a folder, guests get the libraries as well. */
const FOLDER = 'bin';
/** How the tests are built, and the part of them that is not the kernel's. */
const own = ['selftests.mk', 'each-map-test.c'].map((name) => join(here, name));

/** The tests, built. */
export interface Selftests {
  /** The name and version of the package with their sources. */
  readonly title: string;
  /** The folder with the programs, and with the files that they read. */
  readonly folder: string;
}

/** Fetches and compiles the tests. */
export async function buildSelftests(progress: Progress): Promise<Selftests> {
  const sources = await fetchPackage(SOURCES, { progress });
  const libbpf = await fetchPackage('libbpf-dev', { progress });
  const libelf = await fetchPackage('libelf-dev', { progress });
  const kernel = await findKernel({}, progress);
  const versions = [sources, libbpf, libelf].map(({ version }) => version);
  const contents = await Promise.all(own.map((path) => readFile(path)));
  const key = contentKey(...versions, kernel.release, ...parts, ...contents);
  const folder = await cached('selftests', key, async (draft) => {
    const tree = join(draft, '.tree');
    const work = join(tree, 'work');
    await mkdir(work, { recursive: true });
    const archive = join(sources.folder, 'usr/src', `${SOURCES}.tar.xz`);
    const wanted = parts.map((part) => `${SOURCES}/${part}`);
    await runTool('tar', ['-C', tree, '-xJf', archive, '--wildcards', ...wanted]);
    const types = ['btf', 'dump', 'file', await unpacked(kernel.image), 'format', 'c'];
    await writeFile(join(tree, 'vmlinux.h'), await runTool('bpftool', types));
    progress("compiling the kernel's tests, which takes some minutes");
    const tests = join(tree, SOURCES, 'tools/testing/selftests/bpf');
    await runTool('make', [
      ...['-s', '-C', work, `-j${cpus().length}`, '-f', join(here, 'selftests.mk')],
      ...[`TESTS=${tests}`, `HERE=${here}`, `VMLINUX=${tree}`],
      ...[`LIBBPF=${libbpf.folder}`, `LIBELF=${libelf.folder}`],
    ]);
    await copyWanted(tests, work, join(draft, FOLDER));
    await runTool('rm', ['-r', tree]);
  });
  return { title: `${SOURCES} ${sources.version}`, folder: join(folder, FOLDER) };
}

async function unpacked(image: string): Promise<string> {
  const kernel = await unpackKernel(image);
  if (kernel === undefined) throw new Error(`${image} cannot be unpacked here.`);
  return kernel;
}

const programs = ['test_verifier', 'test_maps', 'test_progs', 'urandom_read', 'liburandom_read.so'];

/** Copies the programs, and the files that the tests name. All files would be ten times as much. */
async function copyWanted(tests: string, from: string, to: string): Promise<void> {
  await mkdir(join(to, 'progs'), { recursive: true });
  const folders = [tests, join(tests, 'prog_tests')];
  const named = new Set<string>();
  for (const folder of folders) {
    for (const name of (await readdir(folder)).filter((one) => one.endsWith('.c'))) {
      const text = await readFile(join(folder, name), 'utf8');
      for (const [object] of text.matchAll(/\w+\.bpf\.o/g)) named.add(object);
    }
  }
  const objects = (await readdir(from)).filter((one) => one.endsWith('.bpf.o'));
  const wanted = objects.filter((one) => named.has(one) || /^btf(__|_dump_)/.test(one));
  for (const name of [...programs, ...wanted]) await copyFile(join(from, name), join(to, name));
  for (const name of await readdir(join(tests, 'progs'))) {
    if (!/^btf_dump_test_case_.*\.c$/.test(name)) continue;
    await copyFile(join(tests, 'progs', name), join(to, 'progs', name));
  }
}
