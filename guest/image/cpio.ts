import { posix } from 'node:path';

/** What an archive puts at one path of the guest. */
export type CpioEntry =
  | { kind: 'file'; content: Uint8Array; mode?: number }
  | { kind: 'folder' }
  | { kind: 'link'; to: string };

const TYPE = { file: 0o100000, folder: 0o040000, link: 0o120000 } as const;

/**
 * Makes a cpio archive in the "newc" format that the kernel unpacks as its first root file system
 * (Documentation/driver-api/early-userspace/buffer-format.rst). Folders above an entry are added
 * where missing. All is owned by root and dated 0, so equal contents give equal bytes.
 *
 * @param entries by absolute path in the guest
 * @returns the archive's pieces, to be written one after the other
 */
export function* cpio(entries: ReadonlyMap<string, CpioEntry>): Generator<Uint8Array> {
  let inode = 1;
  for (const [path, entry] of withFolders(entries)) {
    const content = contentOf(entry);
    const permissions = entry.kind === 'file' ? (entry.mode ?? 0o644) : 0o755;
    yield header(inode++, path.slice(1), TYPE[entry.kind] | permissions, content.length);
    yield content;
    yield padding(content.length);
  }
  yield header(0, 'TRAILER!!!', 0, 0);
}

function withFolders(entries: ReadonlyMap<string, CpioEntry>): Map<string, CpioEntry> {
  const all = new Map<string, CpioEntry>();
  const addAbove = (path: string) => {
    const above = posix.dirname(path);
    if (above === '/' || all.has(above)) return;
    addAbove(above);
    all.set(above, entries.get(above) ?? { kind: 'folder' });
  };
  for (const [path, entry] of entries) {
    addAbove(path);
    all.set(path, entry);
  }
  return all;
}

function contentOf(entry: CpioEntry): Uint8Array {
  if (entry.kind === 'file') return entry.content;
  return Buffer.from(entry.kind === 'link' ? entry.to : '');
}

function header(inode: number, name: string, mode: number, size: number): Uint8Array {
  const links = 1;
  // magic, then: inode, mode, uid, gid, links, mtime, size, device ×2, special device ×2, name
  // size, checksum; eight hex digits each.
  const fields = [inode, mode, 0, 0, links, 0, size, 0, 0, 0, 0, Buffer.byteLength(name) + 1, 0];
  const text = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}${name}\0`;
  const bytes = Buffer.from(text);
  return Buffer.concat([bytes, padding(bytes.length)]);
}

/** The zeros that bring a length to a multiple of four. */
function padding(length: number): Uint8Array {
  return new Uint8Array(-length & 3);
}
