/*
 * The equipment of both sides of the matrix: the tools, their libraries, and the programs of
 * test/conformance/compat/programs.
 */
import {
  copyFile,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { cached, contentKey } from '../../../guest/image/cache.js';
import { fetchPackage } from '../../../guest/image/debian.js';
import { sharedLibraries } from '../../../guest/image/libraries.js';
import type { GuestFile, KernelChoice, Progress } from '../../../guest/index.js';
import { requireTool, runTool } from '../../../guest/tools.js';
import { packageFolder } from '../../../src/paths.js';
import {
  filesOfLayer,
  headersOf,
  missingTools,
  toolsOf,
  versionsIn,
  wearing,
} from './newer-tools.js';

/** The files in the guest in addition to its image, and the folder of the built programs. */
export interface Equipment {
  /** The folder of the built programs. Its path is the same in the guest and on this machine. */
  readonly folder: string;
  readonly files: Readonly<Record<string, GuestFile>>;
  /** The tools of a package, such as `opensnoop`, by the package's name. */
  readonly tools: Readonly<Record<'bpftrace' | 'libbpf-tools', readonly string[]>>;
  /** The suite of Debian that the tools are from, if they are not this machine's own. */
  readonly suite?: string;
  /** The versions of the tools of a suite, in words. */
  readonly versions?: string;
  /** Words before a command of this machine that has to find the tools. */
  readonly wrap: readonly string[];
}

const sources = join(packageFolder, 'test/conformance/compat/programs');
const goSources = join(sources, 'gotool');
/** The applications with libbpf. Each is built with several versions. */
const applications = ['events', 'orders'];

/** Small applications of usual kinds, with skeletons. Each is built with several versions, too. */
const appSources = join(sources, 'apps');
const apps = ['minimal', 'bootstrap', 'uprobe', 'usdt', 'tc', 'profile'];

/** The object files for tools. */
const objects = [
  'control',
  'counts',
  'elements',
  'events',
  'frames',
  'iterator',
  'orders',
  'packets',
];

/** Programs and libraries in which tools of both packages set probes. */
const probed = [
  '/bin/bash',
  ...['libcrypto.so.3', 'libpthread.so.0', 'libssl.so.3'].map(
    (name) => `/lib/x86_64-linux-gnu/${name}`,
  ),
  // bpftrace looks in it for the path of a library.
  '/etc/ld.so.cache',
];
/** The commands of iproute2 that rows call by their paths, because busybox has others. */
const ofNetlink = ['/usr/bin/ip', '/usr/bin/ss', '/usr/sbin/tc'];
/** Headers that scripts of bpftrace include, and what these headers include. */
const headers = [
  ...[
    'linux',
    'asm-generic',
    ...['asm', 'bits', 'gnu', 'sys'].map((name) => `x86_64-linux-gnu/${name}`),
  ],
  ...['endian.h', 'features.h', 'features-time64.h', 'stdc-predef.h'],
].map((name) => `/usr/include/${name}`);

/** The suites with newer versions of libbpf than this machine has. */
const NEWER_SUITES = ['trixie', 'sid'];

/**
 * Fetches and builds the equipment.
 *
 * @param suite the suite of Debian that the tools are from. Default: those of this machine
 * @param kernel the guest's kernel
 */
export async function equip(
  progress: Progress,
  suite?: string,
  kernel?: KernelChoice,
): Promise<Equipment> {
  const folder = await buildPrograms(progress);
  const built = (await readdir(folder)).map((name) => join(folder, name));
  const included = (await Promise.all(headers.map(filesBelow))).flat();
  const others = [...built, ...probed, ...included];
  if (suite !== undefined) {
    const layer = await toolsOf(suite, progress);
    const layers = [layer, await headersOf(kernel, progress)];
    const own = Object.assign({}, ...(await Promise.all(layers.map(filesOfLayer))));
    const files = lyingOver(await filesOf([process.execPath, ...others]), own);
    const names = Object.keys(own).map((path) => basename(path));
    const tools = {
      bpftrace: names.filter((name) => name.endsWith('.bt')),
      'libbpf-tools': names.filter((name) => name.endsWith('-libbpf')),
    };
    const versions = await versionsIn(layer);
    return { folder, tools, files, suite, versions, wrap: wearing(layers) };
  }
  const tools = {
    bpftrace: await commandsOf('bpftrace', progress),
    'libbpf-tools': await commandsOf('libbpf-tools', progress),
  };
  const commands = [...Object.values(tools).flat(), 'bpftool'].map(requireTool);
  const layer = await missingTools(progress);
  const own = await filesOf([...commands, ...ofNetlink, ...others]);
  const files = lyingOver(own, await filesOfLayer(layer));
  return { folder, tools, files, wrap: wearing([layer]) };
}

type Files = Readonly<Record<string, GuestFile>>;

/**
 * Returns the files with a layer over them. On this machine /lib is a link to /usr/lib. A guest has
 * both folders, so what is in the layer for one is linked from the other.
 */
function lyingOver(files: Files, layer: Files): Files {
  const linked = Object.keys(files)
    .filter((path) => `/usr${path}` in layer)
    .map((path) => [path, { link: `/usr${path}` }]);
  return { ...files, ...Object.fromEntries(linked), ...layer };
}

/** Returns the paths of all files in a folder, or the path of the file itself. */
async function filesBelow(path: string): Promise<string[]> {
  if (!(await stat(path)).isDirectory()) return [path];
  const names = await readdir(path);
  return (await Promise.all(names.map((name) => filesBelow(join(path, name))))).flat();
}

/** Returns the files that a guest needs for these: the files, and the libraries of programs. */
export async function filesOf(paths: readonly string[]): Promise<Record<string, GuestFile>> {
  const dynamic = paths.filter((path) => /bin\/[^.]+$|-\d+\.\d+\.\d+$/.test(path));
  const libraries = await sharedLibraries(dynamic);
  // Tools look for functions of libc at its real path, which is below /usr.
  const libc = libraries.filter((path) => basename(path) === 'libc.so.6');
  const all = [...paths, ...libraries, ...(await Promise.all(libc.map((path) => realpath(path))))];
  return Object.fromEntries(all.map((path) => [path, { source: path, mode: 0o755 }]));
}

/** Returns the names of the commands in a package. */
async function commandsOf(name: string, progress: Progress): Promise<string[]> {
  const { folder } = await fetchPackage(name, { progress });
  const folders = ['usr/bin', 'usr/sbin'].map((path) => join(folder, path));
  const names = await Promise.all(folders.map((path) => readdir(path).catch(() => [])));
  return names.flat().sort();
}

async function buildPrograms(progress: Progress): Promise<string> {
  const oldest = await fetchPackage('libbpf-dev', { progress });
  const newer = NEWER_SUITES.map((suite) => fetchPackage('libbpf-dev', { suite, progress }));
  const libraries = [oldest, ...(await Promise.all(newer))];
  const go = await fetchPackage('golang-github-cilium-ebpf-dev', { progress });
  const sys = await fetchPackage('golang-golang-x-sys-dev', { progress });
  const files = (await filesBelow(sources)).sort();
  const contents = await Promise.all(files.map((path) => readFile(path)));
  const versions = [...libraries, go, sys].map(({ version }) => version);
  return cached('compat', contentKey(...versions, ...contents), async (draft) => {
    progress('building the programs of the matrix');
    const include = join(oldest.folder, 'usr/include');
    const toBpf = [
      ...['-target', 'bpf', '-g', '-O2', '-Wall', '-Werror', '-mcpu=v3', '-D__TARGET_ARCH_x86'],
      ...['-I', '/usr/include/x86_64-linux-gnu'],
    ];
    for (const name of objects) {
      await runTool('clang', [
        ...[...toBpf, '-I', include],
        ...['-c', join(sources, `${name}.bpf.c`), '-o', join(draft, `${name}.bpf.o`)],
      ]);
    }
    const warnings = ['-O2', '-Wall', '-Wextra', '-Werror'];
    await runTool('gcc', [
      ...[...warnings, '-static', '-rdynamic'],
      ...['-o', join(draft, 'stimulus'), join(sources, 'stimulus.c')],
    ]);
    for (const { folder, version } of libraries) {
      const library = [
        join(folder, 'usr/lib/x86_64-linux-gnu/libbpf.a'),
        ...['-l:libelf.so.1', '-l:libz.so.1'],
      ];
      const build = (path: string, ...flags: string[]) =>
        runTool('gcc', [
          ...[...warnings, ...flags, '-I', join(folder, 'usr/include')],
          ...['-o', join(draft, `${basename(path, '.c')}-${libbpfVersion(version)}`)],
          ...[path, join(sources, 'isoc23.c'), ...library],
        ]);
      for (const name of applications) await build(join(sources, `${name}.c`));
      const skeletons = await mkdtemp(join(tmpdir(), 'waep-skeletons-'));
      for (const name of apps) {
        const object = join(skeletons, `${name}.bpf.o`);
        await runTool('clang', [
          ...[...toBpf, '-I', join(folder, 'usr/include')],
          ...['-c', join(appSources, `${name}.bpf.c`), '-o', object],
        ]);
        const skeleton = await runTool('bpftool', ['gen', 'skeleton', object, 'name', name]);
        await writeFile(join(skeletons, `${name}.skel.h`), skeleton);
        await build(join(appSources, `${name}.c`), '-I', skeletons);
      }
      await rm(skeletons, { recursive: true });
    }
    await runTool('go', ['build', '-o', join(draft, 'gotool'), '.'], {
      cwd: goSources,
      env: {
        ...process.env,
        GO111MODULE: 'off',
        CGO_ENABLED: '0',
        GOPATH: [go, sys].map(({ folder }) => join(folder, 'usr/share/gocode')).join(':'),
        GOCACHE: join(draft, '..', '.go'),
      },
    });
    await copyFile(join(sources, 'packet'), join(draft, 'packet'));
    await copyFile(join(sources, 'batch'), join(draft, 'batch'));
  });
}

/** Returns `1.5.0` for `1:1.5.0-3`. */
function libbpfVersion(version: string): string {
  return basename(version.replace(/^\d+:/, '').replace(/-.*$/, ''));
}
