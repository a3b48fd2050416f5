import { constants } from 'node:fs';
import { access, readdir, stat } from 'node:fs/promises';
import { release as runningRelease } from 'node:os';
import { basename, join } from 'node:path';
import { failure } from '../../src/errors.js';
import { findTool } from '../tools.js';
import { type FetchOptions, fetchPackage, knownPackage } from './debian.js';
import type { Progress } from './progress.js';

/** A kernel on this machine's disk. */
export interface Kernel {
  /** The bootable image (`vmlinuz`). */
  image: string;
  /** Its `/lib/modules/<release>`. */
  modules: string;
  /** Such as `6.1.0-56-cloud-amd64`. */
  release: string;
  /** Its origin, for people: a package with its version, or a path. */
  origin: string;
}

/** Names a kernel to boot. */
export type KernelChoice =
  /**
   * The cloud kernel of a suite of the Debian archive. Without a suite, the cloud kernel of this
   * machine's own distribution; if it has none, the kernel of the machine itself.
   */
  | { suite?: string | undefined }
  /** Any other kernel: its image, and the folder `/lib/modules/<release>` with its modules. */
  | { image: string; modules: string };

/** Kernels without drivers for real hardware, in the archives of Debian and of Ubuntu. */
const archiveKernels: readonly string[] = ['linux-image-cloud-amd64', 'linux-image-virtual'];

/** A kernel consists of several packages, and each release divides them in another way. */
const wholeKernel: FetchOptions = {
  follow: (dependency) => dependency.get('section')?.split('/').at(-1) === 'kernel',
  complete: async (folder) => (await kernelsIn(folder)).length > 0,
};

/**
 * Finds the chosen kernel, fetching it when it comes from an archive and is not in the cache.
 *
 * @throws ERR_OPTION_INVALID when what was chosen is not there, ERR_PACKAGE_UNAVAILABLE, or
 *   ERR_KERNEL_MISSING when this machine has none either
 */
export async function findKernel(choice: KernelChoice = {}, progress?: Progress): Promise<Kernel> {
  if ('image' in choice) {
    const { image, modules } = choice;
    if (!(await stat(image).catch(() => undefined))?.isFile()) {
      throw failure('ERR_OPTION_INVALID', {
        option: 'kernel',
        value: image,
        expected: 'the file of a kernel',
      });
    }
    if (!(await stat(modules).catch(() => undefined))?.isDirectory()) {
      throw failure('ERR_OPTION_INVALID', {
        option: 'modules',
        value: modules,
        expected: 'the folder /lib/modules/<release> of the kernel',
      });
    }
    return { image, modules, release: basename(modules), origin: image };
  }
  const { suite } = choice;
  const known = await knownKernel(suite);
  if (known !== undefined) return known;
  if (suite !== undefined) return fromArchive(archiveKernels[0] ?? '', { suite, progress });
  const reasons: string[] = [];
  for (const name of findTool('apt-get') === undefined ? [] : archiveKernels) {
    try {
      return await fromArchive(name, { progress });
    } catch (error) {
      const { code, message } = error as Error & { code?: string };
      if (code === 'ERR_FOLDER_UNUSABLE') throw error;
      reasons.push(message);
    }
  }
  const own = await ownKernel();
  if (own !== undefined) return own;
  throw failure('ERR_KERNEL_MISSING', {
    why: reasons.join(' ') || 'this machine has no apt-get to fetch one with',
  });
}

/** Returns the kernel of an archive that {@link findKernel} would use, if it is in the cache. */
export async function knownKernel(suite?: string): Promise<Kernel | undefined> {
  for (const name of archiveKernels) {
    const found = await knownPackage(name, { ...wholeKernel, suite });
    const [kernel] = found === undefined ? [] : await kernelsIn(found.folder);
    if (kernel !== undefined) return { ...kernel, origin: `${found?.name} ${found?.version}` };
  }
  return undefined;
}

async function fromArchive(name: string, options: FetchOptions): Promise<Kernel> {
  const found = await fetchPackage(name, { ...wholeKernel, ...options });
  const [kernel] = await kernelsIn(found.folder);
  if (kernel === undefined) throw new Error(`${found.folder} changed while it was read`);
  return { ...kernel, origin: `${found.name} ${found.version}` };
}

/**
 * Returns the kernel that this machine runs, if its image and modules can be read. Otherwise it
 * returns the newest kernel whose files can be read. In a container this may be another kernel than
 * the one that runs.
 *
 * @param root where the machine's file system is
 */
export async function ownKernel(root = '/'): Promise<Kernel | undefined> {
  const kernels = await kernelsIn(root);
  return kernels.find(({ release }) => release === runningRelease()) ?? kernels[0];
}

/**
 * The kernels in a tree, the newest first: those with modules whose image lies beside them, or in
 * `/boot`, and can be read.
 */
async function kernelsIn(root: string): Promise<Kernel[]> {
  const found = new Map<string, Kernel>();
  for (const library of ['usr/lib/modules', 'lib/modules']) {
    for (const release of await names(join(root, library))) {
      const modules = join(root, library, release);
      const images = [join(modules, 'vmlinuz'), join(root, 'boot', `vmlinuz-${release}`)];
      const there = await Promise.all(images.map(isReadable));
      const image = images.find((_, n) => there[n]);
      const parts = await Promise.all(
        ['kernel', 'modules.builtin'].map((name) => isReadable(join(modules, name))),
      );
      if (image === undefined || parts.includes(false)) continue;
      found.set(release, { image, modules, release, origin: image });
    }
  }
  return [...found.values()].sort((a, b) =>
    b.release.localeCompare(a.release, 'en', { numeric: true }),
  );
}

function isReadable(path: string): Promise<boolean> {
  return access(path, constants.R_OK).then(
    () => true,
    () => false,
  );
}

async function names(folder: string): Promise<string[]> {
  return (await readdir(folder).catch(() => [])).sort();
}
