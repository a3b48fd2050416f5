import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { open, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findTool } from '../tools.js';
import { cached, contentKey } from './cache.js';

/** Programs that unpack a kernel's payload, by the payload's first bytes. */
const unpackers: ReadonlyArray<{ magic: Buffer; tool: string; args: string[] }> = [
  { magic: Buffer.from('02214c18', 'hex'), tool: 'lz4', args: ['-dcq'] },
  { magic: Buffer.from('1f8b08', 'hex'), tool: 'gzip', args: ['-dc'] },
  { magic: Buffer.from('28b52ffd', 'hex'), tool: 'zstd', args: ['-dcq'] },
  { magic: Buffer.from('fd377a585a00', 'hex'), tool: 'xz', args: ['-dc'] },
];

// Offsets in the header of a bzImage: Documentation/arch/x86/boot.rst.
const SETUP_SECTORS = 0x1f1;
const MAGIC = 0x202;
const PAYLOAD_OFFSET = 0x248;
const PAYLOAD_LENGTH = 0x24c;
const SECTOR_BYTES = 512;

/**
 * Takes the uncompressed kernel, an ELF file, out of a bzImage. The result is kept in the cache.
 *
 * QEMU starts an uncompressed kernel at its PVH entry point. An emulated guest then boots a second
 * faster, because it does not run the image's own decompressor. The kernel is the same, except that
 * its address is not randomised.
 *
 * @returns its path, or `undefined` when the image is not a bzImage, is packed in a way that
 *   nothing on this machine unpacks, or has no PVH entry point
 */
export async function unpackKernel(image: string): Promise<string | undefined> {
  const { size, mtimeMs } = await stat(image);
  const present = unpackers.map(({ tool }) => findTool(tool) ?? '');
  const folder = await cached(
    'kernels',
    contentKey(image, `${size}`, `${mtimeMs}`, ...present),
    async (draft) => {
      const kernel = join(draft, 'vmlinux');
      await unpack(await readFile(image), kernel);
      if (await hasPvhEntry(kernel)) return;
      await rm(kernel, { force: true });
      await writeFile(join(draft, 'none'), `${image} has no PVH entry point that is found here\n`);
    },
  );
  const path = join(folder, 'vmlinux');
  return existsSync(path) ? path : undefined;
}

async function unpack(image: Buffer, to: string): Promise<void> {
  if (image.toString('latin1', MAGIC, MAGIC + 4) !== 'HdrS') return;
  const start =
    ((image[SETUP_SECTORS] ?? 0) + 1) * SECTOR_BYTES + image.readUInt32LE(PAYLOAD_OFFSET);
  const payload = image.subarray(start, start + image.readUInt32LE(PAYLOAD_LENGTH));
  const unpacker = unpackers.find(({ magic }) => payload.indexOf(magic) === 0);
  const tool = unpacker && findTool(unpacker.tool);
  if (unpacker === undefined || tool === undefined) return;
  await using output = await open(to, 'w');
  const child = spawn(tool, unpacker.args, { stdio: ['pipe', output.fd, 'ignore'] });
  // Four bytes with the unpacked size may follow the packed data. Programs then report trailing
  // garbage after they have unpacked everything. The caller checks the result.
  child.stdin?.on('error', () => {});
  child.stdin?.end(payload);
  await once(child, 'exit');
}

/** Looks for Xen's ELF note with the entry point (XEN_ELFNOTE_PHYS32_ENTRY). */
async function hasPvhEntry(path: string): Promise<boolean> {
  const kernel = await readFile(path).catch(() => Buffer.alloc(0));
  if (kernel.indexOf('\x7fELF') !== 0) return false;
  return ['04', '08'].some((size) =>
    kernel.includes(Buffer.from(`04000000${size}0000001200000058656e00`, 'hex')),
  );
}
