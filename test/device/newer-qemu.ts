import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fetchPackage } from '../../guest/image/debian.js';

/** The suite of the newest QEMU that runs with this machine's libraries. */
async function backports(): Promise<string> {
  const release = await readFile('/etc/os-release', 'utf8');
  return `${release.match(/^VERSION_CODENAME="?([^"\n]+)/m)?.[1] ?? 'stable'}-backports`;
}

/**
 * Makes a folder with a `qemu-system-x86_64` that is newer than the installed one, which stays as it
 * is. Its packages are unpacked in the cache.
 */
export async function newerQemu(folder: string): Promise<void> {
  const suite = await backports();
  const unpacked = async (name: string) => (await fetchPackage(name, { suite })).folder;
  const program = join(await unpacked('qemu-system-x86'), 'usr/bin/qemu-system-x86_64');
  const modules = join(await unpacked('qemu-system-common'), 'usr/lib/x86_64-linux-gnu/qemu');
  const data = join(await unpacked('qemu-system-data'), 'usr/share/qemu');
  const bios = join(await unpacked('seabios'), 'usr/share/seabios');
  mkdirSync(folder, { recursive: true });
  const path = join(folder, 'qemu-system-x86_64');
  writeFileSync(
    path,
    `#!/bin/sh\nQEMU_MODULE_DIR='${modules}' exec '${program}' -L '${data}' -L '${bios}' "$@"\n`,
  );
  chmodSync(path, 0o755);
}
