/* Builds the tests of cilium/ebpf from Debian's packages, a static program for each Go package. */
import { cp, mkdir, readdir } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { cached, contentKey, filesBelow } from '../../../guest/image/cache.js';
import { fetchPackage } from '../../../guest/image/debian.js';
import type { Progress } from '../../../guest/index.js';
import { runTool } from '../../../guest/tools.js';
import { type Equipment, filesOf } from '../compat/equipment.js';

/** The tests of a suite, built. */
export interface Suite extends Pick<Equipment, 'folder' | 'files'> {
  /** The suite's name and version. */
  readonly title: string;
  /** The Go packages. The path of each is also the path of its program below the folder. */
  readonly packages: readonly string[];
}

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
export function folderOf(name: string): string {
  return name === 'root' ? '.' : name;
}

/** Fetches and builds the suite. */
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
  const others = ['/bin/bash', join(goroot, 'bin/go')];
  const built = await filesBelow(folder);
  const title = `cilium/ebpf ${module.version} of Debian, ${go}`;
  return { title, packages, folder, files: await filesOf([...built, ...others]) };
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
