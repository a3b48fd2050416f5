import { FileOperation, type FileRequest } from '../call.js';
import { text, viewOf } from '../codec/index.js';
import { failure, systemError } from '../errors.js';
import type { CallOptions } from '../session/caller.js';

/** The part of a session that asking about files needs. */
export interface FileAsker {
  file(request: FileRequest, options?: CallOptions): Promise<{ bytes: Uint8Array; errno: number }>;
}

/** No folder of a kernel has more in it; a record has a few dozen bytes. */
const MAX_LIST_BYTES = 64 * 1024 * 1024;

/** Where a record of getdents64(2) has what: `struct linux_dirent64`. */
const POSITION = 8;
const LENGTH = 16;
const NAME = 19;

const names = Object.fromEntries(
  Object.entries(FileOperation).map(([name, number]) => [number, name.toLowerCase()]),
);

/**
 * Asks about a path of the guest, or changes the file there.
 *
 * @returns what the system call writes: nothing, where it changes something
 * @throws the guest's system error, such as ENOENT; ERR_POLICY_REFUSED; ERR_AGENT_LACKS
 */
export async function askFile(
  session: FileAsker,
  request: FileRequest,
  options?: CallOptions,
): Promise<Uint8Array> {
  const { bytes, errno } = await session.file(request, options);
  if (errno === 0) return bytes;
  const name = names[request.operation] ?? 'file';
  throw systemError(name, errno, { address: request.path, side: 'guest' });
}

/**
 * What is in a folder of the guest, as getdents64(2) writes it.
 *
 * @throws as {@link askFile}; ERR_GUEST_FILE when there is too much
 */
export async function listFolder(session: FileAsker, path: string): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let sizeBytes = 0;
  for (let number = 0n; ; ) {
    const bytes = await askFile(session, { operation: FileOperation.LIST, path, number });
    if (bytes.length === 0) return Buffer.concat(parts);
    sizeBytes += bytes.length;
    if (sizeBytes > MAX_LIST_BYTES) {
      throw failure('ERR_GUEST_FILE', { path, maxBytes: MAX_LIST_BYTES });
    }
    parts.push(bytes);
    const last = eachEntry(bytes, path).at(-1) ?? 0;
    number = Buffer.from(bytes.buffer, bytes.byteOffset).readBigUInt64LE(last + POSITION);
  }
}

/**
 * Where the records of a listing begin.
 *
 * @throws ERR_PROTOCOL_UNEXPECTED for what no kernel writes
 */
export function eachEntry(bytes: Uint8Array, path: string): number[] {
  const view = viewOf(bytes);
  const starts: number[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = at + LENGTH + 2 <= bytes.length ? view.getUint16(at + LENGTH, true) : 0;
    if (length < NAME || at + length > bytes.length) {
      const received = `a record of ${length} bytes in the folder ${path}`;
      throw failure('ERR_PROTOCOL_UNEXPECTED', { received, expected: 'records of getdents64(2)' });
    }
    starts.push(at);
    at += length;
  }
  return starts;
}

/** Returns the name in the record of a listing that begins at `start`. */
export function entryName(bytes: Uint8Array, start: number): string {
  const view = viewOf(bytes);
  return text(view.getUint16(start + LENGTH, true) - NAME).read(view, start + NAME);
}
