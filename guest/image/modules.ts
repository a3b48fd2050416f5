import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { execa } from 'execa';
import { failure } from '../../src/errors.js';
import { requireTool } from '../tools.js';

/** A kernel module ready to be loaded. */
export interface KernelModule {
  name: string;
  content: Uint8Array;
}

/**
 * The modules that a guest needs: a bus, the network card, vsock to the host, and vsock within the
 * guest.
 */
export const guestModules: readonly string[] = [
  'virtio_pci',
  'virtio_mmio',
  'virtio_net',
  'vmw_vsock_virtio_transport',
  'vsock_loopback',
];

const decompressors: Readonly<Record<string, [string, ...string[]]>> = {
  '.ko.xz': ['xz', '-dc'],
  '.ko.zst': ['zstd', '-dcq'],
  '.ko.gz': ['gzip', '-dc'],
};

/**
 * Reads modules and their dependencies. Returns them in an order in which they can be loaded.
 *
 * Dependencies come from the modules themselves (the `depends` field that modpost writes into the
 * .modinfo section), because Debian's packages ship no modules.dep. Modules that are built into the
 * kernel are left out.
 *
 * @param folder the `/lib/modules/<release>` of the kernel
 * @throws ERR_KERNEL_MODULE when a module is neither there nor built in
 */
export async function readModules(
  folder: string,
  names: readonly string[],
): Promise<KernelModule[]> {
  const files = await findModules(folder);
  const builtin = await builtinModules(folder);
  const ordered = new Map<string, KernelModule>();
  const add = async (wanted: string): Promise<void> => {
    const name = wanted.replaceAll('-', '_');
    if (ordered.has(name) || builtin.has(name)) return;
    const file = files.get(name);
    if (file === undefined) throw failure('ERR_KERNEL_MODULE', { module: wanted, folder });
    const content = await readModule(file);
    for (const dependency of dependencies(content)) await add(dependency);
    ordered.set(name, { name, content });
  };
  for (const name of names) await add(name);
  return [...ordered.values()];
}

async function findModules(folder: string): Promise<Map<string, string>> {
  const entries = await readdir(folder, { recursive: true });
  return new Map(
    entries
      .filter((entry) => /\.ko(\.\w+)?$/.test(entry))
      .map((entry) => [moduleName(entry), join(folder, entry)]),
  );
}

async function builtinModules(folder: string): Promise<Set<string>> {
  const text = await readFile(join(folder, 'modules.builtin'), 'utf8').catch(() => '');
  return new Set(text.split('\n').map(moduleName));
}

function moduleName(path: string): string {
  return basename(path)
    .replace(/\.ko(\.\w+)?$/, '')
    .replaceAll('-', '_');
}

async function readModule(file: string): Promise<Uint8Array> {
  const suffix = Object.keys(decompressors).find((ending) => file.endsWith(ending));
  const [tool, ...args] = (suffix === undefined ? undefined : decompressors[suffix]) ?? [];
  if (tool === undefined) return readFile(file);
  const { stdout } = await execa(requireTool(tool), [...args, file], { encoding: 'buffer' });
  return stdout;
}

function dependencies(module: Uint8Array): string[] {
  const text = Buffer.from(module.buffer, module.byteOffset, module.byteLength);
  const at = text.indexOf('\0depends=');
  if (at < 0) return [];
  const start = at + '\0depends='.length;
  const list = text.toString('latin1', start, text.indexOf(0, start));
  return list === '' ? [] : list.split(',');
}
