import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { failure } from '../../src/errors.js';
import { fetchDependency } from '../debian.js';
import type { Progress } from '../progress.js';

/** A kernel on this machine's disk. */
export interface Kernel {
  /** The bootable image (`vmlinuz`). */
  image: string;
  /** Its `/lib/modules/<release>`. */
  modules: string;
  /** Such as `6.1.0-56-cloud-amd64`. */
  release: string;
  /** Where it comes from, for people: a package with its version, or a path. */
  origin: string;
}

/** Names a kernel to boot. */
export type KernelChoice =
  /** Debian's cloud kernel of a suite; without one, of the suites this machine is set up for. */
  | { suite?: string | undefined }
  /** Any other kernel: its image, and the folder `/lib/modules/<release>` with its modules. */
  | { image: string; modules: string };

/**
 * Finds the chosen kernel, fetching it when it is a Debian one and not in the cache.
 *
 * @throws ERR_PACKAGE_UNAVAILABLE, or ERR_OPTION_INVALID when the package holds no kernel
 */
export async function findKernel(choice: KernelChoice = {}, progress?: Progress): Promise<Kernel> {
  if ('image' in choice) {
    const { image, modules } = choice;
    return { image, modules, release: basename(modules), origin: image };
  }
  const found = await fetchDependency('linux-image-cloud-amd64', 'linux-image-', {
    suite: choice.suite,
    progress,
  });
  const image = (await names(join(found.folder, 'boot'))).find((name) =>
    name.startsWith('vmlinuz-'),
  );
  const libraries = [join(found.folder, 'lib/modules'), join(found.folder, 'usr/lib/modules')];
  for (const library of libraries) {
    const [release] = await names(library);
    if (image === undefined || release === undefined) continue;
    return {
      image: join(found.folder, 'boot', image),
      modules: join(library, release),
      release,
      origin: `${found.name} ${found.version}`,
    };
  }
  throw failure('ERR_OPTION_INVALID', {
    option: 'kernel',
    value: found.name,
    expected: 'a package with boot/vmlinuz-* and lib/modules/*',
  });
}

async function names(folder: string): Promise<string[]> {
  return (await readdir(folder).catch(() => [])).sort();
}
