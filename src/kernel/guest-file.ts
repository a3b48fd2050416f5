import { constants } from 'node:os';
import type { Handle } from '../call.js';
import { failure, type SystemError, systemError } from '../errors.js';

/** The part of a session that reading a file needs. */
export interface FileReader {
  readonly closed: boolean;
  newHandle(): Handle;
  open(path: string, options: { handle: Handle }): Promise<Handle>;
  readPart(handle: Handle, maxBytes: number): Promise<{ bytes: Uint8Array; errno: number }>;
  release(handles: readonly Handle[]): Promise<unknown>;
}

const { EAGAIN } = constants.errno;

/**
 * Whether a file has more to say after EAGAIN: iterators pause after a million elements without
 * output (MAX_ITER_OBJECTS). Elsewhere there is no more until something happens.
 */
const pauses = (path: string) => path.startsWith('/sys/fs/bpf/');

/** A whole number of pages; files of the kernel that are larger come in as many turns. */
const READ_BYTES = 1024 * 1024;
/** No file of a kernel's own is larger, its list of symbols and its types included. */
export const MAX_FILE_BYTES = 64 * 1024 * 1024;

/**
 * Reads a whole file of the guest, up to its present end.
 *
 * @throws the guest's system error, such as ENOENT; ERR_POLICY_REFUSED; ERR_GUEST_FILE when there
 *   is more of it than `maxBytes`
 */
export async function readFile(
  session: FileReader,
  path: string,
  maxBytes = MAX_FILE_BYTES,
): Promise<Uint8Array> {
  const handle = session.newHandle();
  // The requests are on the way together: what is opened has been when it is to be read.
  const opened = session.open(path, { handle });
  let next = session.readPart(handle, READ_BYTES);
  // If it is not, the opening says why.
  next.catch(() => {});
  await opened;
  try {
    const chunks: Uint8Array[] = [];
    for (let sizeBytes = 0; ; ) {
      const { bytes, errno } = await next;
      sizeBytes += bytes.length;
      if (sizeBytes > maxBytes) throw failure('ERR_GUEST_FILE', { path, maxBytes });
      chunks.push(bytes);
      if (errno !== 0 && errno !== EAGAIN) {
        throw systemError('read', errno, { address: path, side: 'guest' });
      }
      const waits = errno === EAGAIN && !pauses(path);
      if (waits || (errno === 0 && bytes.length < READ_BYTES)) break;
      next = session.readPart(handle, READ_BYTES);
      next.catch(() => {});
    }
    return chunks.length === 1 ? (chunks[0] as Uint8Array) : Buffer.concat(chunks);
  } finally {
    // Nothing depends on it, and nobody else has it.
    session.release([handle]).catch(() => {});
  }
}

/** Reads a whole file of the guest's kernel as text. */
export async function readText(session: FileReader, path: string): Promise<string> {
  return Buffer.from(await readFile(session, path)).toString();
}

/** Whether an error says that there is no such file. */
export const isMissing = (error: unknown): boolean => (error as SystemError).code === 'ENOENT';

/** The error for what a guest's kernel does not have, by which a file is missing. */
export function lacks(
  { kernel }: { readonly kernel: { readonly release: string } },
  what: string,
  cause: unknown,
): Error {
  const cure = 'What its agent printed when it started may say why; preflight lists what is there.';
  return failure('ERR_KERNEL_LACKS', { kernel: kernel.release, what, cure }, cause);
}
