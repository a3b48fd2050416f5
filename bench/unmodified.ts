/* Programs that know nothing of guests, for both sides: Debian's tools, and a libbpf application. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cached, contentKey } from '../guest/image/cache.js';
import { fetchPackage } from '../guest/image/debian.js';
import { sharedLibraries } from '../guest/image/libraries.js';
import type { GuestFile, Progress } from '../guest/index.js';
import { requireTool, runTool } from '../guest/tools.js';
import { packageFolder } from '../src/paths.js';

/** The command lines of the programs: the same in the guest and on the host. */
export interface Unmodified {
  readonly bpftool: string;
  readonly bpftrace: string;
  /** Loads and attaches the thesis' Figure 2 program with stock libbpf, and ends. */
  readonly hello: readonly string[];
}

/** Gets the programs, building what is not there. */
export async function findUnmodified(progress?: Progress): Promise<Unmodified> {
  const folder = await buildHello(progress);
  return {
    bpftool: requireTool('bpftool'),
    bpftrace: requireTool('bpftrace'),
    hello: [join(folder, 'hello'), join(folder, 'hello.bpf.o')],
  };
}

/**
 * The files that the guest needs to run them: the programs and their libraries, at the same paths.
 */
export async function unmodifiedFiles(progress?: Progress): Promise<Record<string, GuestFile>> {
  const { bpftool, bpftrace, hello } = await findUnmodified(progress);
  const [program = '', object = ''] = hello;
  const libraries = await sharedLibraries([bpftool, bpftrace, program]);
  const paths = [bpftool, bpftrace, program, object, ...libraries];
  return Object.fromEntries(paths.map((path) => [path, { source: path, mode: 0o755 }]));
}

async function buildHello(progress?: Progress): Promise<string> {
  const sources = join(packageFolder, 'bench/programs/hello');
  const libbpf = await fetchPackage('libbpf-dev', { progress });
  const names = (await readdir(sources)).sort();
  const contents = await Promise.all(names.map((name) => readFile(join(sources, name))));
  return cached('hello', contentKey(libbpf.version, ...contents), async (draft) => {
    const include = ['-I', join(libbpf.folder, 'usr/include')];
    const warnings = ['-O2', '-Wall', '-Wextra', '-Werror'];
    await runTool('clang', [
      ...['-target', 'bpf', '-g', ...warnings, ...include],
      ...['-I', '/usr/include/x86_64-linux-gnu'],
      ...['-c', join(sources, 'hello.bpf.c'), '-o', join(draft, 'hello.bpf.o')],
    ]);
    await runTool('gcc', [
      ...[...warnings, ...include, '-o', join(draft, 'hello'), join(sources, 'hello.c')],
      join(libbpf.folder, 'usr/lib/x86_64-linux-gnu/libbpf.a'),
      ...['-l:libelf.so.1', '-l:libz.so.1'],
    ]);
  });
}
