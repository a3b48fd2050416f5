/*
 * The tools of another suite of Debian than this machine's, with the libraries of that suite. They
 * lie over /usr: in the guest as files of its image, on this machine as an overlay in a mount
 * namespace of the command.
 */
import { cp, readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { cached, contentKey } from '../../../guest/image/cache.js';
import { fetchPackages, type Stanza } from '../../../guest/image/debian.js';
import type { GuestFile, KernelChoice, Progress } from '../../../guest/index.js';

const packages = [
  ...['bpftool', 'bpftrace', 'libbpf-tools', 'linux-perf', 'bpfcc-tools'],
  ...['veristat', 'pwru', 'bpftune', 'ply', 'bpftop', 'iproute2', 'xdp-tools'],
];

/** What nobody needs who only runs the tools. */
const unneeded =
  /^(debconf|ieee-data|libc-gconv-modules-extra|perl|perl-(base|modules.*)|tzdata|ucf|wget)$/;
const unread = /^usr\/(include|share\/(bash-completion|doc|info|lintian|locale|man|zoneinfo))$/;

/** The headers that bcc compiles its programs with, of one kernel. */
const HEADERS = 'linux-headers-cloud-amd64';
const headerFolders = ['include', 'arch/x86/include'];

/** A tree that lies over /usr, such as the one of a suite's tools. */
export interface Layer {
  readonly version: string;
  /** The folder that has `usr`. */
  readonly folder: string;
}

/** Fetches the tools of a suite, with all libraries that they need. */
export function toolsOf(suite: string, progress: Progress): Promise<Layer> {
  const follow = (dependency: Stanza) => !unneeded.test(dependency.get('package') ?? '');
  return fetchPackages(packages, { suite, follow, progress });
}

/** Fetches tools of this machine's own suite that the machine does not have. */
export function missingTools(progress: Progress): Promise<Layer> {
  const follow = (dependency: Stanza) => /^lib(bpf|xdp)1$/.test(dependency.get('package') ?? '');
  return fetchPackages(['xdp-tools'], { follow, progress });
}

/** Fetches the headers of a kernel, and puts them into usr/src/linux-headers. */
export async function headersOf(
  choice: KernelChoice | undefined,
  progress: Progress,
): Promise<Layer> {
  const suite = choice !== undefined && 'suite' in choice ? choice.suite : undefined;
  const follow = (dependency: Stanza) => /^linux-headers-/.test(dependency.get('package') ?? '');
  const { folder, version } = await fetchPackages([HEADERS], { suite, follow, progress });
  const made = await cached('compat', contentKey(HEADERS, version), async (draft) => {
    const sources = join(folder, 'usr/src');
    // The ones of the architecture lie over the common ones.
    const parts = (await readdir(sources)).filter((name) => name.startsWith('linux-headers-'));
    const common = parts.filter((name) => name.endsWith('-common'));
    for (const part of [...common, ...parts.filter((name) => !common.includes(name))]) {
      for (const name of headerFolders) {
        const target = join(draft, 'usr/src/linux-headers', name);
        await cp(join(sources, part, name), target, { recursive: true });
      }
    }
  });
  return { folder: made, version };
}

/** Returns the versions of the tools, as their changelogs have them: `bpftrace 0.27.1-1, …`. */
export async function versionsIn({ folder }: Layer): Promise<string> {
  const versions = packages.map(async (name) => {
    const path = join(folder, 'usr/share/doc', name, 'changelog.Debian.gz');
    const [, version] =
      gunzipSync(await readFile(path))
        .toString()
        .match(/^\S+ \((\S+)\)/) ?? [];
    return `${name} ${version}`;
  });
  return (await Promise.all(versions)).join(', ');
}

/** Returns what a layer puts into a guest, by the paths in the guest. */
export async function filesOfLayer({ folder }: Layer): Promise<Record<string, GuestFile>> {
  const files: Record<string, GuestFile> = {};
  const walk = async (path: string): Promise<void> => {
    if (unread.test(path)) return;
    for (const entry of await readdir(join(folder, path), { withFileTypes: true })) {
      const inside = join(path, entry.name);
      const source = join(folder, inside);
      if (entry.isDirectory()) await walk(inside);
      else if (entry.isSymbolicLink()) files[`/${inside}`] = { link: await readlink(source) };
      else files[`/${inside}`] = { source, mode: 0o755 };
    }
  };
  await walk('usr');
  return files;
}

/** Returns words before a command that make these layers lie over /usr for it, the first on top. */
export function wearing(layers: readonly Layer[]): readonly string[] {
  if (layers.length === 0) return [];
  const lower = [...layers.map(({ folder }) => `${folder.replaceAll(':', '\\:')}/usr`), '/usr'];
  const script = 'mount -t overlay -o "lowerdir=$0" waep-compat /usr && exec "$@"';
  return ['unshare', '--mount', '/bin/sh', '-c', script, lower.join(':')];
}
